// Package program is a client and a server written against the API of
// github.com/coder/websocket. It exists twice, the same except for the import
// paths: a test holds the two equal and compares what they observe.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/wsjson"
)

// Every name of the API that a program can spell out is spelled out here once,
// with its type.
var (
	_ func(http.ResponseWriter, *http.Request, *websocket.AcceptOptions) (*websocket.Conn, error)    = websocket.Accept
	_ func(context.Context, string, *websocket.DialOptions) (*websocket.Conn, *http.Response, error) = websocket.Dial
	_ func(context.Context, *websocket.Conn, websocket.MessageType) net.Conn                         = websocket.NetConn
	_ func(error) websocket.StatusCode                                                               = websocket.CloseStatus
	_ func(*websocket.Conn, context.Context) (websocket.MessageType, []byte, error)                  = (*websocket.Conn).Read
	_ func(*websocket.Conn, context.Context) (websocket.MessageType, io.Reader, error)               = (*websocket.Conn).Reader
	_ func(*websocket.Conn, context.Context, websocket.MessageType, []byte) error                    = (*websocket.Conn).Write
	_ func(*websocket.Conn, context.Context, websocket.MessageType) (io.WriteCloser, error)          = (*websocket.Conn).Writer
	_ func(*websocket.Conn, context.Context) error                                                   = (*websocket.Conn).Ping
	_ func(*websocket.Conn, websocket.StatusCode, string) error                                      = (*websocket.Conn).Close
	_ func(*websocket.Conn) error                                                                    = (*websocket.Conn).CloseNow
	_ func(*websocket.Conn, context.Context) context.Context                                         = (*websocket.Conn).CloseRead
	_ func(*websocket.Conn, int64)                                                                   = (*websocket.Conn).SetReadLimit
	_ func(*websocket.Conn) string                                                                   = (*websocket.Conn).Subprotocol
	_ func(context.Context, *websocket.Conn, any) error                                              = wsjson.Read
	_ func(context.Context, *websocket.Conn, any) error                                              = wsjson.Write
	_ error                                                                                          = websocket.ErrMessageTooBig
	_ error                                                                                          = websocket.CloseError{Code: websocket.StatusNormalClosure, Reason: ""}
	_                                                                                                = [...]websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover}
)

// Run serves and dials, and returns a line for each thing it saw.
func Run(ctx context.Context) ([]string, error) {
	p := &program{}
	s := httptest.NewServer(http.HandlerFunc(p.serve))
	defer s.Close()
	p.client(ctx, s.URL)
	p.served.Wait()
	return p.lines, p.err
}

type program struct {
	mu     sync.Mutex
	lines  []string
	err    error
	served sync.WaitGroup
}

func (p *program) saw(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
}

func (p *program) failed(what string, err error) bool {
	if err == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = errors.Join(p.err, fmt.Errorf("%s: %w", what, err))
	return true
}

// serve plays the server's side of every exchange of client, by path.
func (p *program) serve(w http.ResponseWriter, r *http.Request) {
	p.served.Add(1)
	defer p.served.Done()
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:         []string{"echo"},
		OriginPatterns:       []string{"*.example.com"},
		CompressionMode:      websocket.CompressionDisabled,
		CompressionThreshold: 0,
		OnPingReceived:       func(ctx context.Context, payload []byte) bool { return true },
		OnPongReceived:       func(ctx context.Context, payload []byte) {},
	})
	if err != nil {
		return
	}
	defer c.CloseNow()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	switch r.URL.Path {
	case "/close":
		c.Close(websocket.StatusPolicyViolation, "not today")
		return
	case "/json":
		var v map[string]int
		if p.failed("server's wsjson.Read", wsjson.Read(ctx, c, &v)) {
			return
		}
		v["n"]++
		p.failed("server's wsjson.Write", wsjson.Write(ctx, c, v))
		c.Close(websocket.StatusNormalClosure, "")
		return
	case "/closeread":
		ctx := c.CloseRead(ctx)
		p.failed("server's write", c.Write(ctx, websocket.MessageText, []byte("only writing")))
		<-ctx.Done()
		return
	}
	for {
		typ, rd, err := c.Reader(ctx)
		if err != nil {
			return
		}
		wr, err := c.Writer(ctx, typ)
		if p.failed("server's writer", err) {
			return
		}
		if _, err := io.Copy(wr, rd); p.failed("server's copy", err) {
			return
		}
		if p.failed("server's writer", wr.Close()) {
			return
		}
	}
}

func (p *program) client(ctx context.Context, url string) {
	dial := func(path string) *websocket.Conn {
		c, resp, err := websocket.Dial(ctx, url+path, &websocket.DialOptions{
			HTTPClient:      http.DefaultClient,
			HTTPHeader:      http.Header{"Origin": {"https://www.example.com"}},
			Host:            "",
			Subprotocols:    []string{"other", "echo"},
			CompressionMode: websocket.CompressionDisabled,
			OnPingReceived:  func(ctx context.Context, payload []byte) bool { return true },
			OnPongReceived:  func(ctx context.Context, payload []byte) { p.saw("pong") },
		})
		if p.failed("dial", err) {
			return nil
		}
		p.saw("%s: status %d, subprotocol %q", path, resp.StatusCode, c.Subprotocol())
		return c
	}

	if c := dial("/echo"); c != nil {
		c.SetReadLimit(30_000)
		for _, m := range [][]byte{nil, []byte("hello"), bytes.Repeat([]byte("0123456789"), 3000)} {
			if p.failed("write", c.Write(ctx, websocket.MessageBinary, m)) {
				return
			}
			typ, got, err := c.Read(ctx)
			if p.failed("read", err) {
				return
			}
			p.saw("%v of %d bytes, equal %v", typ, len(got), bytes.Equal(got, m))
		}
		ponged := make(chan error, 1)
		go func() { ponged <- c.Ping(ctx) }()
		// A ping needs a reader: the one of a message that is sent behind the
		// pong.
		read := make(chan struct{})
		go func() {
			defer close(read)
			typ, got, err := c.Read(ctx)
			p.failed("read", err)
			p.saw("%v %q", typ, got)
		}()
		p.failed("ping", <-ponged)
		p.failed("write", c.Write(ctx, websocket.MessageText, []byte("after the ping")))
		<-read
		p.saw("close: %v", c.Close(websocket.StatusNormalClosure, "bye"))
		_, _, err := c.Read(ctx)
		p.saw("read after close fails: %v", err != nil)
		p.saw("write after close fails: %v", c.Write(ctx, websocket.MessageText, nil) != nil)
	}

	if c := dial("/close"); c != nil {
		_, _, err := c.Read(ctx)
		var ce websocket.CloseError
		p.saw("status %v, as CloseError %v, reason %q", websocket.CloseStatus(err), errors.As(err, &ce), ce.Reason)
		c.CloseNow()
	}

	if c := dial("/json"); c != nil {
		p.failed("wsjson.Write", wsjson.Write(ctx, c, map[string]int{"n": 41}))
		var v map[string]int
		p.failed("wsjson.Read", wsjson.Read(ctx, c, &v))
		p.saw("json %v", v)
		_, _, err := c.Read(ctx)
		p.saw("status %v", websocket.CloseStatus(err))
		c.CloseNow()
	}

	if c := dial("/closeread"); c != nil {
		_, got, err := c.Read(ctx)
		p.failed("read", err)
		p.saw("%q", got)
		p.saw("close: %v", c.Close(websocket.StatusGoingAway, ""))
	}

	if c := dial("/echo"); c != nil {
		c.SetReadLimit(10)
		p.failed("write", c.Write(ctx, websocket.MessageText, []byte("eleven bytes")))
		_, _, err := c.Read(ctx)
		p.saw("message too big: %v", errors.Is(err, websocket.ErrMessageTooBig))
		c.CloseNow()
	}

	if c := dial("/echo"); c != nil {
		nc := websocket.NetConn(ctx, c, websocket.MessageBinary)
		_, err := io.WriteString(nc, "a stream of bytes")
		p.failed("net.Conn's write", err)
		got := make([]byte, 17)
		_, err = io.ReadFull(nc, got)
		p.failed("net.Conn's read", err)
		p.saw("%q", got)
		p.failed("net.Conn's close", nc.Close())
	}

	p.saw("%v %v %v", websocket.MessageText, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd)
	p.saw("CloseStatus of no close: %d", websocket.CloseStatus(io.EOF))
	_, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://evil.example.org"}}})
	if resp == nil {
		p.failed("dial from a foreign origin", err)
		return
	}
	p.saw("foreign origin: refused %v with status %d", err != nil, resp.StatusCode)
}

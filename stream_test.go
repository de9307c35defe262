package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Bytes that are not HTTP get a response with a status, and no connection.
func TestAcceptConnMalformed(t *testing.T) {
	good := wstest.Request("/", "example.com")
	for _, tt := range []struct {
		name, request string
		status        int
	}{
		{"words", "hello, world\r\n\r\n", 400},
		{"empty line first", "\r\n" + good, 400},
		{"no target", "GET HTTP/1.1\r\n\r\n", 400},
		{"no colon", strings.Replace(good, "Host: ", "Host ", 1), 400},
		{"space in a name", strings.Replace(good, "Host:", "Host :", 1), 400},
		{"space in another name", strings.Replace(good, "\r\n\r\n", "\r\nX : x\r\n\r\n", 1), 400},
		{"a name that is no token", strings.Replace(good, "\r\n\r\n", "\r\nX(y): x\r\n\r\n", 1), 400},
		{"no name", strings.Replace(good, "\r\n\r\n", "\r\n: x\r\n\r\n", 1), 400},
		{"folded line", strings.Replace(good, "\r\n\r\n", "\r\n folded\r\n\r\n", 1), 400},
		{"CR in a value", strings.Replace(good, "\r\n\r\n", "\r\nX: a\rb\r\n\r\n", 1), 400},
		{"malformed host", strings.Replace(good, "Host: example.com", "Host: a/b@c", 1), 400},
		{"no host, but an absolute target", strings.Replace(strings.Replace(good, "Host: example.com\r\n", "", 1), "GET /", "GET http://example.com/", 1), 400},
		{"two lengths", strings.Replace(good, "\r\n\r\n", "\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", 1), 400},
		{"malformed length", strings.Replace(good, "\r\n\r\n", "\r\nContent-Length: +0\r\n\r\n", 1), 400},
		{"two spaces", strings.Replace(good, "GET /", "GET  /", 1), 400},
		{"malformed method", strings.Replace(good, "GET /", "G(T /", 1), 400},
		{"malformed target", strings.Replace(good, "GET /", "GET %zz", 1), 400},
		{"no version", strings.Replace(good, " HTTP/1.1", "", 1), 400},
		{"no host", strings.Replace(good, "Host: example.com\r\n", "", 1), 400},
		{"two hosts", strings.Replace(good, "Host: example.com\r\n", "Host: example.com\r\nHost: example.org\r\n", 1), 400},
		{"NUL in a value", strings.Replace(good, "Upgrade: websocket", "Upgrade: websocket\r\nX: a\x00b", 1), 400},
		{"future HTTP", strings.Replace(good, "HTTP/1.1", "HTTP/9.9.9", 1), 400},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"extended CONNECT", "CONNECT / HTTP/2.0\r\nHost: example.com\r\n:protocol: websocket\r\n\r\n", 400},
		{"TLS", "\x16\x03\x01\x02\x00\x01\r\n\r\n", 400},
		{"long field", strings.Replace(good, "\r\n\r\n", "\r\nX: "+strings.Repeat("x", maxRequestHead)+"\r\n\r\n", 1), 431},
		{"many fields", strings.Replace(good, "\r\n\r\n", strings.Repeat("\r\nX: y", maxRequestHead/6)+"\r\n\r\n", 1), 431},
		{"no end", strings.Repeat("x", 2*maxRequestHead), 431},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var err error
				got := answerTo(t, tt.request, func(far net.Conn) {
					_, _, err = AcceptConn(t.Context(), far, nil)
				})
				resp, parseErr := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
				if parseErr != nil || resp.StatusCode != tt.status || err == nil || !strings.HasPrefix(err.Error(), "websocket: ") || len(err.Error()) > 300 {
					t.Errorf("got %q and the error %v, want status %d", got, err, tt.status)
				}
			})
		})
	}
}

// A request that the client does not finish ends at the bound over a socket
// too, which heeds deadlines. Those of the caller are gone.
func TestAcceptConnDeadlines(t *testing.T) {
	far, near := tcpSockets(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := AcceptConn(ctx, far, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("AcceptConn with a silent client: %v", err)
	}
	if _, err := near.Read(make([]byte, 1)); err == nil {
		t.Error("the net.Conn is open")
	}

	far, _ = tcpSockets(t)
	var b connBound
	b.begin(t.Context(), far, 10*time.Millisecond)
	_, err := far.Read(make([]byte, 1))
	if ended := b.release(true); err == nil || ended != context.DeadlineExceeded {
		t.Errorf("a handshake that took too long: %v, %v", err, ended)
	}

	far, near = tcpSockets(t)
	far.SetDeadline(time.Unix(1, 0))
	io.WriteString(near, wstest.Request("/", "example.com")+string(wstest.Encode(wstest.Client, wstest.Final(wstest.Text, "hi"))))
	c, r, err := AcceptConn(t.Context(), far, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if r.RemoteAddr != near.LocalAddr().String() {
		t.Errorf("RemoteAddr is %s, want %s", r.RemoteAddr, near.LocalAddr())
	}
	if _, data, err := c.Read(t.Context()); string(data) != "hi" {
		t.Errorf("Read = %q, %v", data, err)
	}
	if err := c.Write(t.Context(), MessageText, []byte("ho")); err != nil {
		t.Error(err)
	}
}

func TestAddrString(t *testing.T) {
	for _, addr := range []*net.TCPAddr{nil, {}, {Port: 1}, {IP: net.IPv4(127, 0, 0, 1), Port: 80}, {IP: net.IP{10, 0, 0, 1}, Port: 65535},
		{IP: net.IPv6loopback, Port: 8080}, {IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 1}, {IP: net.IP{1, 2, 3}}} {
		if got := addrString(addr); got != addr.String() {
			t.Errorf("got %q, want %q", got, addr)
		}
	}
	if got := addrString(nil); got != "" {
		t.Errorf("got %q for nil", got)
	}
}

// A client that takes no byte of its refusal, and one that goes on sending.
func TestAcceptConnStubbornClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go io.WriteString(near, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		began := time.Now()
		if _, _, err := AcceptConn(context.Background(), far, nil); err == nil || time.Since(began) > connHandshakeTimeout {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		near.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		near, far := netfake.Pipe(netfake.Options{})
		go func() {
			for {
				if _, err := near.Write(make([]byte, 100)); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		began := time.Now()
		if _, _, err := AcceptConn(context.Background(), far, nil); err == nil || time.Since(began) > 10*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		near.Close()
		time.Sleep(time.Second) // until the client has returned
	})
}

// Both ends through the doors, over each kind of stream.
func TestConnDoors(t *testing.T) {
	secure := httptest.NewUnstartedServer(nil)
	secure.StartTLS()
	defer secure.Close()
	listen := func(network, address string) func(t *testing.T) (near, far net.Conn) {
		return func(t *testing.T) (near, far net.Conn) {
			if network != "tcp" {
				address = filepath.Join(t.TempDir(), "s")
			}
			l, err := net.Listen(network, address)
			if err != nil {
				t.Skip(err)
			}
			defer l.Close()
			near, err = net.Dial(network, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if far, err = l.Accept(); err != nil {
				t.Fatal(err)
			}
			return near, far
		}
	}
	tcp := listen("tcp", "127.0.0.1:0")
	for _, stream := range []struct {
		name string
		pair func(t *testing.T) (near, far net.Conn)
	}{
		{"net.Pipe", func(*testing.T) (near, far net.Conn) { return net.Pipe() }},
		{"memory", func(*testing.T) (near, far net.Conn) { return netfake.Pipe(netfake.Options{}) }},
		{"TCP", tcp},
		{"unix", listen("unix", "")},
		{"unixpacket", listen("unixpacket", "")},
		{"TLS", func(t *testing.T) (near, far net.Conn) {
			near, far = tcp(t)
			return tls.Client(near, &tls.Config{InsecureSkipVerify: true}), tls.Server(far, secure.TLS)
		}},
	} {
		for _, mode := range []CompressionMode{CompressionDisabled, CompressionContextTakeover} {
			t.Run(fmt.Sprintf("%s/%v", stream.name, mode), func(t *testing.T) {
				near, far := stream.pair(t)
				served := make(chan error, 1)
				go func() {
					c, r, err := AcceptConn(context.Background(), far, &AcceptOptions{CompressionMode: mode, Subprotocols: []string{"echo"}})
					if err == nil {
						if r.URL.Path != "/chat" || (r.TLS != nil) != (stream.name == "TLS") {
							err = fmt.Errorf("got the request %+v", r)
						}
						echo(c)
						c.CloseNow()
					}
					served <- err
				}()
				c, resp, err := DialConn(t.Context(), near, "ws://example.com/chat", &DialOptions{CompressionMode: mode, Subprotocols: []string{"echo"}})
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != 101 || c.Subprotocol() != "echo" || (c.deflate != nil) != (mode != CompressionDisabled) {
					t.Errorf("got %v, %q, %v", resp, c.Subprotocol(), c.deflate)
				}
				checkEcho(t, c)
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// DialConn and a server that is scripted.
func TestDialConn(t *testing.T) {
	jar, _ := cookiejar.New(nil)
	u := &url.URL{Scheme: "http", Host: "example.com:81", Path: "/"}
	jar.SetCookies(u, []*http.Cookie{{Name: "who", Value: "me"}})
	synctest.Test(t, func(t *testing.T) {
		near, far := netfake.Pipe(netfake.Options{})
		go func() {
			p := wstest.NewPeer(t, far, wstest.Server)
			head := p.ReadHead()
			for _, line := range []string{"GET /a?b HTTP/1.1\r\n", "\r\nHost: example.com:81\r\n", "\r\nCookie: who=me\r\n", "\r\nX-A: b\r\n", "\r\nSec-WebSocket-Version: 13\r\n"} {
				if !strings.Contains(head, line) {
					t.Errorf("the request %q lacks %q", head, line)
				}
			}
			_, key, _ := strings.Cut(head, "Sec-WebSocket-Key: ")
			key, _, _ = strings.Cut(key, "\r\n")
			p.WriteRaw([]byte("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + wstest.Response(key) +
				string(wstest.Encode(wstest.Server, wstest.Final(wstest.Text, "first")))))
			p.WantMessage(wstest.Text, "second")
			p.WriteClose(1000, "")
			p.WantClose(1000)
			p.Close()
		}()
		c, _, err := DialConn(t.Context(), near, "ws://example.com:81/a?b", &DialOptions{HTTPHeader: http.Header{"X-A": {"b"}}, HTTPClient: &http.Client{Jar: jar}})
		if err != nil {
			t.Fatal(err)
		}
		if _, data, err := c.Read(t.Context()); string(data) != "first" || err != nil {
			t.Errorf("got %q, %v", data, err)
		}
		if err := c.Write(t.Context(), MessageText, []byte("second")); err != nil {
			t.Error(err)
		}
		if _, _, err := c.Read(t.Context()); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
	for _, tt := range []struct{ name, response, want string }{
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", "status 302 Found, not 101"},
		{"refusal", "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nnever", "status 403 Forbidden, not 101: \"never\""},
		{"refusal without end", "HTTP/1.1 500 Oops\r\n\r\nnever", "status 500"},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n", "malformed HTTP"},
		{"no end", "HTTP/1.1 101 Switching Protocols\r\nX: " + strings.Repeat("x", maxResponseHead), "more than 1048576 bytes"},
		{"hints without end", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 7), "status 103"},
		{"wrong key", wstest.Response("x"), "Sec-WebSocket-Accept header of the response is wrong"},
		{"silence", "", "context deadline exceeded"},
		{"silence within", "HTTP/1.1 101 Switching", "context deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := netfake.Pipe(netfake.Options{})
				go io.Copy(io.Discard, far)
				go io.WriteString(far, tt.response)
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				c, resp, err := DialConn(ctx, near, "ws://example.com/", nil)
				if c != nil || !matches(err, tt.want) || !matches(err, "websocket: dial: ") {
					t.Errorf("got %v, %v, want %q", c, err, tt.want)
				}
				if resp != nil {
					io.ReadAll(resp.Body)
				}
				if near.Stats().Closes == 0 {
					t.Error("the net.Conn is open")
				}
				far.Close()
			})
		})
	}
	near, _ := netfake.Pipe(netfake.Options{})
	if _, _, err := DialConn(t.Context(), near, "ftp://example.com/", nil); err == nil || near.Stats().Closes == 0 {
		t.Errorf("an invalid URL: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	near, _ = netfake.Pipe(netfake.Options{})
	if _, _, err := DialConn(ctx, near, "ws://example.com/", nil); !errors.Is(err, context.Canceled) || near.Stats().Closes == 0 {
		t.Errorf("an ended context: got %v", err)
	}
}

func TestNewConn(t *testing.T) {
	for _, extensions := range []string{"", "permessage-deflate", "permessage-deflate; server_no_context_takeover; client_max_window_bits=9"} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			hello := wstest.Encode(wstest.Client, wstest.Final(wstest.Text, "hello"))
			s, err := NewConn(far, &ConnOptions{Subprotocol: "x", Extensions: extensions, Received: hello, CompressionThreshold: -1})
			if err != nil {
				t.Fatal(err)
			}
			hello[6] ^= 0xff // ours again
			if s.Subprotocol() != "x" || (s.deflate != nil) != (extensions != "") {
				t.Errorf("got %q, %v", s.Subprotocol(), s.deflate)
			}
			if _, data, err := s.Read(t.Context()); string(data) != "hello" || err != nil {
				t.Errorf("got %q, %v", data, err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				echo(s)
			}()
			c, err := NewConn(near, &ConnOptions{Client: true, Extensions: extensions})
			if err != nil {
				t.Fatal(err)
			}
			checkEcho(t, c)
			<-done
		})
	}
	near, _ := netfake.Pipe(netfake.Options{})
	for _, tt := range []struct {
		conn net.Conn
		opts ConnOptions
		want string
	}{
		{nil, ConnOptions{}, "the net.Conn is nil"},
		{near, ConnOptions{Subprotocol: "a b"}, `invalid ConnOptions.Subprotocol: "a b" is not a token`},
		{near, ConnOptions{Extensions: "permessage-deflate;"}, "invalid ConnOptions.Extensions: a token is expected"},
		{near, ConnOptions{Extensions: "permessage-deflate; server_max_window_bits=7"}, "must be 8 to 15"},
		{near, ConnOptions{Extensions: "permessage-bzip2"}, "there may be permessage-deflate, and nothing else"},
		{near, ConnOptions{Extensions: "permessage-deflate, permessage-deflate"}, "there may be permessage-deflate, and nothing else"},
	} {
		if c, err := NewConn(tt.conn, &tt.opts); c != nil || !matches(err, tt.want) {
			t.Errorf("%+v: got %v, %v, want %q", tt.opts, c, err, tt.want)
		}
	}
	if n := math.MaxInt32; math.MaxInt > n {
		large := make([]byte, n+1) // never touched
		if c, err := NewConn(near, &ConnOptions{Received: large}); c != nil || !matches(err, "Received: it has 2 GiB or more") {
			t.Errorf("with 2 GiB received: got %v, %v", c, err)
		}
	}
	if near.Stats().Closes != 0 {
		t.Error("the net.Conn of a failed NewConn is closed")
	}
	// nil options are those of a server.
	s, err := NewConn(near, nil)
	if err != nil || s.r.half.client {
		t.Errorf("got %+v, %v", s, err)
	}
	s.CloseNow()
}

// Deadlines that the caller has set on the net.Conn, to bound a handshake of
// its own, do not concern the connection.
func TestStreamDeadlinesAreGone(t *testing.T) {
	check := func(t *testing.T, c *Conn, p *wstest.Peer) {
		p.WriteFrame(wstest.Text, "in")
		if _, data, err := c.Read(t.Context()); string(data) != "in" || err != nil {
			t.Errorf("Read = %q, %v", data, err)
		}
		if err := c.Write(t.Context(), MessageText, []byte("out")); err != nil {
			t.Fatalf("Write = %v", err)
		}
		p.WantFrame(wstest.Text, "out")
		c.CloseNow()
	}
	for _, link := range links {
		t.Run("NewConn/"+link.name, func(t *testing.T) {
			ours, theirs := link.make(t)
			ours.SetDeadline(past)
			c, err := NewConn(ours, nil)
			if err != nil {
				t.Fatal(err)
			}
			check(t, c, wstest.NewPeer(t, theirs, wstest.Client))
			theirs.Close()
		})
	}
	t.Run("DialConn", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := fakeLink()
			ours.SetDeadline(time.Now().Add(time.Minute))
			p := wstest.NewPeer(t, theirs, wstest.Server)
			go p.ServerHandshake()
			c, _, err := DialConn(t.Context(), ours, "ws://example.com/", nil)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			check(t, c, p)
			theirs.Close()
		})
	})
}

// An oddConn is a connection whose calls a test has replaced.
type oddConn struct {
	*netfake.Conn
	read, write func(p []byte) (int, error) // nil: that of Conn
	deadline    func(t time.Time) error     // nil: that of Conn
}

func (c *oddConn) Read(p []byte) (int, error) {
	if c.read != nil {
		return c.read(p)
	}
	return c.Conn.Read(p)
}

func (c *oddConn) Write(p []byte) (int, error) {
	if c.write != nil {
		return c.write(p)
	}
	return c.Conn.Write(p)
}

func (c *oddConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *oddConn) SetReadDeadline(t time.Time) error {
	if c.deadline != nil {
		return c.deadline(t)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *oddConn) SetWriteDeadline(t time.Time) error {
	if c.deadline != nil {
		return c.deadline(t)
	}
	return c.Conn.SetWriteDeadline(t)
}

// tryAccept returns the error of AcceptConn.
func tryAccept(t *testing.T, conn net.Conn) error {
	_, _, err := AcceptConn(t.Context(), conn, nil)
	return err
}

// tryDial returns the error of DialConn.
func tryDial(t *testing.T, conn net.Conn) error {
	_, _, err := DialConn(t.Context(), conn, "ws://example.com/", nil)
	return err
}

// A Read that returns nothing, and no error, says nothing (io.Reader). One that
// goes on so is an error, and no loop.
func TestEmptyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := netfake.Pipe(netfake.Options{})
		calls := 0
		odd := &oddConn{Conn: far}
		odd.read = func(p []byte) (int, error) {
			if calls++; calls%20 != 0 {
				return 0, nil
			}
			return far.Read(p[:1])
		}
		io.WriteString(near, wstest.Request("/", "example.com")+string(wstest.Encode(wstest.Client, text("hi"))))
		c, _, err := AcceptConn(t.Context(), odd, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, data, err := c.Read(t.Context()); string(data) != "hi" || err != nil {
			t.Errorf("Read = %q, %v", data, err)
		}
		near.Close()
		if _, _, err := c.Read(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	})
	for empty := maxEmptyReads - 2; empty <= maxEmptyReads; empty++ {
		calls := 0
		odd := &oddConn{read: func(p []byte) (int, error) {
			switch calls++; {
			case calls <= empty:
				return 0, nil
			case calls == empty+1:
				return 0, os.ErrDeadlineExceeded
			}
			return copy(p, wstest.Encode(wstest.Client, text("hi"))), nil
		}}
		odd.Conn, _ = netfake.Pipe(netfake.Options{})
		c, _ := NewConn(odd, nil)
		if _, _, err := c.Read(t.Context()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a deadline behind %d reads of nothing: %v", empty, err)
		}
		if _, data, err := c.Read(t.Context()); string(data) != "hi" || err != nil {
			t.Errorf("Read = %q, %v", data, err)
		}
		c.CloseNow()
	}
	synctest.Test(t, func(t *testing.T) {
		for door, open := range map[string]func(conn net.Conn) error{
			"AcceptConn": func(conn net.Conn) error { return tryAccept(t, conn) },
			"DialConn":   func(conn net.Conn) error { return tryDial(t, conn) },
			"Read": func(conn net.Conn) error {
				c, err := NewConn(conn, nil)
				if err == nil {
					_, _, err = c.Read(t.Context())
				}
				return err
			},
		} {
			near, far := netfake.Pipe(netfake.Options{})
			calls := 0
			odd := &oddConn{Conn: far}
			odd.read = func([]byte) (int, error) {
				if calls++; calls > 1000 {
					return 0, errors.New("1000 reads of nothing")
				}
				return 0, nil
			}
			if err := open(odd); !errors.Is(err, io.ErrNoProgress) {
				t.Errorf("%s: got %v", door, err)
			}
			near.Close()
		}
	})
}

// A connection that fails is closed when its peer has read why, and has ended
// it, even if reads of nothing come before that.
func TestFailLingersOverEmptyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := netfake.Pipe(netfake.Options{})
		calls := 0
		odd := &oddConn{Conn: far}
		odd.read = func(p []byte) (int, error) {
			if calls++; calls%3 != 0 {
				return 0, nil
			}
			return far.Read(p)
		}
		c, err := NewConn(odd, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		near.Write(wstest.Encode(wstest.Server, text("not masked")))
		begin := time.Now()
		time.AfterFunc(100*time.Millisecond, func() { near.Close() })
		var broke ProtocolError
		if _, _, err := c.Read(t.Context()); !errors.As(err, &broke) {
			t.Errorf("Read = %v", err)
		}
		if took := time.Since(begin); took != 100*time.Millisecond {
			t.Errorf("the connection was closed after %v, its peer ended it after 100ms", took)
		}
	})
}

// A Write that takes less than it was given, and returns no error, breaks the
// contract of io.Writer. What it has left out must not be missed in silence.
func TestShortWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for door, open := range map[string]func(conn net.Conn) error{
			"AcceptConn": func(conn net.Conn) error { return tryAccept(t, conn) },
			"DialConn":   func(conn net.Conn) error { return tryDial(t, conn) },
			"Accept": func(conn net.Conn) error {
				return writeResponse(conn, []byte("response"), time.Minute)
			},
			"Write": func(conn net.Conn) error {
				c, _ := NewConn(conn, nil)
				return c.Write(t.Context(), MessageText, []byte("hello"))
			},
			"Write of much": func(conn net.Conn) error {
				c, _ := NewConn(conn, nil)
				return c.Write(t.Context(), MessageText, make([]byte, 100_000))
			},
		} {
			near, far := netfake.Pipe(netfake.Options{})
			odd := &oddConn{Conn: far}
			odd.write = func(p []byte) (int, error) { return far.Write(p[:len(p)/2]) }
			if door == "AcceptConn" {
				io.WriteString(near, wstest.Request("/", "example.com"))
			} else {
				go io.Copy(io.Discard, near)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			stop := context.AfterFunc(ctx, func() { far.Close() })
			if err := open(odd); !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("%s: got %v", door, err)
			}
			stop()
			cancel()
			far.Close()
			near.Close()
		}
	})
}

// AcceptConn gives a client the same short time to read its refusal, whether or
// not the net.Conn heeds deadlines. Its error says what was refused even if the
// time for the handshake is over by then.
func TestAcceptConnLingers(t *testing.T) {
	for kind, deadline := range map[string]func(time.Time) error{
		"heeds":   nil,
		"ignores": func(time.Time) error { return nil },
		"refuses": func(time.Time) error { return errors.ErrUnsupported },
	} {
		for _, bound := range []time.Duration{100 * time.Millisecond, time.Hour} {
			t.Run(fmt.Sprintf("%s/%v", kind, bound), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near, far := netfake.Pipe(netfake.Options{})
					ctx, cancel := context.WithTimeout(t.Context(), bound)
					defer cancel()
					io.WriteString(near, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
					began := time.Now()
					_, _, err := AcceptConn(ctx, &oddConn{Conn: far, deadline: deadline}, nil)
					if took := time.Since(began); took != min(bound, lingerTime) {
						t.Errorf("AcceptConn took %v of %v", took, bound)
					}
					if refusalStatus(err) != http.StatusMethodNotAllowed {
						t.Errorf("got %v", err)
					}
					near.Close()
				})
			})
		}
	}
}

// Connections with the default options share them, and others do not.
func TestDefaultAgreementIsShared(t *testing.T) {
	made := func(cfg connConfig) *settings { return cfg.makePlain().settings }
	want := *(&connConfig{skipUTF8: true}).makePlain().settings
	want.skipUTF8 = false
	if got := made(connConfig{}); got != made(connConfig{}) || !reflect.DeepEqual(*got, want) {
		t.Errorf("the default is %+v, want %+v", *got, want)
	}
	for _, cfg := range []connConfig{
		{skipUTF8: true}, {closeTimeout: 1}, {pingInterval: -1}, {pongTimeout: 1},
		{onPing: func(context.Context, []byte) bool { return true }}, {onPong: func(context.Context, []byte) {}},
	} {
		if got := made(cfg); got == made(connConfig{}) || reflect.DeepEqual(*got, want) {
			t.Errorf("%+v has the default settings", cfg)
		}
	}
}

//go:build js

package jstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall/js"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/wsjson"
	"github.com/seed70bc5565/websocket/wstest"
)

// base is the URL of the server that command exec has started.
var base = os.Getenv("JSTEST_URL")

var inBrowser = js.Global().Get("document").Type() == js.TypeObject

func TestMain(m *testing.M) {
	if base == "" {
		fmt.Println("JSTEST_URL is not set: run these tests by command exec")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// limit bounds each test: a connection that hangs fails it.
func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, path string, opts *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, resp, err := websocket.Dial(limit(t), base+path, opts)
	if err != nil {
		t.Fatal(err)
	}
	if resp == nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("the response is %v", resp)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

// newID returns a name for one connection.
func newID() string { return fmt.Sprint(rand.Uint64()) }

// wantSeen waits until the connection of /watch has ended, and says how the
// server has to see that.
func wantSeen(t *testing.T, id, want string) {
	t.Helper()
	c := dial(t, "/seen?id="+id, nil)
	_, data, err := c.Read(limit(t))
	if string(data) != want || err != nil {
		t.Errorf("the server saw %q, %v; want %q", data, err, want)
	}
}

// Each kind and size of message goes to the server and comes back as it was.
func TestEcho(t *testing.T) {
	c := dial(t, "/echo", &websocket.DialOptions{ReadLimit: -1, CompressionMode: websocket.CompressionContextTakeover})
	ctx := limit(t)
	binary := make([]byte, 3<<20)
	for i := range binary {
		binary[i] = byte(i * i >> 8)
	}
	// undici, in Node, loses the byte order mark of a text that it receives.
	bom := "\ufefftext"
	if !inBrowser {
		bom = "text\ufeff"
	}
	for _, m := range []websocket.Message{
		{Type: websocket.MessageText, Data: []byte("hello")},
		{Type: websocket.MessageText, Data: []byte("")},
		{Type: websocket.MessageText, Data: []byte("größer 日本語 \U0001f600 \x00")},
		{Type: websocket.MessageText, Data: []byte(bom)},
		{Type: websocket.MessageText, Data: []byte(strings.Repeat("ä", 200_000))},
		{Type: websocket.MessageBinary, Data: []byte{}},
		{Type: websocket.MessageBinary, Data: binary[:125]},
		{Type: websocket.MessageBinary, Data: binary[:126]},
		{Type: websocket.MessageBinary, Data: binary[:65536]},
		{Type: websocket.MessageBinary, Data: binary},
	} {
		if err := c.Write(ctx, m.Type, m.Data); err != nil {
			t.Fatal(err)
		}
		typ, data, err := c.Read(ctx)
		if typ != m.Type || !bytes.Equal(data, m.Data) || err != nil {
			t.Fatalf("%v of %d bytes came back as %v of %d bytes, %v", m.Type, len(m.Data), typ, len(data), err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, "done"); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := c.Write(ctx, websocket.MessageText, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
}

// The other ways to read and to write.
func TestStreams(t *testing.T) {
	c := dial(t, "/echo", nil)
	ctx := limit(t)
	w, err := c.Writer(ctx, websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		io.WriteString(w, "0123456789")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	typ, r, err := c.Reader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); typ != websocket.MessageText || len(data) != 10_000 || err != nil {
		t.Errorf("a stream came back as %v of %d bytes, %v", typ, len(data), err)
	}

	c.Write(ctx, websocket.MessageText, []byte("hello"))
	if _, data, err := c.ReadInto(ctx, make([]byte, 0, 10)); string(data) != "hello" || err != nil {
		t.Errorf("ReadInto = %q, %v", data, err)
	}

	for range 3 {
		c.Write(ctx, websocket.MessageText, []byte("x"))
	}
	n := 0
	for m, err := range c.Messages(ctx) {
		if n++; string(m.Data) != "x" || err != nil {
			t.Fatalf("Messages: %q, %v", m.Data, err)
		}
		if n == 3 {
			break
		}
	}

	var got map[string]int
	wsjson.Write(ctx, c, map[string]int{"a": 1})
	if err := wsjson.Read(ctx, c, &got); err != nil || got["a"] != 1 {
		t.Errorf("wsjson: %v, %v", got, err)
	}

	stream := websocket.NetConn(ctx, c, websocket.MessageBinary)
	go stream.Write(make([]byte, 100_000))
	if _, err := io.ReadFull(stream, make([]byte, 100_000)); err != nil {
		t.Errorf("NetConn: %v", err)
	}
	if err := stream.Close(); err != nil {
		t.Errorf("NetConn.Close: %v", err)
	}
}

func TestSubprotocol(t *testing.T) {
	c := dial(t, "/chat", &websocket.DialOptions{Subprotocols: []string{"other", "chat"}})
	_, data, err := c.Read(limit(t))
	if c.Subprotocol() != "chat" || string(data) != "chat" || err != nil {
		t.Errorf("the subprotocol is %q here and %q there, %v", c.Subprotocol(), data, err)
	}
	if c = dial(t, "/echo", nil); c.Subprotocol() != "" {
		t.Errorf("the subprotocol is %q", c.Subprotocol())
	}
	if got := c.RemoteAddr().String(); !strings.HasPrefix(base, "ws://"+got) {
		t.Errorf("the remote address is %q", got)
	}
}

// The platform compresses if the server agrees, whatever the options say, and
// the Conn tells.
func TestConnectionState(t *testing.T) {
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
		for path, compressed := range map[string]bool{"/echo": true, "/chat": false} {
			c, resp, err := websocket.Dial(limit(t), base+path, &websocket.DialOptions{CompressionMode: mode})
			if err != nil {
				t.Fatal(err)
			}
			state := c.ConnectionState()
			if told := strings.HasPrefix(state.Extensions, "permessage-deflate"); told != compressed || state.Proto != "" {
				t.Errorf("%s: the connection has %+v", path, state)
			}
			if (resp.Header.Get("Sec-WebSocket-Extensions") != "") != compressed {
				t.Errorf("%s: the response has %v", path, resp.Header)
			}
			c.CloseNow()
		}
	}
}

// The platform does TLS, in front of everything else.
func TestTLS(t *testing.T) {
	id := newID()
	secure := os.Getenv("JSTEST_TLS")
	for path, use := range map[string]func(c *websocket.Conn){
		"/echo": func(c *websocket.Conn) {
			sent := bytes.Repeat([]byte("secret "), 50_000)
			if err := c.Write(limit(t), websocket.MessageBinary, sent); err != nil {
				t.Fatal(err)
			}
			if typ, data, err := c.Read(limit(t)); typ != websocket.MessageBinary || !bytes.Equal(data, sent) || err != nil {
				t.Errorf("got %v of %d bytes, %v", typ, len(data), err)
			}
		},
		"/close?code=4001&reason=over": func(c *websocket.Conn) {
			if _, _, err := c.Read(limit(t)); websocket.CloseStatus(err) != 4001 {
				t.Errorf("Read: %v", err)
			}
		},
		"/watch?id=" + id: func(c *websocket.Conn) {
			if err := c.Close(4002, "done"); err != nil {
				t.Errorf("Close: %v", err)
			}
			wantSeen(t, id, "4002 done")
		},
	} {
		c, _, err := websocket.Dial(limit(t), secure+path, &websocket.DialOptions{ReadLimit: -1})
		if err != nil {
			t.Fatal(err)
		}
		use(c)
		c.CloseNow()
	}
}

// How the server closes arrives.
func TestServerCloses(t *testing.T) {
	for _, code := range []int{1000, 1001, 1008, 1011, 1013, 3000, 4999} {
		c := dial(t, fmt.Sprintf("/close?code=%d&reason=l%%C3%%A4ngst", code), nil)
		_, _, err := c.Read(limit(t))
		var ce websocket.CloseError
		if !errors.As(err, &ce) || int(ce.Code) != code || ce.Reason != "längst" {
			t.Errorf("%d: the client read %v", code, err)
		}
		if orderly := code == 1000 || code == 1001; errors.Is(err, io.EOF) != orderly {
			t.Errorf("%d: errors.Is(%v, io.EOF) is %v", code, err, !orderly)
		}
	}
	c := dial(t, "/close?code=1005", nil)
	if _, _, err := c.Read(limit(t)); websocket.CloseStatus(err) != websocket.StatusNoStatusRcvd {
		t.Errorf("no code: the client read %v", err)
	}
	c = dial(t, "/close", nil)
	if _, _, err := c.Read(limit(t)); !errors.Is(err, io.ErrUnexpectedEOF) || websocket.CloseStatus(err) != -1 {
		t.Errorf("no close frame: the client read %v", err)
	}
}

// How the client closes arrives, as far as a browser lets it.
func TestClientCloses(t *testing.T) {
	for _, tt := range []struct {
		code   websocket.StatusCode
		reason string
		seen   string
		err    string
	}{
		{1000, "bye", "1000 bye", ""},
		{3001, "", "3001", ""},
		{4999, strings.Repeat("ä", 61), "4999 " + strings.Repeat("ä", 61), ""},
		{1005, "", "1005", ""},
		{1001, "bye", "1005", "1001"},
		{1011, "", "1005", "1000 and 3000 to 4999"},
		{1006, "", "1005", "1006"},
		{1000, strings.Repeat("x", 124), "1005", "123"},
	} {
		id := newID()
		c := dial(t, "/watch?id="+id, nil)
		err := c.Close(tt.code, tt.reason)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("Close(%d, %q): %v, want %q in it", tt.code, tt.reason, err, tt.err)
		}
		wantSeen(t, id, tt.seen)
	}
	id := newID()
	dial(t, "/watch?id="+id, nil).CloseNow()
	wantSeen(t, id, "1005")
	id = newID()
	c := dial(t, "/watch?id="+id, nil)
	ctx, cancel := context.WithCancel(limit(t))
	ended := c.CloseRead(ctx)
	cancel()
	<-ended.Done()
	wantSeen(t, id, "1005")
}

// A server's ping is answered by the platform; a program cannot ping.
func TestPing(t *testing.T) {
	c := dial(t, "/ping", nil)
	if err := c.Ping(limit(t)); err == nil || !strings.Contains(err.Error(), "no pings") {
		t.Errorf("Ping: %v", err)
	}
	if _, data, err := c.Read(limit(t)); string(data) != "pong" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
}

func TestReadLimit(t *testing.T) {
	c := dial(t, "/echo", &websocket.DialOptions{ReadLimit: 100})
	ctx := limit(t)
	c.Write(ctx, websocket.MessageText, make([]byte, 100))
	if _, _, err := c.Read(ctx); err != nil {
		t.Error(err)
	}
	c.Write(ctx, websocket.MessageText, make([]byte, 101))
	if _, _, err := c.Read(ctx); !errors.Is(err, websocket.ErrMessageTooBig) {
		t.Errorf("a message beyond the limit: %v", err)
	}
}

// Contexts and deadlines end reads, which lose nothing.
func TestInterrupts(t *testing.T) {
	c := dial(t, "/echo", nil)
	ctx := limit(t)
	for range 3 {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		if _, _, err := c.Read(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Read with a context: %v", err)
		}
		cancel()
		c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, _, err := c.Read(ctx); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Read with a deadline: %v", err)
		}
		c.SetReadDeadline(time.Time{})
		c.Write(ctx, websocket.MessageText, []byte("x"))
		if _, data, err := c.Read(ctx); string(data) != "x" || err != nil {
			t.Fatalf("the next Read: %q, %v", data, err)
		}
	}
}

// A server that does not read makes writes wait, and what was written arrives
// when it does.
func TestBackPressure(t *testing.T) {
	id := newID()
	c := dial(t, "/stall?id="+id, nil)
	data := make([]byte, 256<<10)
	for i := range data { // not compressible
		data[i] = byte(rand.Uint32())
	}
	total, waited := 0, false
	for range 400 { // of 100 MiB no socket takes all
		c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		err := c.Write(limit(t), websocket.MessageBinary, data)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			waited = true
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		total += len(data)
	}
	if !waited {
		t.Errorf("%d bytes went to a server that reads nothing", total)
	}

	id = newID()
	c = dial(t, "/stall?id="+id, nil)
	total = 0
	done := make(chan error)
	go func() {
		for range 100 {
			if err := c.Write(limit(t), websocket.MessageBinary, data); err != nil {
				done <- err
				return
			}
		}
		done <- c.Write(limit(t), websocket.MessageText, []byte("end"))
	}()
	dial(t, "/go?id="+id, nil).CloseNow()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(limit(t)); string(got) != fmt.Sprint(100*len(data)) || err != nil {
		t.Errorf("the server got %q bytes, %v", got, err)
	}
}

// Messages wait for a program that reads slowly, in their order, the close
// frame behind them.
func TestBurst(t *testing.T) {
	c := dial(t, "/burst?n=2000", nil)
	time.Sleep(50 * time.Millisecond)
	n := 0
	for m, err := range c.Messages(limit(t)) {
		if err != nil || len(m.Data) != 1024 {
			t.Fatalf("message %d: %d bytes, %v", n, len(m.Data), err)
		}
		n++
	}
	if n != 2000 {
		t.Errorf("%d messages", n)
	}
}

// An option that a browser cannot honour is an error that names it, and no
// attempt.
func TestOptions(t *testing.T) {
	for name, opts := range map[string]websocket.DialOptions{
		"HTTPHeader":                   {HTTPHeader: http.Header{"Authorization": {"Bearer x"}}},
		"Host":                         {Host: "example.com"},
		"CompressionThreshold":         {CompressionThreshold: 1},
		"CompressionSendWindowBits":    {CompressionSendWindowBits: 9},
		"CompressionReceiveWindowBits": {CompressionReceiveWindowBits: 9},
		"OnPingReceived":               {OnPingReceived: func(context.Context, []byte) bool { return true }},
		"OnPongReceived":               {OnPongReceived: func(context.Context, []byte) {}},
		"PingInterval":                 {PingInterval: time.Second},
		"PongTimeout":                  {PongTimeout: time.Second},
	} {
		_, _, err := websocket.Dial(limit(t), base+"/echo", &opts)
		if err == nil || !strings.Contains(err.Error(), "DialOptions."+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dial(t, "/echo", &websocket.DialOptions{
		HTTPClient: &http.Client{Timeout: time.Minute}, PingInterval: -1, PongTimeout: -1,
		CompressionMode: websocket.CompressionNoContextTakeover, SkipUTF8Validation: true, CloseTimeout: time.Second, WriteBufferLimit: 1 << 20,
	})
}

func TestDialErrors(t *testing.T) {
	for _, url := range []string{base + "/refuse", "ws://127.0.0.1:1/"} {
		if _, _, err := websocket.Dial(limit(t), url, nil); err == nil || !strings.Contains(err.Error(), "could not connect to 127.0.0.1:") {
			t.Errorf("Dial of %s: %v", url, err)
		}
	}
	ctx, cancel := context.WithTimeout(limit(t), 50*time.Millisecond)
	defer cancel()
	if _, _, err := websocket.Dial(ctx, base+"/hang", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial with a context that ends: %v", err)
	}
	client := &http.Client{Timeout: 50 * time.Millisecond}
	if _, _, err := websocket.Dial(limit(t), base+"/hang", &websocket.DialOptions{HTTPClient: client}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial with a client that has a timeout: %v", err)
	}
	if c, _, err := websocket.Dial(limit(t), strings.Replace(base, "ws:", "http:", 1)+"/echo", nil); err != nil {
		t.Errorf("Dial of a http URL: %v", err)
	} else {
		c.CloseNow()
	}
}

// A client with a dialer of its own is used as elsewhere.
func TestOwnDialer(t *testing.T) {
	c := wstest.Dial(t, websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.Write(r.Context(), websocket.MessageText, []byte(r.Header.Get("Authorization")))
		c.CloseRead(r.Context())
		<-c.CloseRead(r.Context()).Done()
	}, nil), &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer x"}}})
	if _, data, err := c.Read(limit(t)); string(data) != "Bearer x" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
}

func TestRedialer(t *testing.T) {
	r := &websocket.Redialer{URL: base + "/close?code=1012", BaseDelay: time.Millisecond}
	connections := 0
	err := r.Run(limit(t), func(ctx context.Context, c *websocket.Conn) error {
		if connections++; connections == 3 {
			return c.Close(websocket.StatusNormalClosure, "")
		}
		_, _, err := c.Read(ctx)
		return err
	})
	if connections != 3 {
		t.Errorf("%d connections, then %v", connections, err)
	}
}

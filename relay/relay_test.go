package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed70bc5565/websocket"
	internal "github.com/seed70bc5565/websocket/internal/wstest"
	"github.com/seed70bc5565/websocket/wstest"
)

// TestMain fails the run if a test has left something behind: see wstest.Main.
func TestMain(m *testing.M) { os.Exit(internal.Main(m)) }

// connect returns a connection and its raw peer. To a relay it is the same
// which of the two has dialed.
func connect(t *testing.T, opts websocket.DialOptions) (*websocket.Conn, *wstest.Peer) {
	t.Helper()
	if opts.PingInterval == 0 {
		opts.PingInterval = -1 // the peer answers nothing by itself
	}
	return wstest.ClientWithPeer(t, &wstest.Options{Dial: &opts})
}

// relayed starts a relay between two raw peers.
func relayed(t *testing.T, ctx context.Context, opts *Options, limit int64) (client, server *wstest.Peer, result chan error) {
	t.Helper()
	a, client := connect(t, websocket.DialOptions{ReadLimit: limit})
	b, server := connect(t, websocket.DialOptions{ReadLimit: limit})
	result = make(chan error, 1)
	go func() { result <- Run(ctx, a, b, opts) }()
	return client, server, result
}

func TestForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, result := relayed(t, t.Context(), nil, 0)
		for i := range 3 {
			client.WriteFrame(wstest.Text, fmt.Sprint("to the server ", i))
			server.WantFrame(wstest.Text, fmt.Sprint("to the server ", i))
			server.WriteFrame(wstest.Binary, fmt.Sprint("to the client ", i))
			client.WantFrame(wstest.Binary, fmt.Sprint("to the client ", i))
		}
		client.WriteFrame(wstest.Text, "")
		server.WantFrame(wstest.Text, "")

		// Each connection answers its own pings.
		client.WriteFrame(wstest.Ping, "p")
		client.WantFrame(wstest.Pong, "p")
		server.WantIdle()

		client.WriteFrame(wstest.Text, "last words")
		client.WriteClose(1000, "done")
		server.WantFrame(wstest.Text, "last words")
		client.WantClose(1000)
		if reason := server.WantClose(1000); reason != "done" {
			t.Errorf("the server got the reason %q", reason)
		}
		server.WriteClose(1000, "")
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

// The end of one connection decides what the other is told, and what Run
// returns.
func TestEnds(t *testing.T) {
	closes := func(code websocket.StatusCode, reason string) func(*wstest.Peer) {
		return func(p *wstest.Peer) { p.WriteClose(code, reason) }
	}
	for name, tt := range map[string]struct {
		end              func(*wstest.Peer)
		toServer         websocket.StatusCode // when it was the client's connection that ended
		toClient         websocket.StatusCode // when it was the server's
		reason           string
		orderly          bool
		tooBig, truncate bool
	}{
		"1000":       {end: closes(1000, "bye"), toServer: 1000, toClient: 1000, reason: "bye", orderly: true},
		"1001":       {end: closes(1001, ""), toServer: 1001, toClient: 1001, orderly: true},
		"1008":       {end: closes(1008, "no"), toServer: 1008, toClient: 1008, reason: "no"},
		"1012":       {end: closes(1012, ""), toServer: 1012, toClient: 1012},
		"4321":       {end: closes(4321, "längst"), toServer: 4321, toClient: 4321, reason: "längst"},
		"no code":    {end: func(p *wstest.Peer) { p.WriteFrame(wstest.Close, "") }, toServer: 1005, toClient: 1005, orderly: true},
		"cut off":    {end: func(p *wstest.Peer) { p.Conn.Close() }, toServer: 1001, toClient: 1014},
		"wrong code": {end: closes(1006, ""), toServer: 1001, toClient: 1014},
		"bad frame":  {end: func(p *wstest.Peer) { p.WriteRaw([]byte{0xf1, 0}) }, toServer: 1001, toClient: 1014},
		"too big":    {end: func(p *wstest.Peer) { p.WriteFrame(wstest.Text, strings.Repeat("x", 101)) }, toServer: 1009, toClient: 1009, tooBig: true},
	} {
		for _, side := range []string{"client", "server"} {
			t.Run(name+" of the "+side, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client, server, result := relayed(t, t.Context(), nil, 100)
					ends, told, want := client, server, tt.toServer
					if side == "server" {
						ends, told, want = server, client, tt.toClient
					}
					tt.end(ends)
					if want == 1005 {
						told.WantFrame(wstest.Close, "")
					} else if reason := told.WantClose(want); reason != tt.reason {
						t.Errorf("the reason is %q, want %q", reason, tt.reason)
					}
					told.WriteClose(1000, "")
					ends.Conn.Close()
					err := <-result
					if (err == nil) != tt.orderly || !tt.orderly && !strings.Contains(err.Error(), "the connection of the "+side) ||
						tt.tooBig != errors.Is(err, websocket.ErrMessageTooBig) {
						t.Errorf("Run returned %v", err)
					}
				})
			})
		}
	}
}

// The end of the context closes both.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client, server, result := relayed(t, ctx, nil, 0)
		client.WriteFrame(wstest.Text, "before")
		server.WantFrame(wstest.Text, "before")
		cancel()
		for _, p := range []*wstest.Peer{client, server} {
			p.WantClose(1001)
			p.WriteClose(1001, "")
		}
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad message")
		client, server, result := relayed(t, t.Context(), &Options{
			ToServer: func(_ context.Context, m *websocket.Message) error {
				switch string(m.Data) {
				case "drop":
					m.Type = 0
				case "bad":
					return bad
				default:
					m.Type, m.Data = websocket.MessageBinary, bytes.ToUpper(m.Data)
				}
				return nil
			},
			ToClient: func(_ context.Context, m *websocket.Message) error {
				m.Data = append(m.Data, '!')
				return nil
			},
		}, 0)
		client.WriteFrame(wstest.Text, "change")
		server.WantFrame(wstest.Binary, "CHANGE")
		client.WriteFrame(wstest.Text, "drop")
		client.WriteFrame(wstest.Text, "next")
		server.WantFrame(wstest.Binary, "NEXT")
		server.WriteFrame(wstest.Text, "hi")
		client.WantFrame(wstest.Text, "hi!")
		client.WriteFrame(wstest.Text, "bad")
		for _, p := range []*wstest.Peer{client, server} {
			p.WantClose(1011)
			p.WriteClose(1000, "")
		}
		if err := <-result; !errors.Is(err, bad) {
			t.Error(err)
		}
	})
}

// A hook chooses the close code.
func TestHookCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, result := relayed(t, t.Context(), &Options{
			ToClient: func(context.Context, *websocket.Message) error {
				return fmt.Errorf("refused: %w", websocket.CloseError{Code: 4000, Reason: "refused"})
			},
		}, 0)
		server.WriteFrame(wstest.Text, "x")
		for _, p := range []*wstest.Peer{client, server} {
			if reason := p.WantClose(4000); reason != "refused" {
				t.Errorf("the reason is %q", reason)
			}
			p.WriteClose(1000, "")
		}
		if err := <-result; websocket.CloseStatus(err) != 4000 {
			t.Error(err)
		}
	})
}

// A hook that panics does so on the goroutine of Run, where the handler of an
// http.Server may: the program goes on. Both are closed before that.
func TestHookPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := connect(t, websocket.DialOptions{})
		b, server := connect(t, websocket.DialOptions{})
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			Run(t.Context(), a, b, &Options{ToServer: func(context.Context, *websocket.Message) error { panic(http.ErrAbortHandler) }})
		}()
		client.WriteFrame(wstest.Text, "x")
		for _, p := range []*wstest.Peer{client, server} {
			p.WantClose(1011)
			p.WriteClose(1011, "")
		}
		if v := <-panicked; v != http.ErrAbortHandler {
			t.Errorf("Run panicked with %v", v)
		}
	})
}

// So does a callback of the options that panics while Run closes.
func TestCallbackPanicsDuringClose(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		synctest.Test(t, func(t *testing.T) {
			opts := websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool { panic(http.ErrAbortHandler) }}
			ends, peers := map[string]*websocket.Conn{}, map[string]*wstest.Peer{}
			for _, name := range []string{"client", "server"} {
				o := websocket.DialOptions{}
				if name == side {
					o = opts
				}
				ends[name], peers[name] = connect(t, o)
			}
			ctx, cancel := context.WithCancel(t.Context())
			panicked := make(chan any, 1)
			go func() {
				defer func() { panicked <- recover() }()
				Run(ctx, ends["client"], ends["server"], nil)
			}()
			synctest.Wait()
			cancel()
			for name, p := range peers {
				p.WantClose(websocket.StatusGoingAway)
				if name == side {
					p.WriteFrame(wstest.Ping, "late")
				} else {
					p.WriteClose(websocket.StatusGoingAway, "")
				}
			}
			if v := <-panicked; v != http.ErrAbortHandler {
				t.Errorf("%s: Run panicked with %v", side, v)
			}
			for name, c := range ends {
				if c.End().Cause == websocket.EndNone {
					t.Errorf("the connection of the %s lives", name)
				}
			}
		})
	}
}

// A receiver that takes nothing makes the sender wait, and what the relay keeps
// is bounded. The other direction goes on.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, result := relayed(t, t.Context(), nil, 0)
		frame := client.Encode(wstest.Frame{Fin: true, Op: wstest.Binary, Payload: make([]byte, 10_000)})
		const frames = 1000 // 10 MB
		wrote := make(chan int, 1)
		go func() {
			n := 0
			for range frames {
				if _, err := client.Conn.Write(frame); err != nil {
					break
				}
				n++
			}
			wrote <- n
		}()
		synctest.Wait()
		select {
		case n := <-wrote:
			t.Fatalf("the client could write %d frames, and the server has read none", n)
		default:
		}
		server.WriteFrame(wstest.Text, "the other direction")
		client.WantFrame(wstest.Text, "the other direction")
		go func() {
			for range frames {
				server.ReadFrame()
			}
			server.WriteClose(1000, "")
		}()
		if n := <-wrote; n != frames {
			t.Errorf("the client wrote %d frames", n)
		}
		client.WantClose(1000)
		client.WriteClose(1000, "")
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

// A write that fails: what the peer had said is why.
func TestWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, result := relayed(t, t.Context(), &Options{
			ToServer: func(context.Context, *websocket.Message) error {
				synctest.Wait()
				return nil
			},
		}, 0)
		server.WriteClose(4001, "full")
		client.WriteFrame(wstest.Text, "x")
		if reason := client.WantClose(4001); reason != "full" {
			t.Errorf("the reason is %q", reason)
		}
		client.WriteClose(4001, "")
		server.Conn.Close()
		if err := <-result; websocket.CloseStatus(err) != 4001 || !strings.Contains(err.Error(), "the connection of the server") {
			t.Error(err)
		}
	})
}

// Each side has its own compression, over real connections. The context is that
// of a request, which ends with the client's connection: the end is an orderly
// one all the same.
func TestCompressionOfEachSide(t *testing.T) {
	text := strings.Repeat("the same again, ", 1000)
	for _, tt := range []struct{ client, server websocket.CompressionMode }{
		{websocket.CompressionContextTakeover, websocket.CompressionDisabled},
		{websocket.CompressionDisabled, websocket.CompressionNoContextTakeover},
		{websocket.CompressionNoContextTakeover, websocket.CompressionContextTakeover},
	} {
		backend := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
			for m, err := range c.Messages(r.Context()) {
				if err != nil || c.Write(r.Context(), m.Type, m.Data) != nil {
					return
				}
			}
		}, &websocket.AcceptOptions{CompressionMode: tt.server}))
		proxy := httptest.NewServer(websocket.Handler(func(client *websocket.Conn, r *http.Request) {
			server, resp, err := websocket.Dial(r.Context(), backend.URL, &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover})
			if err != nil {
				t.Error(err)
				return
			}
			if got := resp.Header.Get("Sec-WebSocket-Extensions") != ""; got != (tt.server != websocket.CompressionDisabled) {
				t.Errorf("compression with the server: %v", got)
			}
			if err := Run(r.Context(), client, server, nil); err != nil {
				t.Error(err)
			}
		}, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover}))
		c, resp, err := websocket.Dial(t.Context(), proxy.URL, &websocket.DialOptions{CompressionMode: tt.client})
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Sec-WebSocket-Extensions") != ""; got != (tt.client != websocket.CompressionDisabled) {
			t.Errorf("compression with the client: %v", got)
		}
		for range 3 {
			if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
			if _, data, err := c.Read(t.Context()); err != nil || string(data) != text {
				t.Fatalf("%d bytes came back, %v", len(data), err)
			}
		}
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		proxy.Close()
		backend.Close()
	}
}

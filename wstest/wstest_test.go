package wstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	internal "github.com/seed70bc5565/websocket/internal/wstest"
)

// TestMain fails the run if a test has left something behind: see wstest.Main.
func TestMain(m *testing.M) { os.Exit(internal.Main(m)) }

// everywhere runs f in a bubble and outside of one.
func everywhere(t *testing.T, f func(t *testing.T)) {
	t.Run("bubble", func(t *testing.T) { synctest.Test(t, f) })
	t.Run("plain", f)
}

func echo(c *websocket.Conn, r *http.Request) {
	for m, err := range c.Messages(r.Context()) {
		if err != nil || c.Write(r.Context(), m.Type, m.Data) != nil {
			return
		}
	}
}

func TestPipe(t *testing.T) {
	everywhere(t, func(t *testing.T) {
		client, server := Pipe(t, nil)
		for name, ends := range map[string][2]*websocket.Conn{"client": {client, server}, "server": {server, client}} {
			if err := ends[0].Write(t.Context(), websocket.MessageText, []byte("of the "+name)); err != nil {
				t.Fatal(err)
			}
			typ, data, err := ends[1].Read(t.Context())
			if typ != websocket.MessageText || string(data) != "of the "+name || err != nil {
				t.Errorf("the other end of the %s read %v, %q, %v", name, typ, data, err)
			}
		}
		closed := make(chan error)
		go func() { closed <- client.Close(websocket.StatusNormalClosure, "done") }()
		if _, _, err := server.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Errorf("the server read %v", err)
		}
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// Options reach both ends, and are agreed on by the handshake.
func TestPipeOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := &Options{
			Accept: &websocket.AcceptOptions{Subprotocols: []string{"b"}, CompressionMode: websocket.CompressionContextTakeover, ReadLimit: 10},
			Dial:   &websocket.DialOptions{Subprotocols: []string{"a", "b"}, CompressionMode: websocket.CompressionContextTakeover},
		}
		client, server := Pipe(t, opts)
		if client.Subprotocol() != "b" || server.Subprotocol() != "b" {
			t.Errorf("the subprotocols are %q and %q", client.Subprotocol(), server.Subprotocol())
		}
		if opts.Dial.HTTPClient != nil {
			t.Error("Pipe changed the caller's options")
		}
		client.Write(t.Context(), websocket.MessageText, []byte("more than ten bytes"))
		if _, _, err := server.Read(t.Context()); !errors.Is(err, websocket.ErrMessageTooBig) {
			t.Errorf("the server read %v", err)
		}
	})
}

func TestDial(t *testing.T) {
	everywhere(t, func(t *testing.T) {
		c := Dial(t, websocket.Handler(echo, nil), nil)
		if err := c.Write(t.Context(), websocket.MessageBinary, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, data, err := c.Read(t.Context()); string(data) != "hello" || err != nil {
			t.Errorf("read %q, %v", data, err)
		}
	})
}

// A server has paths, refuses, and is reached by any HTTP client with its
// DialContext.
func TestServer(t *testing.T) {
	everywhere(t, func(t *testing.T) {
		mux := http.NewServeMux()
		mux.Handle("/echo", websocket.Handler(echo, nil))
		s := NewServer(t, mux)
		c, _, err := websocket.Dial(t.Context(), s.URL+"/echo", &websocket.DialOptions{HTTPClient: s.Client()})
		if err != nil {
			t.Fatal(err)
		}
		c.CloseNow()
		_, resp, err := websocket.Dial(t.Context(), s.URL+"/none", &websocket.DialOptions{HTTPClient: s.Client()})
		if err == nil || resp == nil || resp.StatusCode != 404 {
			t.Errorf("Dial of a path that there is not: %v, %v", resp, err)
		}
		own := &http.Client{Transport: &http.Transport{DialContext: s.DialContext}}
		c, _, err = websocket.Dial(t.Context(), "ws://any.example/echo", &websocket.DialOptions{HTTPClient: own})
		if err != nil {
			t.Fatal(err)
		}
		c.CloseNow()
	})
}

// A handler that sleeps when its test ends has the time to find its connection
// broken. A bubble must not end with a goroutine that waits.
func TestHandlerSleeps(t *testing.T) {
	tick := func(c *websocket.Conn, interval time.Duration) {
		for c.Write(context.Background(), websocket.MessageText, []byte("tick")) == nil {
			time.Sleep(interval)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/", websocket.Handler(func(c *websocket.Conn, r *http.Request) { tick(c, time.Second) }, nil))
	for name, handler := range map[string]http.Handler{
		"Handler behind a mux": mux,
		"Accept": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			tick(c, time.Hour)
		}),
		"no WebSocket": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
				time.Sleep(time.Minute)
			}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewServer(t, handler)
				c, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{HTTPClient: s.Client()})
				if (err == nil) == (name == "no WebSocket") {
					t.Error(err)
				}
				if err == nil {
					if _, _, err := c.Read(t.Context()); err != nil {
						t.Error(err)
					}
					c.CloseNow()
				}
			})
		})
	}
}

// The HTTP server's log of a handler is in the log of the test, as long as that
// runs.
func TestHandlerPanics(t *testing.T) {
	fail := &failing{TB: t}
	synctest.Test(t, func(t *testing.T) {
		fail.TB = t
		s := NewServer(fail, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("out of order") }))
		if _, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{HTTPClient: s.Client()}); err == nil {
			t.Error("there is a connection")
		}
	})
	if !strings.Contains(fail.logged, "panic serving") || !strings.Contains(fail.logged, "out of order") {
		t.Errorf("the test has logged %q", fail.logged)
	}
}

// Clients that are cut off and refused while a server is stopped come back when
// it has started.
func TestStopAndStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(t, websocket.Handler(echo, nil))
		begin := time.Now()
		var connected []time.Duration
		r := &websocket.Redialer{URL: s.URL, Options: &websocket.DialOptions{HTTPClient: s.Client()}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- r.Run(ctx, func(ctx context.Context, c *websocket.Conn) error {
				connected = append(connected, time.Since(begin))
				_, _, err := c.Read(ctx)
				if !errors.Is(err, syscall.ECONNRESET) && ctx.Err() == nil {
					t.Errorf("the client read %v", err)
				}
				return err
			})
		}()
		time.Sleep(time.Minute)
		s.Stop()
		s.Stop()
		if _, _, err := websocket.Dial(ctx, s.URL, &websocket.DialOptions{HTTPClient: s.Client()}); !errors.Is(err, errRefused) {
			t.Errorf("Dial of a stopped server: %v", err)
		}
		time.Sleep(time.Hour)
		s.Start()
		s.Start()
		time.Sleep(time.Hour)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		if len(connected) != 2 || connected[0] != 0 || connected[1] < time.Hour+time.Minute {
			t.Errorf("connected at %v", connected)
		}
	})
}

// Each connection answers bad frames as RFC 6455 says.
func TestPeers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		frames []Frame
		code   websocket.StatusCode
	}{
		{"reserved opcode", []Frame{Message(3, "")}, 1002},
		{"reserved bit", []Frame{{Fin: true, Op: Text, RSV: 1}}, 1002},
		{"continuation of nothing", []Frame{Message(Continuation, "x")}, 1002},
		{"fragmented ping", []Frame{{Op: Ping}}, 1002},
		{"long form", []Frame{{Fin: true, Op: Text, LenForm: 16, Payload: []byte("x")}}, 1002},
		{"text inside a message", []Frame{Fragments(Text, "a", "b")[0], Message(Text, "x")}, 1002},
		{"not UTF-8", []Frame{Message(Text, "\xff")}, 1007},
		{"declared too long", []Frame{{Fin: true, Op: Text, Declare: 1 << 40}}, 1009},
		{"bad close code", []Frame{CloseFrame(1005, "with a reason")}, 1002},
		{"close", []Frame{CloseFrame(4321, "bye")}, 4321},
	} {
		for _, role := range []string{"client", "server"} {
			t.Run(tt.name+"/"+role, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					with := ClientWithPeer
					if role == "server" {
						with = func(t testing.TB, opts *Options) (*websocket.Conn, *Peer) { return ServerWithPeer(t, opts) }
					}
					c, p := with(t, nil)
					read := make(chan error)
					go func() { _, _, err := c.Read(context.Background()); read <- err }()
					p.WriteFrames(tt.frames...)
					p.WantClose(tt.code)
					p.Close()
					if err := <-read; err == nil {
						t.Error("Read returned no error")
					}
				})
			})
		}
	}
}

// The methods of a Peer, with a connection that behaves.
func TestPeerMethods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := ServerWithPeer(t, &Options{Accept: &websocket.AcceptOptions{Subprotocols: []string{"chat"}}}, "Sec-WebSocket-Protocol: chat")
		if c.Subprotocol() != "chat" {
			t.Errorf("the subprotocol is %q", c.Subprotocol())
		}
		read := func(want string) {
			t.Helper()
			if _, data, err := c.Read(t.Context()); string(data) != want || err != nil {
				t.Fatalf("read %q, %v; want %q", data, err, want)
			}
		}
		p.WriteFrames(Fragments(Text, "Hel", "lo")...)
		read("Hello")
		p.WriteFrame(Ping, "p")
		p.WriteRaw([]byte{0x81, 0x80, 1, 2, 3, 4})
		read("")
		p.WantFrame(Pong, "p")
		p.WantIdle()
		w, _ := c.Writer(t.Context(), websocket.MessageBinary)
		w.Write(make([]byte, 50_000))
		w.Close()
		p.WantMessage(Binary, string(make([]byte, 50_000)))
		c.Write(t.Context(), websocket.MessageText, []byte("x"))
		if f := p.ReadFrame(); f.String() != Message(Text, "x").String() || f.Mask != Unmasked {
			t.Errorf("got %v", f)
		}
		go c.Close(4000, "why")
		if reason := p.WantClose(4000); reason != "why" {
			t.Errorf("the reason is %q", reason)
		}
		p.WriteClose(4000, "")
		p.WantEnd()
	})
}

// A program that dials by itself meets a scripted server.
func TestAcceptPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(t, nil)
		done := make(chan error)
		go func() {
			c, _, err := websocket.Dial(context.Background(), s.URL+"/x", &websocket.DialOptions{HTTPClient: s.Client(), Subprotocols: []string{"chat"}})
			if err == nil {
				_, _, err = c.Read(context.Background())
			}
			done <- err
		}()
		p := s.AcceptPeer("Sec-WebSocket-Protocol: chat")
		p.WriteClose(4001, "go away")
		p.WantClose(4001)
		p.Close()
		if err := <-done; websocket.CloseStatus(err) != 4001 {
			t.Errorf("the client read %v", err)
		}
	})
}

// A fault strikes the call that it is meant for: the end with the fault sees
// it, and the other end what follows of it.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		fault       Fault
		write, next error // of the two Writes of the end with the fault, from the call 0 on
		n           int
		read        error // of the other end, behind the bytes that came
	}{
		{NoFault, nil, nil, 4, io.EOF},
		{Fail, ErrFault, ErrFault, 0, io.EOF},
		{Short, ErrFault, ErrFault, 2, io.EOF},
		{Reset, syscall.ECONNRESET, syscall.ECONNRESET, 0, syscall.ECONNRESET},
		{HalfClose, syscall.EPIPE, syscall.EPIPE, 0, io.EOF},
		{Silence, nil, nil, 4, os.ErrDeadlineExceeded},
	} {
		t.Run(fmt.Sprint(tt.fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := NetPipe(Transport{Fault: tt.fault}, Transport{})
				defer client.Close()
				defer server.Close()
				const head = "HTTP/1.1 101 Switching Protocols\r\n\r\n"
				io.WriteString(server, head)
				io.ReadFull(client, make([]byte, len(head)))
				n, err := client.Write([]byte("1234"))
				if n != tt.n || !errors.Is(err, tt.write) {
					t.Errorf("Write = %d, %v; want %d, %v", n, err, tt.n, tt.write)
				}
				if _, err := client.Write([]byte("5678")); !errors.Is(err, tt.next) {
					t.Errorf("the next Write: %v, want %v", err, tt.next)
				}
				client.SetReadDeadline(time.Now().Add(time.Hour))
				if tt.fault == Silence {
					io.WriteString(server, "lost")
					begin := time.Now()
					if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Hour {
						t.Errorf("a Read of the silent end: %v after %v", err, time.Since(begin))
					}
				}
				client.Close()
				server.SetReadDeadline(time.Now().Add(time.Hour))
				if _, err := io.ReadAll(server); !errors.Is(err, tt.read) && (err != nil || tt.read != io.EOF) {
					t.Errorf("the other end read %v, want %v", err, tt.read)
				}
				if _, err := client.Write([]byte("x")); err == nil {
					t.Error("a Write succeeds after Close")
				}
			})
		})
	}
}

// A Read that began before its end fell silent gets nothing more.
func TestSilenceDuringRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, server := Pipe(t, &Options{ClientTransport: Transport{Fault: Silence, FaultAt: 2}})
		read := make(chan error, 1)
		go func() { _, _, err := c.Read(context.Background()); read <- err }()
		synctest.Wait()
		c.Write(t.Context(), websocket.MessageText, []byte("one")) // the call 1: call 0 is the Read
		if _, data, err := server.Read(t.Context()); string(data) != "one" || err != nil {
			t.Fatalf("the server read %q, %v", data, err)
		}
		c.Write(t.Context(), websocket.MessageText, []byte("two"))
		server.Write(t.Context(), websocket.MessageText, []byte("three"))
		begin := time.Now()
		_, _, err := server.Read(t.Context())
		if took := time.Since(begin); !errors.Is(err, websocket.ErrPongTimeout) || took < 30*time.Second || took > 48*time.Second {
			t.Errorf("the server read %v after %v", err, took)
		}
		if err := <-read; err == nil {
			t.Error("the client read a message")
		}
	})
}

// A Conn over each kind of slow or stingy transport.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := Pipe(t, &Options{ClientTransport: Transport{Delay: time.Second, Buffer: 100}, ServerTransport: Transport{ReadMax: 1}})
		begin := time.Now()
		if err := client.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
			t.Fatal(err)
		}
		_, data, err := server.Read(t.Context())
		if string(data) != "x" || err != nil || time.Since(begin) != time.Second {
			t.Errorf("the server read %q, %v after %v", data, err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		begin = time.Now()
		if err := client.Write(ctx, websocket.MessageText, make([]byte, 100)); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second/2 {
			t.Errorf("a Write of half the time: %v after %v", err, time.Since(begin))
		}
		client.CloseNow()
	})
}

// With its own NetPipe, a test does the handshake by itself.
func TestNetPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := NetPipe(Transport{}, Transport{})
		client, server := NewPeer(t, a, ClientRole), NewPeer(t, b, ServerRole)
		done := make(chan struct{})
		go func() {
			defer close(done)
			server.ServerHandshake()
		}()
		client.ClientHandshake("/path")
		<-done
		client.WriteFrame(Text, "hello")
		server.WantFrame(Text, "hello")
		client.Close()
		server.WantEnd()
	})
}

// failing is a testing.TB that notes the failure of a test.
type failing struct {
	testing.TB
	text   string
	logged string
}

func (f *failing) Helper()         {}
func (f *failing) Log(args ...any) { f.logged += fmt.Sprintln(args...) }
func (f *failing) Fatal(args ...any) {
	f.text = fmt.Sprint(args...)
	panic(f)
}
func (f *failing) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	panic(f)
}

// An event that a test does not want fails the test, and the text says what
// came and what was wanted.
func TestFailures(t *testing.T) {
	refuse := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	for name, tt := range map[string]struct {
		f    func(t testing.TB)
		want []string
	}{
		"Dial":       {func(t testing.TB) { Dial(t, refuse, nil) }, []string{"403"}},
		"DialPeer":   {func(t testing.TB) { NewServer(t, refuse).DialPeer() }, []string{"403"}},
		"AcceptPeer": {func(t testing.TB) { NewServer(t, refuse).AcceptPeer() }, []string{"handler"}},
		"Pipe":       {func(t testing.TB) { Pipe(t, &Options{Dial: &websocket.DialOptions{Host: "a b"}}) }, []string{"a b"}},
		"refused Pipe": {func(t testing.TB) {
			Pipe(t, &Options{Dial: &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"http://elsewhere"}}}})
		}, []string{"403"}},
		"ClientWithPeer": {func(t testing.TB) {
			ClientWithPeer(t, &Options{Dial: &websocket.DialOptions{Subprotocols: []string{" "}}})
		}, []string{"Subprotocols"}},
		"stopped": {func(t testing.TB) {
			s := NewServer(t, refuse)
			s.Stop()
			s.DialPeer()
		}, []string{"stopped"}},
		"WantFrame": {func(t testing.TB) {
			c, p := ClientWithPeer(t, nil)
			c.Write(context.Background(), websocket.MessageText, []byte("b"))
			p.WantFrame(Text, "a")
		}, []string{`"a"`, `"b"`}},
		"WantClose": {func(t testing.TB) {
			_, p := ClientWithPeer(t, nil)
			p.WantClose(1000)
		}, []string{"nothing in time", "1000"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fail := &failing{TB: t}
				func() {
					defer func() {
						if r := recover(); r != nil && r != any(fail) {
							panic(r)
						}
					}()
					tt.f(fail)
				}()
				for _, want := range tt.want {
					if !strings.Contains(fail.text, want) {
						t.Errorf("the test failed with %q; want %q in it", fail.text, want)
					}
				}
			})
		})
	}
}

var _ net.Listener = (*listener)(nil)

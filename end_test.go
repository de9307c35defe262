package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// endings are all ways in which a connection ends that need no server, and what
// End says of each.
var endings = []struct {
	name string
	cfg  connConfig
	// end ends the connection. A goroutine reads meanwhile.
	end  func(t *testing.T, p *pair)
	want End
	is   []error // what Err matches
}{
	{"the peer closes", connConfig{}, func(t *testing.T, p *pair) { p.WriteClose(1000, "bye") },
		End{Cause: EndByPeer, Code: 1000, Reason: "bye"}, []error{io.EOF}},
	{"the peer goes away", connConfig{}, func(t *testing.T, p *pair) { p.WriteClose(1001, "") },
		End{Cause: EndByPeer, Code: 1001}, []error{io.EOF}},
	{"the peer closes with a code of its own", connConfig{}, func(t *testing.T, p *pair) { p.WriteClose(4321, "") },
		End{Cause: EndByPeer, Code: 4321}, nil},
	{"the peer closes without a code", connConfig{}, func(t *testing.T, p *pair) { p.WriteFrame(wstest.Close, "") },
		End{Cause: EndByPeer, Code: StatusNoStatusRcvd}, []error{io.EOF}},
	{"the peer closes inside a message", connConfig{}, func(t *testing.T, p *pair) {
		p.WriteFrames(wstest.Frame{Op: wstest.Text, Payload: []byte("a")})
		p.WriteClose(1001, "")
	}, End{Cause: EndByPeer, Code: 1001}, []error{io.ErrUnexpectedEOF}},

	{"Close", connConfig{}, func(t *testing.T, p *pair) {
		closed := start(func() error { return p.c.Close(4001, "enough") })
		p.WantClose(4001)
		p.WriteClose(1000, "answered otherwise")
		if err := <-closed; err != nil {
			t.Errorf("Close = %v", err)
		}
	}, End{Cause: EndByClose, Code: 4001, Reason: "enough"}, []error{net.ErrClosed}},
	{"Close without an answer", connConfig{closeTimeout: time.Millisecond}, func(t *testing.T, p *pair) { p.c.Close(4001, "") },
		End{Cause: EndByClose, Code: 4001}, []error{net.ErrClosed}},
	{"Close without a code", connConfig{closeTimeout: time.Millisecond}, func(t *testing.T, p *pair) { p.c.Close(StatusNoStatusRcvd, "") },
		End{Cause: EndByClose, Code: StatusNoStatusRcvd}, []error{net.ErrClosed}},
	{"Close with an invalid code", connConfig{closeTimeout: time.Millisecond}, func(t *testing.T, p *pair) { p.c.Close(1, "") },
		End{Cause: EndByClose, Code: StatusInternalError}, []error{net.ErrClosed}},
	{"CloseNow", connConfig{}, func(t *testing.T, p *pair) { p.c.CloseNow() },
		End{Cause: EndByCloseNow, Code: StatusAbnormalClosure}, []error{net.ErrClosed}},

	{"the transport ends", connConfig{}, func(t *testing.T, p *pair) { p.Close() },
		End{Cause: EndTransport, Code: StatusAbnormalClosure}, []error{io.ErrUnexpectedEOF}},

	{"a reserved bit", connConfig{}, func(t *testing.T, p *pair) {
		p.WriteFrames(wstest.Frame{Fin: true, RSV: 2, Op: wstest.Text})
		p.WantClose(1002)
		p.Close()
	}, End{Cause: EndProtocolError, Code: 1002, Reason: "reserved bit set"}, []error{errReservedBits}},
	{"text that is not UTF-8", connConfig{}, func(t *testing.T, p *pair) {
		p.WriteFrame(wstest.Text, "\xff")
		p.WantClose(1007)
		p.Close()
	}, End{Cause: EndProtocolError, Code: 1007, Reason: "text is not UTF-8"}, []error{errTextUTF8}},
	{"empty frames", connConfig{}, func(t *testing.T, p *pair) {
		p.WriteFrames(wstest.Frame{Op: wstest.Binary})
		var more []wstest.Frame
		for range spareFrames {
			more = append(more, wstest.Frame{Op: wstest.Continuation})
		}
		p.WriteFrames(more...)
		p.WantClose(1008)
		p.Close()
	}, End{Cause: EndProtocolError, Code: 1008, Reason: errEmptyFrames.Reason}, []error{errEmptyFrames}},
	{"a message past the limit", connConfig{readLimit: 3}, func(t *testing.T, p *pair) {
		p.WriteFrame(wstest.Text, "1234")
		p.WantClose(1009)
		p.Close()
	}, End{Cause: EndProtocolError, Code: 1009, Reason: ErrMessageTooBig.Error()}, []error{ErrMessageTooBig}},

	{"no pong", connConfig{pingInterval: 20 * time.Millisecond, pongTimeout: 20 * time.Millisecond}, func(t *testing.T, p *pair) {},
		End{Cause: EndHeartbeat, Code: 1011, Reason: "no pong in time"}, []error{ErrPongTimeout}},

	{"a context cuts a frame", connConfig{pingInterval: -1}, func(t *testing.T, p *pair) {
		for p.c.End() == (End{}) { // it lives on if the context ends before the first byte is out
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if err := p.c.Write(ctx, MessageBinary, tooMuch); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Write = %v", err)
			}
			cancel()
		}
	}, End{Cause: EndInterrupted, Code: StatusAbnormalClosure}, []error{net.ErrClosed}},
	{"a deadline cuts a frame", connConfig{pingInterval: -1}, func(t *testing.T, p *pair) {
		for p.c.End() == (End{}) {
			p.c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			if err := p.c.Write(t.Context(), MessageBinary, tooMuch); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Write = %v", err)
			}
		}
	}, End{Cause: EndInterrupted, Code: StatusAbnormalClosure}, []error{net.ErrClosed}},
}

// tooMuch is more than sockets take for a peer that does not read.
var tooMuch = make([]byte, 16<<20)

// A traceLog is what a Trace was told.
type traceLog struct {
	mu    sync.Mutex
	calls []string
	ends  []End
	trace Trace
}

func (l *traceLog) add(call string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, call)
}

func (l *traceLog) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.calls, " ")
}

func newTraceLog() *traceLog {
	l := &traceLog{}
	l.trace = Trace{
		Accepted: func(_ context.Context, c *Conn) {
			if c.End() != (End{}) {
				l.add("over:")
			}
			l.add("accepted")
		},
		Refused: func(_ context.Context, status int, err error) { l.add("refused:" + http.StatusText(status)) },
		Ended: func(_ context.Context, c *Conn, end End) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if c.End() != end {
				l.calls = append(l.calls, "another End:")
			}
			l.calls = append(l.calls, "ended")
			l.ends = append(l.ends, end)
		},
		HeartbeatLost: func(context.Context, *Conn) { l.add("lost") },
		MessageTooBig: func(context.Context, *Conn, int64) { l.add("too big") },
	}
	return l
}

// End says how a connection ended, whatever ended it, in both roles, on each
// kind of transport. The Trace is told the same, once.
func TestEnd(t *testing.T) {
	for _, l := range links {
		for _, client := range []bool{false, true} {
			for _, tt := range endings {
				role := "server"
				if client {
					role = "client"
				}
				t.Run(l.name+"/"+role+"/"+tt.name, func(t *testing.T) {
					t.Parallel()
					log := newTraceLog()
					ours, theirs := l.make(t)
					cfg := tt.cfg
					cfg.transport, cfg.client, cfg.trace = ours, client, newTracing(&log.trace, context.Background())
					p := &pair{c: newConn(cfg), client: client, Peer: wstest.NewPeer(t, theirs, wstest.Server)}
					if !client {
						p.Role = wstest.Client
					}
					t.Cleanup(func() { p.c.CloseNow(); p.Close() })
					if end := p.c.End(); end != (End{}) {
						t.Errorf("End = %v while the connection lives", end)
					}
					read := start(p.readError)
					tt.end(t, p)
					err := <-read
					end := p.c.End() // at once
					<-p.c.life.closed()
					checkEnd(t, end, tt.want, tt.is)
					if end.Err != err && !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("Err = %v, Read = %v", end.Err, err)
					}
					var broke ProtocolError
					if is := errors.As(err, &broke); is != (tt.want.Cause == EndProtocolError) || is && broke.Code != tt.want.Code {
						t.Errorf("Read = %v, as a ProtocolError %+v", err, broke)
					}
					want := "accepted ended"
					switch {
					case end.Cause == EndHeartbeat:
						want = "accepted lost ended"
					case end.Code == StatusMessageTooBig:
						want = "accepted too big ended"
					}
					await(t, func() bool { return log.all() == want })
					checkEnd(t, log.ends[0], tt.want, tt.is)
					p.c.CloseNow()
					if later := p.c.End(); later != end || log.all() != want {
						t.Errorf("later End is %v, and the Trace was told %q", later, log.all())
					}
				})
			}
		}
	}
}

func checkEnd(t *testing.T, got, want End, is []error) {
	t.Helper()
	if got.Cause != want.Cause || got.Code != want.Code || got.Reason != want.Reason || got.Err == nil {
		t.Errorf("End = %v (%v), want %v", got, got.Err, want)
	}
	for _, target := range is {
		if !errors.Is(got.Err, target) {
			t.Errorf("Err = %v, is not %v", got.Err, target)
		}
	}
}

// The end of a range that hides how the peer closed is known all the same.
func TestEndAfterMessages(t *testing.T) {
	for _, code := range []StatusCode{1000, 1001, 1005} {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{}, netfake.Options{})
			if code == StatusNoStatusRcvd {
				p.WriteFrame(wstest.Close, "")
			} else {
				p.WriteClose(int(code), "")
			}
			for _, err := range p.c.Messages(t.Context()) {
				t.Errorf("a step with %v", err)
			}
			checkEnd(t, p.c.End(), End{Cause: EndByPeer, Code: code}, []error{io.EOF})
		})
	}
}

// The transport may itself be a WebSocket connection. How that one ended is the
// end of a transport, and no close frame of the connection inside.
func TestEndInsideTunnel(t *testing.T) {
	for name, end := range map[string]func(outer *pair){
		"the peer closes": func(outer *pair) { outer.WriteClose(4001, "outside") },
		"this side closes": func(outer *pair) {
			go outer.c.Close(4001, "outside")
			outer.WantClose(4001)
			outer.WriteClose(4001, "")
		},
		"the peer breaks the protocol": func(outer *pair) { outer.WriteFrames(wstest.Frame{Fin: true, RSV: 2, Op: wstest.Text}); outer.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				outer := newPair(t, client, connConfig{}, netfake.Options{})
				inner, err := NewConn(NetConn(t.Context(), outer.c, MessageBinary), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer inner.CloseNow()
				read := start(func() error { _, _, err := inner.Read(t.Context()); return err })
				end(outer)
				if err := <-read; err != inner.End().Err {
					t.Errorf("Read = %v", err)
				}
				checkEnd(t, inner.End(), End{Cause: EndTransport, Code: StatusAbnormalClosure}, nil)
			})
		})
	}
}

// A write finds that the transport is lost, and this side then closes: that is
// no end by this side. Close still reads what the peer has sent before.
func TestEndAfterFailedWrite(t *testing.T) {
	for name, tt := range map[string]struct {
		says  int // the code of the close frame that the peer leaves behind
		close func(c *Conn)
		want  End
	}{
		"Close":                     {0, func(c *Conn) { c.Close(1000, "") }, End{Cause: EndTransport, Code: StatusAbnormalClosure}},
		"CloseNow":                  {0, func(c *Conn) { c.CloseNow() }, End{Cause: EndTransport, Code: StatusAbnormalClosure}},
		"postClose":                 {0, func(c *Conn) { c.postClose(closedNormally); c.Read(context.Background()) }, End{Cause: EndTransport, Code: StatusAbnormalClosure}},
		"the peer said why: Close":  {1001, func(c *Conn) { c.Close(1000, "") }, End{Cause: EndByPeer, Code: 1001}},
		"and several times":         {1001, func(c *Conn) { done := start(func() error { return c.Close(1000, "") }); c.Close(4000, ""); <-done }, End{Cause: EndByPeer, Code: 1001}},
		"the peer said why: a read": {1001, func(c *Conn) { c.Read(context.Background()) }, End{Cause: EndByPeer, Code: 1001}},
	} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				if tt.says != 0 {
					p.WriteClose(tt.says, "")
				}
				p.Conn.Close()
				if err := p.c.Write(t.Context(), MessageText, []byte("lost")); err == nil {
					t.Fatal("a write to a lost transport succeeds")
				}
				tt.close(p.c)
				checkEnd(t, p.c.End(), tt.want, nil)
				if err := p.c.Close(1000, ""); !errors.Is(err, net.ErrClosed) {
					t.Errorf("another Close = %v", err)
				}
			})
		})
	}
}

// A message that CloseRead does not expect is what the peer broke.
func TestEndUnexpectedMessage(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		ctx := p.c.CloseRead(t.Context())
		p.WriteFrame(wstest.Text, "a")
		p.WantClose(1008)
		p.WriteClose(1008, "")
		<-ctx.Done()
		checkEnd(t, p.c.End(), End{Cause: EndProtocolError, Code: 1008, Reason: "unexpected data message"}, []error{net.ErrClosed, errUnexpectedData})
	})
}

// endServer is a server, with goroutines or with events, and TLS or not, whose
// Trace writes to log.
func endServer(t *testing.T, serve func(c *Conn, r *http.Request), log *traceLog, events, secure bool) (s *Server, client *Conn) {
	t.Helper()
	opts := &ServerOptions{AcceptOptions: AcceptOptions{Trace: &log.trace, CloseTimeout: time.Second}}
	if events {
		s = Events(func(c *Conn, r *http.Request) EventHandler { return eventServe{c, r, serve} }, opts)
	} else {
		s = NewServer(serve, opts)
	}
	h := httptest.NewUnstartedServer(s)
	if secure {
		h.StartTLS()
	} else {
		h.Start()
	}
	t.Cleanup(h.Close)
	client, _, err := Dial(t.Context(), h.URL, &DialOptions{HTTPClient: h.Client()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.CloseNow(); s.Close() })
	return s, client
}

// An eventServe calls serve with the first message.
type eventServe struct {
	c     *Conn
	r     *http.Request
	serve func(c *Conn, r *http.Request)
}

func (e eventServe) Message(Message) { e.serve(e.c, e.r) }
func (e eventServe) Close(error)     {}

// How a server ends its connections, and how their handlers end.
func TestEndOfServer(t *testing.T) {
	reads := func(c *Conn, _ *http.Request) { serveReads(c, nil) }
	for _, tt := range []struct {
		name  string
		serve func(c *Conn, r *http.Request)
		end   func(s *Server, client *Conn)
		want  End
		is    []error
	}{
		{"Shutdown", reads, func(s *Server, client *Conn) {
			go s.Shutdown(context.Background())
			client.Read(context.Background())
		}, End{Cause: EndByShutdown, Code: 1001}, []error{net.ErrClosed, http.ErrServerClosed}},
		{"ShutdownWith", reads, func(s *Server, client *Conn) {
			go s.ShutdownWith(context.Background(), StatusServiceRestart, "new version")
			client.Read(context.Background())
		}, End{Cause: EndByShutdown, Code: 1012, Reason: "new version"}, []error{net.ErrClosed, http.ErrServerClosed}},
		{"Close", reads, func(s *Server, client *Conn) { s.Close() },
			End{Cause: EndByShutdown, Code: StatusAbnormalClosure}, []error{net.ErrClosed, http.ErrServerClosed}},
		{"the client closes", reads, func(_ *Server, client *Conn) { client.Close(4002, "x") },
			End{Cause: EndByPeer, Code: 4002, Reason: "x"}, nil},
		{"the client is lost", reads, func(_ *Server, client *Conn) { client.CloseNow() },
			End{Cause: EndTransport, Code: 1006}, nil},
		{"serve closes", func(c *Conn, _ *http.Request) { c.Close(4001, "") }, func(_ *Server, client *Conn) {
			client.Write(context.Background(), MessageText, nil)
			client.Read(context.Background())
		}, End{Cause: EndByClose, Code: 4001}, []error{net.ErrClosed}},
		{"serve panics", func(*Conn, *http.Request) { panic(http.ErrAbortHandler) }, func(_ *Server, client *Conn) {
			client.Write(context.Background(), MessageText, nil)
			client.Read(context.Background())
		}, End{Cause: EndByClose, Code: 1011}, []error{net.ErrClosed}},
	} {
		for _, door := range []struct {
			name           string
			events, secure bool
		}{{"NewServer", false, false}, {"NewServer over TLS", false, true}, {"Events", true, false}, {"Events over TLS", true, true}} {
			if door.events && strings.HasPrefix(tt.name, "S") {
				tt.serve = reads
			}
			t.Run(tt.name+"/"+door.name, func(t *testing.T) {
				t.Parallel()
				log := newTraceLog()
				s, client := endServer(t, tt.serve, log, door.events, door.secure)
				tt.end(s, client)
				await(t, func() bool { return log.all() == "accepted ended" })
				checkEnd(t, log.ends[0], tt.want, tt.is)
			})
		}
	}
}

// An application can tell the ends of a connection apart: by errors.Is and
// errors.As, without reading texts.
func TestErrorClasses(t *testing.T) {
	classes := []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, ErrMessageTooBig, context.Canceled, context.DeadlineExceeded, syscall.ECONNRESET}
	tests := []struct {
		name string
		end  func(p *pair)
		is   []error // of classes; no others
		code StatusCode
	}{
		{"peer closed with 1000", func(p *pair) { p.WriteClose(1000, "done") }, []error{io.EOF}, 1000},
		{"peer closed with 1001", func(p *pair) { p.WriteClose(1001, "") }, []error{io.EOF}, 1001},
		{"peer closed without a code", func(p *pair) { p.WriteClose(0, "") }, []error{io.EOF}, StatusNoStatusRcvd},
		{"peer closed with 1011", func(p *pair) { p.WriteClose(1011, "broken") }, nil, 1011},
		{"peer closed with 4000", func(p *pair) { p.WriteClose(4000, "") }, nil, 4000},
		{"peer closed inside a message", func(p *pair) { p.WriteFrames(first(wstest.Text, "hello"), closing(1000, "")) }, []error{io.ErrUnexpectedEOF}, 1000},
		{"transport ended between messages", func(p *pair) { p.Close() }, []error{io.ErrUnexpectedEOF}, -1},
		{"transport ended inside a header", func(p *pair) { p.WriteRaw([]byte("\x82")); p.Close() }, []error{io.ErrUnexpectedEOF}, -1},
		{"transport ended inside a payload", func(p *pair) { b := p.Encode(text("hello")); p.WriteRaw(b[:len(b)-1]); p.Close() }, []error{io.ErrUnexpectedEOF}, -1},
		{"transport ended between fragments", func(p *pair) { p.WriteFrames(first(wstest.Text, "hello")); p.Close() }, []error{io.ErrUnexpectedEOF}, -1},
		{"transport was reset", func(p *pair) { p.theirs.Reset() }, []error{syscall.ECONNRESET}, -1},
		{"peer broke the protocol", func(p *pair) { p.WriteFrame(3, "") }, nil, -1},
		{"message too big", func(p *pair) { p.WriteFrame(wstest.Binary, strings.Repeat("x", 1001)) }, []error{ErrMessageTooBig}, -1},
		{"closed by Close", func(p *pair) { p.c.Close(StatusNormalClosure, "") }, []error{net.ErrClosed}, -1},
		{"closed by CloseNow", func(p *pair) { p.c.CloseNow() }, []error{net.ErrClosed}, -1},
		{"closed by Close with the peer's answer", func(p *pair) {
			go p.c.Close(StatusNormalClosure, "")
			p.WantClose(1000)
			p.WriteClose(1000, "")
			p.Close()
		}, []error{net.ErrClosed}, -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{readLimit: 1000}, netfake.Options{})
				test.end(p)
				err := p.readError()
				if got := CloseStatus(err); got != test.code {
					t.Errorf("CloseStatus(%v) = %d, want %d", err, got, test.code)
				}
				var ce CloseError
				if errors.As(err, &ce) != (test.code != -1) {
					t.Errorf("errors.As(%v, *CloseError): %v", err, ce)
				}
				if got, _, _ := strings.Cut(err.Error(), " "); got != "websocket:" {
					t.Errorf("%q does not begin with websocket:", err)
				}
				for _, class := range classes {
					want := false
					for _, is := range test.is {
						want = want || is == class
					}
					if errors.Is(err, class) != want {
						t.Errorf("errors.Is(%v, %v) is %v", err, class, !want)
					}
				}

				// The first permanent error sticks, for reads of each kind,
				// without a panic.
				for range 3 {
					if again := p.readError(); again.Error() != err.Error() {
						t.Errorf("Read fails with %v after %v", again, err)
					}
					if _, _, again := p.c.Reader(context.Background()); again == nil || again.Error() != err.Error() {
						t.Errorf("Reader fails with %v after %v", again, err)
					}
					if _, _, again := p.c.ReadInto(context.Background(), nil); again == nil || again.Error() != err.Error() {
						t.Errorf("ReadInto fails with %v after %v", again, err)
					}
					n, wantN := 0, 1
					if errors.Is(err, io.EOF) {
						wantN = 0 // the range ends by itself
					}
					for _, again := range p.c.Messages(context.Background()) {
						if n++; again == nil || again.Error() != err.Error() {
							t.Errorf("Messages fails with %v after %v", again, err)
						}
					}
					if n != wantN {
						t.Errorf("Messages ran %d times on a connection that is over, want %d", n, wantN)
					}
				}
				// And writes fail too, on a connection that is over.
				if err := p.c.Write(context.Background(), MessageText, nil); err == nil {
					t.Error("Write succeeds on a connection that is over")
				}
				if w, err := p.c.Writer(context.Background(), MessageText); err == nil && w.Close() == nil {
					t.Error("Writer succeeds on a connection that is over")
				}
				if err := p.c.Ping(context.Background()); err == nil {
					t.Error("Ping succeeds on a connection that is over")
				}
			})
		})
	}
}

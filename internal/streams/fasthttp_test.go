package streams

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// upgrade takes the connection of a request over from fasthttp, and passes it
// to AcceptConn, which answers the request: with 101, or with the refusal.
func upgrade(ctx *fasthttp.RequestCtx, opts *websocket.AcceptOptions, serve func(*websocket.Conn, *http.Request)) {
	conn := &hijacked{head: append([]byte(nil), ctx.Request.Header.Header()...)}
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) {
		conn.Conn = c
		ws, r, err := websocket.AcceptConn(context.Background(), conn, opts)
		if err != nil {
			return // the client has the answer
		}
		defer ws.CloseNow()
		serve(ws, r)
	})
}

// A hijacked is a connection of fasthttp, on which the request comes again.
type hijacked struct {
	net.Conn
	head []byte
}

func (c *hijacked) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// Close closes the connection at once. That of fasthttp waits for the handler.
func (c *hijacked) Close() error {
	return c.Conn.(interface{ UnsafeConn() net.Conn }).UnsafeConn().Close()
}

// The example of docs/how-to.md ends here.

func TestHowToHasThisCode(t *testing.T) {
	page, err := os.ReadFile("../../docs/how-to.md")
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile("fasthttp_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(src), "\n)\n\n")
	code, _, ok := strings.Cut(code, "\n\n// The example of docs/how-to.md ends here.")
	var indented strings.Builder
	for line := range strings.Lines(code) {
		if line != "\n" {
			indented.WriteString("    ")
		}
		indented.WriteString(line)
	}
	if !ok || !strings.Contains(string(page), "\n"+indented.String()+"\n") {
		t.Errorf("docs/how-to.md does not have this code, indented by four spaces:\n%s", code)
	}
}

// doors are the ways from fasthttp and fiber to a Conn.
var doors = []struct {
	name  string
	serve func(opts *websocket.AcceptOptions, serve func(*websocket.Conn, *http.Request)) fasthttp.RequestHandler
	// early says that frames that the client sends with its request arrive.
	early bool
}{
	{"fasthttp, Hijack", func(opts *websocket.AcceptOptions, serve func(*websocket.Conn, *http.Request)) fasthttp.RequestHandler {
		return func(ctx *fasthttp.RequestCtx) { upgrade(ctx, opts, serve) }
	}, true},
	{"fasthttp, adaptor", func(opts *websocket.AcceptOptions, serve func(*websocket.Conn, *http.Request)) fasthttp.RequestHandler {
		return fasthttpadaptor.NewFastHTTPHandler(detached(opts, serve))
	}, false},
	{"fiber, Hijack", func(opts *websocket.AcceptOptions, serve func(*websocket.Conn, *http.Request)) fasthttp.RequestHandler {
		app := fiber.New()
		app.Get("/*", func(c fiber.Ctx) error {
			upgrade(c.RequestCtx(), opts, serve)
			return nil
		})
		return app.Handler()
	}, true},
	{"fiber, adaptor", func(opts *websocket.AcceptOptions, serve func(*websocket.Conn, *http.Request)) fasthttp.RequestHandler {
		app := fiber.New()
		app.Get("/*", adaptor.HTTPHandler(detached(opts, serve)))
		return app.Handler()
	}, false},
}

// detached needs Detach: the context of the request is fasthttp's, which gives
// it to the next request.
func detached(opts *websocket.AcceptOptions, serve func(*websocket.Conn, *http.Request)) http.Handler {
	return websocket.NewServer(serve, &websocket.ServerOptions{
		AcceptOptions: *opts,
		Detach:        func(*http.Request) context.Context { return context.Background() },
	})
}

// listen serves handler, and returns its address.
func listen(t *testing.T, handler fasthttp.RequestHandler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{Handler: handler}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return l.Addr().String()
}

func TestFastHTTP(t *testing.T) {
	for _, door := range doors {
		for _, how := range ends {
			t.Run(door.name+"/"+how, func(t *testing.T) {
				served := make(chan error, 1)
				addr := listen(t, door.serve(&websocket.AcceptOptions{
					CompressionMode: websocket.CompressionContextTakeover,
					Subprotocols:    []string{"chat.v2"},
				}, func(c *websocket.Conn, r *http.Request) {
					if r.URL.Path != "/chat" || r.URL.RawQuery != "a=b" || r.Header.Get("X-Test") != "yes" || r.Host != addr(c) || r.RemoteAddr == "" {
						t.Errorf("got the request %+v", r)
					}
					served <- echo(c)
				}))
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				c, _, err := websocket.Dial(ctx, "ws://"+addr+"/chat?a=b", &websocket.DialOptions{
					HTTPHeader:      http.Header{"X-Test": {"yes"}},
					CompressionMode: websocket.CompressionContextTakeover,
					Subprotocols:    []string{"chat.v1", "chat.v2"},
				})
				if err != nil {
					t.Fatal(err)
				}
				defer c.CloseNow()
				if c.Subprotocol() != "chat.v2" || c.ConnectionState().Extensions == "" {
					t.Errorf("subprotocol %q, extensions %q", c.Subprotocol(), c.ConnectionState().Extensions)
				}
				checkEcho(t, c)
				checkEnd(t, c, how)
				wantEnd(t, served, how)
			})
		}
	}
}

func addr(c *websocket.Conn) string { return c.LocalAddr().String() }

// A refused request gets its status, and the next request is served.
func TestFastHTTPRefused(t *testing.T) {
	for _, door := range doors {
		t.Run(door.name, func(t *testing.T) {
			addr := listen(t, door.serve(&websocket.AcceptOptions{}, func(c *websocket.Conn, r *http.Request) { echo(c) }))
			for _, tt := range []struct {
				name, line string
				remove     string
				status     int
			}{
				{"no Upgrade", "", "Upgrade: websocket\r\n", http.StatusUpgradeRequired},
				{"another origin", "Origin: https://elsewhere.example", "", http.StatusForbidden},
				{"another version", "", "Sec-WebSocket-Version: 13\r\n", http.StatusUpgradeRequired},
				{"no key", "", "Sec-WebSocket-Key", http.StatusBadRequest},
				{"two protocols in two lines, one malformed", "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b c", "", http.StatusBadRequest},
			} {
				var lines []string
				if tt.line != "" {
					lines = strings.Split(tt.line, "\r\n")
				}
				request := wstest.Request("/", addr, lines...)
				if tt.remove == "Sec-WebSocket-Key" {
					before, rest, _ := strings.Cut(request, tt.remove)
					_, after, _ := strings.Cut(rest, "\r\n")
					request = before + after
				} else {
					request = strings.Replace(request, tt.remove, "", 1)
				}
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				conn.SetDeadline(time.Now().Add(patience))
				p := wstest.NewPeer(t, conn, wstest.Client)
				p.WriteRaw([]byte(request))
				head := p.ReadHead()
				if !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", tt.status)) {
					t.Errorf("%s: got %s, want %d", tt.name, head, tt.status)
				}
				conn.Close()
			}
			c, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			checkEcho(t, c)
			checkEnd(t, c, "close")
		})
	}
}

// Frames that come with the request are read from fasthttp's buffer.
func TestFastHTTPEarlyFrames(t *testing.T) {
	for _, door := range doors {
		if !door.early {
			continue
		}
		t.Run(door.name, func(t *testing.T) {
			addr := listen(t, door.serve(&websocket.AcceptOptions{}, func(c *websocket.Conn, r *http.Request) { echo(c) }))
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			p := wstest.NewPeer(t, conn, wstest.Client)
			p.WriteRaw(append([]byte(wstest.Request("/", addr)), p.Encode(wstest.Final(wstest.Text, "early"), wstest.CloseFrame(1000, ""))...))
			p.ReadHead()
			p.WantFrame(wstest.Text, "early")
			p.WantClose(1000)
			p.WantEOF()
		})
	}
}

// A server's read whose context ends loses nothing. CloseNow ends a read in
// another goroutine, and the connection, before the handler returns.
func TestFastHTTPInterrupts(t *testing.T) {
	for _, door := range doors {
		t.Run(door.name, func(t *testing.T) {
			served, ended := make(chan error, 1), make(chan struct{})
			addr := listen(t, door.serve(&websocket.AcceptOptions{}, func(c *websocket.Conn, r *http.Request) {
				defer func() { <-ended }()
				served <- func() error {
					ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
					defer cancel()
					if _, _, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
						return err
					}
					if err := c.Write(context.Background(), websocket.MessageText, []byte("go on")); err != nil {
						return err
					}
					if _, data, err := c.Read(context.Background()); err != nil || string(data) != "hello" {
						return errors.Join(errors.New("got "+string(data)), err)
					}
					read := make(chan error, 1)
					go func() {
						_, _, err := c.Read(context.Background())
						read <- err
					}()
					c.CloseNow()
					select {
					case err := <-read:
						if !errors.Is(err, net.ErrClosed) {
							return err
						}
						return nil
					case <-time.After(patience):
						return errors.New("CloseNow has not ended the read")
					}
				}()
			}))
			c, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			if _, data, err := c.Read(t.Context()); string(data) != "go on" || err != nil {
				t.Errorf("got %q, %v", data, err)
			}
			if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if _, _, err := c.Read(ctx); errors.Is(err, context.DeadlineExceeded) || err == nil {
				t.Errorf("the connection is open: %v", err)
			}
			close(ended)
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

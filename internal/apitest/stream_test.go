package apitest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/faultconn"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A response is compared without the time in it.
func comparable(t *testing.T, text string) string {
	t.Helper()
	var lines []string
	for _, line := range strings.SplitAfter(text, "\r\n") {
		if !strings.HasPrefix(line, "Date: ") {
			lines = append(lines, line)
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(strings.Join(lines, ""))), nil)
	if err != nil {
		t.Fatalf("%q is no response: %v", text, err)
	}
	body, _ := io.ReadAll(resp.Body)
	return fmt.Sprintf("%s %d, close %v, %v, %q", resp.Proto, resp.StatusCode, resp.Close, resp.Header, body)
}

// AcceptConn refuses all that Accept refuses through net/http, with the same
// status, header, body and error.
func TestRefusalsOfBothDoors(t *testing.T) {
	requests := []string{
		wstest.Request("/", "example.com", "Sec-WebSocket-Protocol: a b") + "smuggled",
		"PUT / HTTP/1.1\nHost: example.com\nContent-Length: 2\n\nhi",
		"GET http://other.example/ HTTP/1.1\nHost: example.com\n\n",
	}
	for _, tt := range refusals() {
		if tt.Name != "" && tt.Name != "Host" { // without a Host net/http refuses by itself, in other words
			requests = append(requests, edit(goodRequest, tt.Name, tt.Line)+"\n")
		}
	}
	for _, request := range requests {
		if request != requests[0] {
			request = strings.ReplaceAll(request, "\n", "\r\n")
		}
		if strings.HasPrefix(request, "HEAD") {
			continue // ReadResponse would want the body
		}
		t.Run(fmt.Sprintf("%q", request), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var acceptErr, connErr error
				dial, stop := serveOn(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, acceptErr = websocket.Accept(w, r, nil)
				})})
				conn := dial()
				go sendAll(conn, request)
				want, err := io.ReadAll(conn)
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				stop()
				got := answerTo(t, request, func(far net.Conn) {
					var c *websocket.Conn
					if c, _, connErr = websocket.AcceptConn(t.Context(), far, nil); c != nil {
						t.Error("there is a connection")
						c.CloseNow()
					}
				})
				if strings.HasPrefix(request, "GET / HTTP/1.1\r\nUp") && acceptErr == nil {
					t.Skip("net/http refuses by itself")
				}
				if comparable(t, got) != comparable(t, string(want)) {
					t.Errorf("got  %s\nwant %s", comparable(t, got), comparable(t, string(want)))
				}
				if acceptErr == nil || connErr == nil || acceptErr.Error() != connErr.Error() {
					t.Errorf("got the error %v, want %v", connErr, acceptErr)
				}
			})
		})
	}
}

// Both doors send the refusal that Configure chose: its status, its header and
// its body, where HTTP lets the status have one.
func TestConfiguredRefusals(t *testing.T) {
	request := wstest.Request("/", "example.com")
	for _, tt := range []struct {
		refusal     websocket.HandshakeError
		contentType string
		body        string
	}{
		{websocket.HandshakeError{StatusCode: 401, Header: http.Header{"Www-Authenticate": {"Basic", "Digest"}}, Body: []byte("who\nare you?\n")},
			"text/plain; charset=utf-8", "who\nare you?\n"},
		{websocket.HandshakeError{StatusCode: 400, Header: http.Header{"content-type": {"application/problem+json"}, "X-Content-Type-Options": {"x"}}, Body: []byte("{}")},
			"application/problem+json", "{}\n"},
		{websocket.HandshakeError{StatusCode: 304, Header: http.Header{"Etag": {`"1"`}}, Body: []byte("none")}, "", ""},
		{websocket.HandshakeError{StatusCode: 599, Header: http.Header{"Content-Length": {"1"}, "Connection": {"keep-alive"}, "A b": {"c"}}},
			"text/plain; charset=utf-8", "\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			opts := &websocket.AcceptOptions{Configure: func(*http.Request, *websocket.AcceptOptions) error { return &tt.refusal }}
			dial, stop := serveOn(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html") // of what the handler would have sent
				websocket.Accept(w, r, opts)
			})})
			conn := dial()
			go sendAll(conn, request)
			want, _ := io.ReadAll(conn)
			conn.Close()
			stop()
			got := answerTo(t, request, func(far net.Conn) { websocket.AcceptConn(t.Context(), far, opts) })
			if comparable(t, got) != comparable(t, string(want)) {
				t.Errorf("AcceptConn sent %q\nAccept sent %q", got, want)
			}
			if head, body, _ := strings.Cut(got, "\r\n\r\n"); body != tt.body || tt.body == "" && strings.Contains(head, "Content-Length") {
				t.Errorf("status %d: AcceptConn sent %q, want the body %q", tt.refusal.StatusCode, got, tt.body)
			}
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(want))), nil)
			if err != nil {
				t.Fatal(err)
			}
			for name, values := range tt.refusal.Header {
				if name = http.CanonicalHeaderKey(name); name != "Content-Length" && name != "Connection" && name != "A b" && !slices.Equal(resp.Header[name], values) {
					t.Errorf("status %d: the field %s is %q, want %q", resp.StatusCode, name, resp.Header[name], values)
				}
			}
			if v := resp.Header.Get("Content-Type"); v != tt.contentType {
				t.Errorf("status %d: the Content-Type is %q, want %q", resp.StatusCode, v, tt.contentType)
			}
		})
	}
}

// TLS over a stream of a foreign type is told of, as TLS over a socket is.
func TestStreamTLSState(t *testing.T) {
	near, far := net.Pipe()
	server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{testCertificate()}})
	client := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
	type accepted struct {
		c *websocket.Conn
		r *http.Request
	}
	done := make(chan accepted, 1)
	go func() {
		c, r, err := websocket.AcceptConn(context.Background(), server, nil)
		if err != nil {
			t.Error(err)
		}
		done <- accepted{c, r}
	}()
	c, resp, err := websocket.DialConn(context.Background(), client, "wss://localhost/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if resp.TLS == nil || !resp.TLS.HandshakeComplete {
		t.Errorf("the response's TLS is %v", resp.TLS)
	}
	a := <-done
	defer a.c.CloseNow()
	if a.r.TLS == nil || !a.r.TLS.HandshakeComplete {
		t.Errorf("the request's TLS is %v", a.r.TLS)
	}
	for _, c := range []*websocket.Conn{c, a.c} {
		if s := c.ConnectionState().TLS; s == nil || !s.HandshakeComplete {
			t.Errorf("ConnectionState().TLS is %v", s)
		}
	}
}

// A header of the size that is allowed, in pieces of every size.
func TestAcceptConnPieces(t *testing.T) {
	good := wstest.Request("/chat?x=1", "example.com", "Origin: http://example.com", "Sec-WebSocket-Protocol: b, a", "X: "+strings.Repeat("x", 5000))
	frame := wstest.Encode(wstest.Client, wstest.Final(wstest.Text, "behind"))
	for _, size := range []int{1, 2, 3, 1000, 4096, len(good) - 1, len(good), len(good) + 3, len(good) + len(frame)} {
		synctest.Test(t, func(t *testing.T) {
			near, far := netfake.Pipe(netfake.Options{})
			go func() {
				for all := []byte(good + string(frame)); len(all) > 0; {
					n := min(size, len(all))
					near.Write(all[:n])
					all = all[n:]
					synctest.Wait()
				}
			}()
			c, r, err := websocket.AcceptConn(t.Context(), far, &websocket.AcceptOptions{Subprotocols: []string{"a", "b"}})
			if err != nil {
				t.Fatalf("pieces of %d: %v", size, err)
			}
			if r.URL.String() != "/chat?x=1" || r.Host != "example.com" || r.RemoteAddr != far.RemoteAddr().String() || c.Subprotocol() != "a" || r.Context() != t.Context() {
				t.Errorf("pieces of %d: got the request %+v", size, r)
			}
			if _, data, err := c.Read(t.Context()); string(data) != "behind" || err != nil {
				t.Errorf("pieces of %d: got %q, %v", size, data, err)
			}
			c.CloseNow()
			near.Close()
		})
	}
}

// A fault at each call of either end of the handshake, and of the exchange that
// follows. Both ends come to an end in time, and close the net.Conn.
func TestStreamFaults(t *testing.T) {
	const bound = 20 * time.Second
	exchange := func(t *testing.T, near, far net.Conn) {
		served := make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		defer cancel()
		go func() {
			defer close(served)
			if c, _, err := websocket.AcceptConn(ctx, far, nil); err == nil {
				_ = echo(c)
				c.CloseNow()
			}
		}()
		c, _, err := websocket.DialConn(ctx, near, "ws://example.com/", nil)
		if err == nil {
			c.Write(ctx, websocket.MessageText, []byte("hello"))
			c.Read(ctx)
			c.Close(websocket.StatusNormalClosure, "")
		}
		<-served
	}
	for _, secure := range []bool{false, true} {
		for _, client := range []bool{false, true} {
			for _, kind := range faultconn.Kinds {
				for at := range 14 {
					t.Run(fmt.Sprintf("TLS %v/client %v/%v/%d", secure, client, kind, at), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							near, far := netfake.Pipe(netfake.Options{})
							ends := [2]net.Conn{far, near}
							faulty := &ends[0]
							if client {
								faulty = &ends[1]
							}
							*faulty = faultconn.New(*faulty, faultconn.Plan{Kind: kind, At: at, ReadMax: 500})
							if secure {
								ends[0] = tls.Server(ends[0], &tls.Config{Certificates: []tls.Certificate{testCertificate()}})
								ends[1] = tls.Client(ends[1], &tls.Config{InsecureSkipVerify: true})
							}
							began := time.Now()
							exchange(t, ends[1], ends[0])
							if took := time.Since(began); took > 2*bound {
								t.Errorf("it took %v", took)
							}
							if near.Stats().Closes == 0 || far.Stats().Closes == 0 {
								t.Error("a net.Conn is open")
							}
							time.Sleep(2 * faultconn.DelayTime) // until a call that was left behind has returned
						})
					})
				}
			}
		}
	}
}

// A request that the client does not finish ends at the bound, and leaves
// nothing behind.
func TestAcceptConnBounds(t *testing.T) {
	good := wstest.Request("/", "example.com")
	for _, tt := range []struct {
		name  string
		act   func(near *netfake.Conn)
		ctx   func() (context.Context, context.CancelFunc)
		after time.Duration
		want  error
	}{
		{"silence", nil, nil, 10 * time.Second, context.DeadlineExceeded},
		{"half a request", func(near *netfake.Conn) { io.WriteString(near, good[:len(good)-2]) }, nil, 10 * time.Second, context.DeadlineExceeded},
		{"a byte a second", func(near *netfake.Conn) {
			for i := range good {
				if _, err := io.WriteString(near, good[i:i+1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, nil, 10 * time.Second, context.DeadlineExceeded},
		{"a deadline", nil, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), time.Minute)
		}, time.Minute, context.DeadlineExceeded},
		{"cancelled", nil, func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, time.Second, context.Canceled},
		{"cancelled before", nil, func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx, cancel
		}, 0, context.Canceled},
		{"the end", func(near *netfake.Conn) { near.Close() }, nil, 0, io.EOF},
		{"the end within", func(near *netfake.Conn) { io.WriteString(near, "GET"); near.Close() }, nil, 0, io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := netfake.Pipe(netfake.Options{})
				if tt.act != nil {
					go tt.act(near)
				}
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				if tt.ctx != nil {
					ctx, cancel = tt.ctx()
				}
				defer cancel()
				began := time.Now()
				c, r, err := websocket.AcceptConn(ctx, far, nil)
				if c != nil || r != nil || !errors.Is(err, tt.want) || time.Since(began) != tt.after {
					t.Errorf("got %v, %v, %v after %v, want %v after %v", c, r, err, time.Since(began), tt.want, tt.after)
				}
				if far.Stats().Closes == 0 {
					t.Error("the net.Conn is open")
				}
				near.Close()
				time.Sleep(2 * time.Second) // until act has returned
			})
		})
	}
}

// A 101 that asks to close as well is a connection here: net/http's client
// would end it, and is not in between.
func TestDialConnUpgradeAndClose(t *testing.T) {
	for connection, want := range map[string]string{
		"Upgrade, close":               "",
		"close,upgrade":                "",
		"close\r\nconnection: Upgrade": "",
		"close":                        `does not name Upgrade: "close"`,
		"close\r\nConnection: x":       `does not name Upgrade: "close, x"`,
	} {
		synctest.Test(t, func(t *testing.T) {
			near, far := netfake.Pipe(netfake.Options{})
			go func() {
				p := wstest.NewPeer(t, far, wstest.Server)
				_, key, _ := strings.Cut(p.ReadHead(), "Sec-WebSocket-Key: ")
				key, _, _ = strings.Cut(key, "\r\n")
				p.WriteRaw([]byte("HTTP/1.1 103 Early Hints\r\nConnection: Upgrade\r\n\r\n" +
					strings.Replace(wstest.Response(key), "Connection: Upgrade", "Connection: "+connection, 1) +
					string(wstest.Encode(wstest.Server, wstest.Final(wstest.Text, "first")))))
				if want == "" {
					p.WantMessage(wstest.Text, "second")
				}
				p.Close()
			}()
			c, _, err := websocket.DialConn(t.Context(), near, "ws://example.com/", nil)
			if !matches(err, want) {
				t.Errorf("%q: got the error %v, want %q", connection, err, want)
			}
			if err != nil {
				return
			}
			defer c.CloseNow()
			if _, data, err := c.Read(t.Context()); string(data) != "first" || err != nil {
				t.Errorf("%q: got %q, %v", connection, data, err)
			}
			if err := c.Write(t.Context(), websocket.MessageText, []byte("second")); err != nil {
				t.Errorf("%q: %v", connection, err)
			}
		})
	}
}

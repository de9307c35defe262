package websocket_test

import (
	"context"
	"errors"
	"expvar"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"

	"github.com/seed70bc5565/websocket"
)

// A metric of the close codes takes three lines.
func ExampleTrace() {
	ended, done := new(expvar.Map), make(chan struct{})
	opts := &websocket.AcceptOptions{Trace: &websocket.Trace{
		Ended: func(_ context.Context, _ *websocket.Conn, end websocket.End) {
			ended.Add(end.Cause.String()+" "+strconv.Itoa(int(end.Code)), 1)
			close(done)
		},
	}}
	s := httptest.NewServer(websocket.Handler(echo, opts))
	defer s.Close()

	c, _, err := websocket.Dial(context.Background(), s.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Close(websocket.StatusGoingAway, "")
	<-done
	fmt.Println(ended)
	// Output: {"peer 1001": 1}
}

// One line a connection, and one for each request that is refused. Handshake
// keeps what the lines need of the request.
func ExampleTrace_slog() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	done := make(chan struct{}, 2)

	type keptKey struct{}
	trace := &websocket.Trace{
		Handshake: func(r *http.Request) context.Context {
			return context.WithValue(r.Context(), keptKey{}, log.With("path", r.URL.Path))
		},
		Refused: func(ctx context.Context, status int, err error) {
			ctx.Value(keptKey{}).(*slog.Logger).WarnContext(ctx, "refused", "status", status, "err", err)
			done <- struct{}{}
		},
		Ended: func(ctx context.Context, c *websocket.Conn, end websocket.End) {
			ctx.Value(keptKey{}).(*slog.Logger).InfoContext(ctx, "ended", "cause", end.Cause, "code", end.Code, "reason", end.Reason)
			done <- struct{}{}
		},
	}
	s := httptest.NewServer(websocket.Handler(echo, &websocket.AcceptOptions{Trace: trace}))
	defer s.Close()

	http.Get(s.URL + "/page") // no handshake
	<-done
	c, _, err := websocket.Dial(context.Background(), s.URL+"/chat", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Close(4000, "done")
	<-done
	// Output:
	// level=WARN msg=refused path=/page status=426 err="websocket: this is not a WebSocket handshake: there is no Upgrade header"
	// level=INFO msg=ended path=/chat cause=peer code=StatusCode(4000) reason=done
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// End says which side ended a connection and why. It does so after an iterator
// too, which ends without an error when the peer closes in an orderly way.
func ExampleConn_End() {
	c, end := connect(greet)
	defer end()
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", m.Data)
	}
	how := c.End()
	fmt.Println("by the", how.Cause.By())
	fmt.Println(int(how.Code), how.Reason)
	// Output:
	// hello
	// by the peer
	// 1000 that was all
}

// What the peer broke, as this side told it by the close code.
func ExampleProtocolError() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		c.Write(r.Context(), websocket.MessageText, []byte("caf\xe9")) // Latin-1
		c.Read(r.Context())
	})
	defer end()
	_, _, err := c.Read(context.Background())
	var broke websocket.ProtocolError
	if errors.As(err, &broke) {
		fmt.Println(int(broke.Code), broke.Reason)
	}
	// Output: 1007 text is not UTF-8
}

// Counts of one connection.
func ExampleConn_Stats() {
	c, end := connect(echo)
	defer end()
	ctx := context.Background()
	c.Write(ctx, websocket.MessageText, []byte("hello"))
	if _, _, err := c.Read(ctx); err != nil {
		fmt.Println(err)
		return
	}
	s := c.Stats()
	fmt.Println("sent", s.Sent.Messages, "message,", s.Sent.Payload, "bytes,", s.Sent.Wire, "on the wire")
	fmt.Println("received", s.Received.Messages, "message,", s.Received.Payload, "bytes,", s.Received.Wire, "on the wire")
	// Output:
	// sent 1 message, 5 bytes, 11 on the wire
	// received 1 message, 5 bytes, 7 on the wire
}

// A server's counts at /debug/vars, in a line.
func ExampleServer_Stats() {
	s := websocket.NewServer(echo, nil)
	expvar.Publish("websocket", expvar.Func(func() any { return s.Stats() }))
	h := httptest.NewServer(s)
	defer h.Close()

	c, _, err := websocket.Dial(context.Background(), h.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Close(websocket.StatusNormalClosure, "")
	s.Shutdown(context.Background()) // the connection has ended for the server too

	fmt.Println(expvar.Get("websocket"))
	// Output: {"open":0,"handshaking":0,"accepted":1,"refused":{},"ended":[{"cause":"peer","code":1000,"count":1}],"waiting":0,"received":{"messages":0,"payload":0,"compressed":0,"compressed_to":0,"control":1,"wire":8},"sent":{"messages":0,"payload":0,"compressed":0,"compressed_to":0,"control":1,"wire":4}}
}

package wsjson_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
	frames "github.com/seed70bc5565/websocket/internal/wstest"
	"github.com/seed70bc5565/websocket/wsjson"
	"github.com/seed70bc5565/websocket/wstest"
)

type point struct{ X, Y int }

// connect serves one connection over a socket, for an Example, and returns the
// client's end of it. The function end closes that end, and returns when serve
// has returned.
func connect(serve func(c *websocket.Conn, r *http.Request)) (c *websocket.Conn, end func()) {
	returned := make(chan struct{})
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		defer close(returned)
		serve(c, r)
	}, nil))
	c, _, err := websocket.Dial(context.Background(), s.URL, nil)
	if err != nil {
		panic(err)
	}
	return c, func() {
		c.CloseNow()
		<-returned
		s.Close()
	}
}

// dial serves one connection with serve and returns the client's end of it,
// without a port.
func dial(t *testing.T, serve func(c *websocket.Conn, r *http.Request)) *websocket.Conn {
	t.Helper()
	returned := make(chan struct{})
	c := wstest.Dial(t, websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		defer close(returned)
		serve(c, r)
	}, nil), nil)
	t.Cleanup(func() { c.CloseNow(); <-returned })
	return c
}

func TestRoundTrip(t *testing.T) {
	for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		c := dial(t, func(c *websocket.Conn, r *http.Request) {
			_, data, err := c.Read(r.Context())
			if err == nil {
				err = c.Write(r.Context(), typ, data)
			}
			if err != nil {
				t.Error(err)
			}
		})
		want := map[string]any{"text": "größer <als> \u2028", "list": []any{1.5, nil, true}}
		if err := wsjson.Write(t.Context(), c, want); err != nil {
			t.Fatal(err)
		}
		var got any
		if err := wsjson.Read(t.Context(), c, &got); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("as %v: got %v, want %v", typ, got, want)
		}
	}
}

func TestWriteSendsText(t *testing.T) {
	type message struct {
		typ  websocket.MessageType
		data string
	}
	received := make(chan message, 1)
	c := dial(t, func(c *websocket.Conn, r *http.Request) {
		typ, data, err := c.Read(r.Context())
		if err != nil {
			t.Error(err)
		}
		received <- message{typ, string(data)}
	})
	if err := wsjson.Write(t.Context(), c, point{1, 2}); err != nil {
		t.Fatal(err)
	}
	if got, want := <-received, (message{websocket.MessageText, `{"X":1,"Y":2}`}); got != want {
		t.Errorf("sent %v, want %v", got, want)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, test := range []string{"", "{", `{"X":"one"}`, "1 2", "\"\x01\""} {
		status := make(chan websocket.StatusCode, 1)
		c := dial(t, func(c *websocket.Conn, r *http.Request) {
			c.Write(r.Context(), websocket.MessageText, []byte(test))
			_, _, err := c.Read(r.Context())
			status <- websocket.CloseStatus(err)
		})
		var p point
		err := wsjson.Read(t.Context(), c, &p)
		if err == nil || !strings.HasPrefix(err.Error(), "wsjson: ") {
			t.Errorf("Read of %q: %v", test, err)
		}
		if got := <-status; got != websocket.StatusInvalidFramePayloadData {
			t.Errorf("Read of %q closed the connection with %v", test, got)
		}
		if _, _, err := c.Read(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after it: %v", err)
		}
	}
}

// A value that cannot be marshaled sends nothing, and the connection goes on.
func TestWriteRefuses(t *testing.T) {
	c := dial(t, func(c *websocket.Conn, r *http.Request) {
		var p point
		if err := wsjson.Read(r.Context(), c, &p); err != nil || p != (point{3, 4}) {
			t.Errorf("received %v, %v", p, err)
		}
		wsjson.Write(r.Context(), c, p)
	})
	if err := wsjson.Write(t.Context(), c, make(chan int)); err == nil {
		t.Error("a channel was marshaled")
	}
	if err := wsjson.Write(t.Context(), c, point{3, 4}); err != nil {
		t.Fatal(err)
	}
	var p point
	if err := wsjson.Read(t.Context(), c, &p); err != nil || p != (point{3, 4}) {
		t.Errorf("answer %v, %v", p, err)
	}
}

func TestErrorsOfTheConnection(t *testing.T) {
	c := dial(t, func(c *websocket.Conn, r *http.Request) { c.Close(4000, "gone") })
	var p point
	if err := wsjson.Read(t.Context(), c, &p); websocket.CloseStatus(err) != 4000 {
		t.Errorf("Read: %v", err)
	}
	if err := wsjson.Write(t.Context(), c, p); err == nil {
		t.Error("Write succeeded on a closed connection")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c = dial(t, func(c *websocket.Conn, r *http.Request) { c.Read(r.Context()) })
	if err := wsjson.Read(ctx, c, &p); !errors.Is(err, context.Canceled) {
		t.Errorf("Read with an ended context: %v", err)
	}
	if err := wsjson.Write(ctx, c, p); !errors.Is(err, context.Canceled) {
		t.Errorf("Write with an ended context: %v", err)
	}
}

func Example() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		var p point
		if err := wsjson.Read(r.Context(), c, &p); err != nil {
			return
		}
		p.X, p.Y = p.Y, p.X
		wsjson.Write(r.Context(), c, p)
	})
	defer end()

	if err := wsjson.Write(context.Background(), c, point{1, 2}); err != nil {
		fmt.Println(err)
		return
	}
	var answer point
	err := wsjson.Read(context.Background(), c, &answer)
	fmt.Println(answer, err)
	// Output: {2 1} <nil>
}

func TestMessages(t *testing.T) {
	var got []point
	result := make(chan error, 1)
	c := dial(t, func(c *websocket.Conn, r *http.Request) {
		for p, err := range wsjson.Messages[point](r.Context(), c) {
			if err != nil {
				result <- err
				return
			}
			got = append(got, p)
		}
		result <- nil
	})
	for _, text := range []string{`{"X":1,"Y":2}`, `{"Y":3}`} {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	c.Close(websocket.StatusNormalClosure, "")
	if err := <-result; err != nil || fmt.Sprint(got) != "[{1 2} {0 3}]" {
		t.Errorf("got %v, %v", got, err)
	}

	// A message that is no JSON is the last step, and the peer is told.
	c = dial(t, func(c *websocket.Conn, r *http.Request) {
		steps := 0
		for _, err := range wsjson.Messages[point](r.Context(), c) {
			if steps++; err != nil {
				result <- fmt.Errorf("step %d: %w", steps, err)
			}
		}
	})
	c.Write(t.Context(), websocket.MessageText, []byte(`{"X":1}`))
	c.Write(t.Context(), websocket.MessageText, []byte(`{"X":`))
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusInvalidFramePayloadData {
		t.Errorf("got %v", err)
	}
	if err := <-result; err == nil || !strings.Contains(err.Error(), "step 2: wsjson: unmarshal") {
		t.Errorf("got %v", err)
	}
}

func ExampleMessages() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		sum := point{}
		for p, err := range wsjson.Messages[point](r.Context(), c) {
			if err != nil {
				return
			}
			sum = point{sum.X + p.X, sum.Y + p.Y}
			if err := wsjson.Write(r.Context(), c, sum); err != nil {
				return
			}
		}
	})
	defer end()
	ctx := context.Background()
	for _, p := range []point{{1, 2}, {3, 4}} {
		wsjson.Write(ctx, c, p)
		var sum point
		wsjson.Read(ctx, c, &sum)
		fmt.Println(sum)
	}
	// Output:
	// {1 2}
	// {4 6}
}

// A named is a point with a name.
type named struct {
	X, Y int
	Name string `json:"name,omitempty"`
}

// jsonPair returns a server's Conn and a peer of raw frames.
func jsonPair(t *testing.T) (*websocket.Conn, *frames.Peer) {
	ours, theirs := netfake.Pipe(netfake.Options{})
	c, err := websocket.NewConn(ours, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow(); theirs.Close() })
	return c, frames.NewPeer(t, theirs, frames.Client)
}

func TestJSON(t *testing.T) {
	ctx := context.Background()
	synctest.Test(t, func(t *testing.T) {
		c, p := jsonPair(t)
		if err := wsjson.Write(ctx, c, named{1, 2, "<é>"}); err != nil {
			t.Fatal(err)
		}
		f := p.ReadFrame()
		var got named
		if err := json.Unmarshal(f.Payload, &got); err != nil || f.Op != frames.Text || !f.Fin || got != (named{1, 2, "<é>"}) {
			t.Errorf("got %v, %v", f, err)
		}
		p.WriteFrames(frames.Fragments(frames.Text, `{"X":3,`, `"Y":4}`)...)
		got = named{}
		if err := wsjson.Read(ctx, c, &got); err != nil || got != (named{3, 4, ""}) {
			t.Errorf("Read = %+v, %v", got, err)
		}
		// A value that cannot be encoded is not sent, and the connection goes
		// on.
		var unsupported *json.UnsupportedTypeError
		if err := wsjson.Write(ctx, c, func() {}); !errors.As(err, &unsupported) {
			t.Errorf("Write of a func = %v", err)
		}
		p.WantIdle()
		p.WriteClose(1000, "")
		if err := wsjson.Read(ctx, c, &got); !errors.Is(err, io.EOF) || websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Errorf("Read at the end = %v", err)
		}
	})
}

// A message that is not the JSON wanted is an error that json's own can be had
// of, and closes the connection with 1007.
func TestJSONBad(t *testing.T) {
	for _, test := range []struct {
		name    string
		payload string
		op      frames.Opcode
	}{
		{"not JSON", "nonsense", frames.Text},
		{"nothing", "", frames.Text},
		{"cut", `{"X":1`, frames.Text},
		{"two values", `{"X":1}{"X":2}`, frames.Text},
		{"another type", `["X"]`, frames.Text},
		{"not JSON, binary", "nonsense", frames.Binary},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := jsonPair(t)
				p.WriteFrame(test.op, test.payload)
				read := make(chan error, 1)
				go func() {
					var v point
					read <- wsjson.Read(context.Background(), c, &v)
				}()
				p.WantClose(1007)
				p.WriteClose(1007, "")
				if err := <-read; err == nil || websocket.CloseStatus(err) != -1 {
					t.Errorf("Read = %v", err)
				}
			})
		})
	}
}

// The context of a Read bounds what it does about a message that is not JSON.
func TestJSONBadContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := jsonPair(t)
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		p.WriteFrames(frames.Frame{Fin: true, Op: frames.Text, Payload: []byte("{")})
		start := time.Now()
		if err := wsjson.Read(ctx, c, new(point)); err == nil {
			t.Error("Read of bad JSON succeeds")
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("Read took %v, its context 200ms", took)
		}
	})
}

// So does its read deadline.
func TestJSONBadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := jsonPair(t)
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		p.WriteFrames(frames.Frame{Fin: true, Op: frames.Text, Payload: []byte("{")})
		start := time.Now()
		if err := wsjson.Read(context.Background(), c, new(point)); err == nil {
			t.Error("Read of bad JSON succeeds")
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("Read took %v, its deadline 200ms", took)
		}
	})
}

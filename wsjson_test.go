package websocket_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
	"github.com/seed70bc5565/websocket/wsjson"
)

type point struct {
	X, Y int
	Name string `json:"name,omitempty"`
}

func jsonPair(t *testing.T) (*websocket.Conn, *wstest.Peer) {
	ours, theirs := netfake.Pipe(netfake.Options{})
	c := websocket.NewTestConn(ours, false)
	t.Cleanup(func() { c.CloseNow(); theirs.Close() })
	return c, wstest.NewPeer(t, theirs, wstest.Client)
}

func TestJSON(t *testing.T) {
	ctx := context.Background()
	synctest.Test(t, func(t *testing.T) {
		c, p := jsonPair(t)
		if err := wsjson.Write(ctx, c, point{1, 2, "<é>"}); err != nil {
			t.Fatal(err)
		}
		f := p.ReadFrame()
		var got point
		if err := json.Unmarshal(f.Payload, &got); err != nil || f.Op != wstest.Text || !f.Fin || got != (point{1, 2, "<é>"}) {
			t.Errorf("got %v, %v", f, err)
		}
		p.WriteFrames(wstest.Fragments(wstest.Text, `{"X":3,`, `"Y":4}`)...)
		got = point{}
		if err := wsjson.Read(ctx, c, &got); err != nil || got != (point{3, 4, ""}) {
			t.Errorf("Read = %+v, %v", got, err)
		}
		// What cannot be encoded is not sent, and the connection goes on.
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

// A message that is not the JSON wanted is an error that json's own can be had of, and closes the connection with 1007.
func TestJSONBad(t *testing.T) {
	for _, test := range []struct {
		name    string
		payload string
		op      wstest.Opcode
	}{
		{"not JSON", "nonsense", wstest.Text},
		{"nothing", "", wstest.Text},
		{"cut", `{"X":1`, wstest.Text},
		{"two values", `{"X":1}{"X":2}`, wstest.Text},
		{"another type", `["X"]`, wstest.Text},
		{"not JSON, binary", "nonsense", wstest.Binary},
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
		p.WriteFrames(wstest.Frame{Fin: true, Op: wstest.Text, Payload: []byte("{")})
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
		p.WriteFrames(wstest.Frame{Fin: true, Op: wstest.Text, Payload: []byte("{")})
		start := time.Now()
		if err := wsjson.Read(context.Background(), c, new(point)); err == nil {
			t.Error("Read of bad JSON succeeds")
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("Read took %v, its deadline 200ms", took)
		}
	})
}

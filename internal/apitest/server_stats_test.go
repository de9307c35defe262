package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A Server counts all that it had, by how it ended.
func TestServerStats(t *testing.T) {
	for _, door := range []struct {
		name           string
		events, secure bool
	}{{"NewServer", false, false}, {"NewServer over TLS", false, true}, {"Events", true, false}, {"Events over TLS", true, true}} {
		t.Run(door.name, func(t *testing.T) {
			serve := func(c *websocket.Conn, r *http.Request) {
				for m, err := range c.Messages(r.Context()) {
					if err != nil || c.Write(r.Context(), m.Type, m.Data) != nil {
						return
					}
				}
			}
			opts := &websocket.ServerOptions{AcceptOptions: websocket.AcceptOptions{Trace: &websocket.Trace{Ended: func(context.Context, *websocket.Conn, websocket.End) {}}}}
			var s *websocket.Server
			if door.events {
				s = websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler { return eventEcho{c, t} }, opts)
			} else {
				s = websocket.NewServer(serve, opts)
			}
			h := httptest.NewUnstartedServer(s)
			if door.secure {
				h.StartTLS()
			} else {
				h.Start()
			}
			defer h.Close()
			defer s.Close()
			if got := s.Stats(); got.Ended == nil || got.Refused == nil || got.Open+got.Handshaking != 0 || got.Accepted != 0 {
				t.Errorf("at first: %+v", got)
			}
			if resp, err := h.Client().Get(h.URL); err != nil {
				t.Error(err)
			} else {
				resp.Body.Close()
			}
			clients := make([]*websocket.Conn, 4)
			for i := range clients {
				c, _, err := websocket.Dial(t.Context(), h.URL, &websocket.DialOptions{HTTPClient: h.Client()})
				if err != nil {
					t.Fatal(err)
				}
				defer c.CloseNow()
				clients[i] = c
				c.Write(t.Context(), websocket.MessageText, []byte("hello"))
				if _, _, err := c.Read(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			clients[0].Close(1000, "")
			clients[1].Close(4000, "")
			clients[2].Close(1000, "")
			var got websocket.ServerStats
			want := websocket.ServerStats{
				Open:     1,
				Accepted: 4,
				Refused:  map[int]int64{426: 1},
				Ended:    []websocket.EndCount{{Cause: websocket.EndByPeer, Code: 1000, Count: 2}, {Cause: websocket.EndByPeer, Code: 4000, Count: 1}},
				Received: websocket.Traffic{Messages: 4, Payload: 20, Control: 3, Wire: 4*(6+5) + 3*8},
				Sent:     websocket.Traffic{Messages: 4, Payload: 20, Control: 3, Wire: 4*(2+5) + 3*4},
			}
			await(t, func() bool { got = s.Stats(); return reflect.DeepEqual(got, want) })
			s.Close()
			await(t, func() bool { return s.Connections() == 0 })
			got = s.Stats()
			want.Open, want.Ended = 0, append(want.Ended, websocket.EndCount{Cause: websocket.EndByShutdown, Code: websocket.StatusAbnormalClosure, Count: 1})
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			b, err := json.Marshal(got)
			wantJSON := `{"open":0,"handshaking":0,"accepted":4,"refused":{"426":1},"ended":[{"cause":"peer","code":1000,"count":2},` +
				`{"cause":"peer","code":4000,"count":1},{"cause":"shutdown","code":1006,"count":1}],"waiting":0,` +
				`"received":{"messages":4,"payload":20,"compressed":0,"compressed_to":0,"control":3,"wire":68},` +
				`"sent":{"messages":4,"payload":20,"compressed":0,"compressed_to":0,"control":3,"wire":40}}`
			if err != nil || string(b) != wantJSON {
				t.Errorf("JSON is %s, %v", b, err)
			}
		})
	}
}

// An eventEcho answers, and counts.
type eventEcho struct {
	c *websocket.Conn
	t *testing.T
}

func (e eventEcho) Message(m websocket.Message) {
	if s := e.c.Stats(); s.Received.Messages != s.Sent.Messages+1 {
		e.t.Errorf("inside Message: %+v", s)
	}
	e.c.Write(context.Background(), m.Type, m.Data)
}
func (e eventEcho) Close(error) {}

// A server that is asked all the time loses no message of its connections.
func TestServerStatsWhileServing(t *testing.T) {
	s := websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler { return eventEcho{c, t} }, nil)
	h := httptest.NewServer(s)
	defer h.Close()
	defer s.Close()
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for {
				s.Stats()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			c, _, err := websocket.Dial(t.Context(), h.URL, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseNow()
			for i := range 500 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				c.Write(ctx, websocket.MessageText, fmt.Append(nil, i))
				_, b, err := c.Read(ctx)
				cancel()
				if string(b) != fmt.Sprint(i) {
					t.Errorf("answer %q, %v", b, err)
					return
				}
			}
		})
	}
	clients.Wait()
	close(done)
	all.Wait()
}

package memorybroker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/memorybroker"
	"github.com/seed70bc5565/websocket/internal/netfake"
)

// listener accepts the connections that a test dials.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *listener) Addr() net.Addr { return netfake.Addr("server") }

func (l *listener) dial(context.Context, string, string) (net.Conn, error) {
	a, b := netfake.Pipe(netfake.Options{A: netfake.End{Buffer: 256}, B: netfake.End{Buffer: 256}})
	select {
	case l.conns <- a:
		return b, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// serve serves a hub until the test ends, and returns a client for it. A page
// says where it was, and gets "begin", position, complete; then position, the
// offset before, and the text of each message.
func serve(t *testing.T, h *hub.Hub) *http.Client {
	l := &listener{conns: make(chan net.Conn), done: make(chan struct{})}
	s := &http.Server{Handler: websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		s := h.Join(c)
		defer s.Leave()
		after, _ := hub.ParsePosition(r.FormValue("last"))
		_, err := s.SubscribeFrom(r.Context(), "x", hub.SubscribeOptions{
			After: after,
			Greet: func(st hub.SubscribeResult) (websocket.MessageType, []byte) {
				return websocket.MessageText, fmt.Appendf(nil, "begin %v %t", st.Position, st.Complete)
			},
		})
		if err == nil {
			<-c.CloseRead(r.Context()).Done()
		}
	}, nil)}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return &http.Client{Transport: &http.Transport{DialContext: l.dial, DisableKeepAlives: true}}
}

// A page reads slowly, and comes back to any process when it was disconnected.
type page struct {
	last   hub.Position
	seen   map[hub.Position]string
	told   int
	visits int
}

func (p *page) visit(t *testing.T, ctx context.Context, client *http.Client, pause time.Duration) {
	q := url.Values{"last": {p.last.String()}}
	c, _, err := websocket.Dial(ctx, "ws://server/?"+q.Encode(), &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		return
	}
	defer c.CloseNow()
	p.visits++
	for {
		_, data, err := c.Read(ctx)
		if err != nil {
			return
		}
		f := strings.Split(string(data), " ")
		if len(f) != 3 {
			t.Errorf("%q", data)
			return
		}
		if f[0] == "begin" {
			if f[2] != "true" {
				p.told++
				p.last, _ = hub.ParsePosition(f[1])
			}
			continue
		}
		at, err1 := hub.ParsePosition(f[0])
		previous, err2 := strconv.ParseUint(f[1], 10, 64)
		if err1 != nil || err2 != nil || at.IsZero() {
			t.Errorf("%q", data)
			return
		}
		switch {
		case at.Epoch != p.last.Epoch:
			if !p.last.IsZero() {
				p.told++
			}
		case at.Offset <= p.last.Offset:
			t.Errorf("%v came behind %v", at, p.last)
		case previous > p.last.Offset:
			p.told++
		case at.Offset != p.last.Offset+1: // the engine counts each topic by itself
			t.Errorf("%v came behind %v, and says that %d was before", at, p.last, previous)
		}
		p.last = at
		p.seen[at] = f[2]
		time.Sleep(rand.N(pause))
	}
}

// Pages read slowly, are disconnected because their queues are full, and come
// back to any of three processes, while the engine is stopped and started. Each
// has every message once and in order, or was told that it missed some.
func TestSlowPagesResume(t *testing.T) {
	for _, tt := range []struct {
		name    string
		history hub.History
		stops   bool
		told    bool // pages may be
	}{
		{"long history", hub.History{Messages: 5000}, false, false},
		{"short history", hub.History{Messages: 20}, false, true},
		{"bytes", hub.History{Messages: 5000, Bytes: 300}, false, true},
		{"engine stops", hub.History{Messages: 5000}, true, true},
		{"engine stops, short history", hub.History{Messages: 20}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := memorybroker.New()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var hubs []*hub.Hub
				var clients []*http.Client
				for range 3 {
					h := hub.New(&hub.Options{
						Broker: engine.Connect(), History: tt.history, QueueMessages: 8,
						Encode: func(dst []byte, m hub.Message) []byte {
							return fmt.Appendf(dst, "%v %d %s", m.Position, m.Previous, m.Data)
						},
					})
					t.Cleanup(func() { h.Close() })
					hubs = append(hubs, h)
					clients = append(clients, serve(t, h))
				}
				pages := make([]*page, 12)
				var visits sync.WaitGroup
				for i := range pages {
					p := &page{seen: map[hub.Position]string{}}
					pages[i] = p
					visits.Go(func() {
						for ctx.Err() == nil {
							p.visit(t, ctx, clients[rand.N(3)], time.Duration(1+i)*4*time.Millisecond)
							time.Sleep(rand.N(50 * time.Millisecond))
						}
					})
				}
				for n := range 3000 {
					if tt.stops && n%500 == 499 {
						engine.Stop()
						time.Sleep(rand.N(5 * time.Second))
						engine.Start()
						time.Sleep(rand.N(time.Second))
					}
					hubs[rand.N(3)].Publish(ctx, "x", websocket.MessageText, fmt.Append(nil, n))
					time.Sleep(rand.N(10 * time.Millisecond))
				}
				for range 120 { // what comes last is seen by all
					hubs[0].Publish(ctx, "x", websocket.MessageText, []byte("end"))
					time.Sleep(time.Second)
				}
				cancel()
				visits.Wait()
				all := map[hub.Position]string{}
				visited, told := 0, 0
				for i, p := range pages {
					visited += p.visits
					told += p.told
					for at, text := range p.seen {
						if other, ok := all[at]; ok && other != text {
							t.Errorf("%v is %q, and %q", at, text, other)
						}
						all[at] = text
					}
					if p.last != pages[0].last {
						t.Errorf("page %d ended at %v, and page 0 at %v", i, p.last, pages[0].last)
					}
				}
				t.Logf("%d visits, told %d, %d messages", visited, told, len(all))
				if visited < 20 || !tt.told && told > len(pages) { // the first visit tells, too
					t.Errorf("%d visits, told %d", visited, told)
				}
			})
		})
	}
}

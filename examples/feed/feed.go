package main

import (
	"context"
	"encoding/json"
	"log"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/wsjson"
)

const (
	topic      = "scores"
	maxInput   = 1 << 10 // bytes of a message from the page
	kept       = 50      // updates: who has missed more starts afresh
	keptFor    = 5 * time.Minute
	firstTimes = 5 // how many of the last updates a new page gets
)

// A feed publishes what happens in the league.
type feed struct {
	hub *hub.Hub

	// mu makes one step of what happens and its publication: a page that starts
	// with the state gets the updates after it, and no others.
	mu     sync.Mutex
	league *league // guarded by mu
}

func newFeed() *feed {
	return &feed{
		hub: hub.New(&hub.Options{
			History: hub.History{Messages: kept, Age: keptFor},
			Encode:  encode,
		}),
		league: newLeague(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
	}
}

// encode adds its position to an update: the page remembers it, and asks for
// what is behind it when it comes back.
func encode(dst []byte, m hub.Message) []byte {
	dst = append(dst, `{"type":"update","position":"`...)
	dst, _ = m.Position.AppendText(dst)
	dst = append(dst, `","update":`...)
	dst = append(dst, m.Data...)
	return append(dst, '}')
}

// A start is the first thing that a page gets. If it could go on where it was,
// the updates that it missed follow. Otherwise it gets the state, and only then
// what follows is new.
type start struct {
	Type     string  `json:"type"` // "start"
	Resumed  bool    `json:"resumed"`
	Replayed int     `json:"replayed"`        // how many updates follow that are not new
	State    []match `json:"state,omitempty"` // unless resumed
}

// serve runs one connection from beginning to end: GET /ws?after=POSITION.
func (f *feed) serve(c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	after, err := hub.ParsePosition(r.URL.Query().Get("after"))
	if err != nil {
		c.Close(websocket.StatusPolicyViolation, err.Error())
		return
	}
	s := f.hub.Join(c)
	defer s.Leave()
	if err := f.subscribe(r.Context(), s, after); err != nil {
		return
	}
	for {
		var in struct {
			Goal string `json:"goal"` // home or away
			In   int    `json:"in"`   // the index of the match
		}
		if err := wsjson.Read(r.Context(), c, &in); err != nil {
			return // the connection is closed, or closes now
		}
		if err := f.goal(in.In, in.Goal == "home"); err != nil {
			c.Close(websocket.StatusPolicyViolation, err.Error())
			return
		}
	}
}

func (f *feed) subscribe(ctx context.Context, s *hub.Subscriber, after hub.Position) error {
	f.mu.Lock() // nothing happens between the state and the subscription
	defer f.mu.Unlock()
	_, err := s.SubscribeFrom(ctx, topic, hub.SubscribeOptions{
		After:  after,
		Recent: firstTimes,
		Greet: func(st hub.SubscribeResult) (websocket.MessageType, []byte) {
			hello := start{Type: "start", Resumed: st.Complete && !after.IsZero(), Replayed: st.Messages}
			if !hello.Resumed {
				hello.State = f.league.state()
			}
			return websocket.MessageText, marshal(hello)
		},
	})
	return err
}

// play lets things happen until ctx ends.
func (f *feed) play(ctx context.Context, every time.Duration) {
	for {
		// At any moment from half to one and a half times as long.
		timer := time.NewTimer(every/2 + rand.N(every))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			f.mu.Lock()
			f.publishLocked(f.league.event())
			f.mu.Unlock()
		}
	}
}

func (f *feed) goal(index int, home bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	u, err := f.league.goal(index, home)
	if err == nil {
		f.publishLocked(u)
	}
	return err
}

// publishLocked sends u to all pages.
func (f *feed) publishLocked(u update) {
	if err := f.hub.Publish(context.Background(), topic, websocket.MessageText, marshal(u)); err != nil {
		log.Panicf("feed: %v", err) // without a broker it fails only when the hub is closed
	}
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		log.Panicf("feed: %v", err) // strings and numbers can always be marshaled
	}
	return data
}

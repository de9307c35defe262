package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/wsjson"
)

const (
	topic    = "dashboard"
	shown    = 120     // samples in the chart
	maxInput = 1 << 10 // bytes of a message from the page
	maxMark  = 40      // characters

)

// A dashboard measures and tells all pages.
type dashboard struct {
	hub   *hub.Hub
	meter meter
	every time.Duration
}

// What goes to the page. The chart is the last messages of the topic, which the
// hub keeps. A page that opens gets all of them, and one that comes back those
// that it has missed.
type (
	hello struct {
		Type    string `json:"type"` // "hello"
		What    string `json:"what"`
		CPUs    int    `json:"cpus"`
		Every   int64  `json:"every"`   // milliseconds between two samples
		Shown   int    `json:"shown"`   // samples in the chart
		Resumed bool   `json:"resumed"` // the messages that follow go on where the page was
	}
	sample struct {
		Type  string  `json:"type"` // "sample"
		At    int64   `json:"at"`   // milliseconds since 1970
		CPU   float64 `json:"cpu"`  // 0 to 1
		Used  uint64  `json:"used"` // bytes of memory
		Total uint64  `json:"total,omitempty"`
	}
	mark struct {
		Type string `json:"type"` // "mark"
		At   int64  `json:"at"`
		Text string `json:"text"`
	}
)

func newDashboard(m meter, every time.Duration) *dashboard {
	return &dashboard{meter: m, every: every, hub: hub.New(&hub.Options{
		History:       hub.History{Messages: shown, Age: -1},
		QueueMessages: shown,          // a page has no use for more
		WhenFull:      hub.DropOldest, // a page that is slow misses samples, and shows a gap
		Encode:        encode,
	})}
}

// encode puts the position into a message, which is a JSON object, so that the
// page can go on after it.
func encode(dst []byte, m hub.Message) []byte {
	dst = append(dst, `{"position":"`...)
	dst, _ = m.Position.AppendText(dst)
	return append(append(dst, `",`...), m.Data[1:]...)
}

// run measures until ctx ends.
func (d *dashboard) run(ctx context.Context) {
	ticker := time.NewTicker(d.every)
	defer ticker.Stop()
	before, err := d.meter.read()
	for err == nil {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			before, err = d.sample(before, now)
		}
	}
	log.Printf("dashboard: %v", err)
}

// sample measures, and tells what was in use since the last measurement.
func (d *dashboard) sample(before usage, now time.Time) (usage, error) {
	u, err := d.meter.read()
	if err != nil {
		return usage{}, err
	}
	d.tell(sample{"sample", now.UnixMilli(), load(before, u), u.used, u.total})
	return u, nil
}

// serve runs one connection from beginning to end: GET /ws?after=POSITION.
func (d *dashboard) serve(c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	after, err := hub.ParsePosition(r.URL.Query().Get("after"))
	if err != nil {
		c.Close(websocket.StatusPolicyViolation, err.Error())
		return
	}
	s := d.hub.Join(c)
	defer s.Leave()
	if _, err := s.SubscribeFrom(r.Context(), topic, hub.SubscribeOptions{
		After:  after,
		Recent: shown,
		Greet: func(st hub.SubscribeResult) (websocket.MessageType, []byte) {
			return websocket.MessageText, marshal(hello{"hello", d.meter.what, runtime.NumCPU(), d.every.Milliseconds(), shown,
				st.Complete && !after.IsZero()})
		},
	}); err != nil {
		return
	}
	for {
		var in struct {
			Mark string `json:"mark"`
		}
		if err := wsjson.Read(r.Context(), c, &in); err != nil {
			return // the connection is closed, or closes now
		}
		text := strings.TrimSpace(in.Mark)
		if text == "" || utf8.RuneCountInString(text) > maxMark {
			c.Close(websocket.StatusPolicyViolation, "a mark has a text, of 40 characters at most")
			return
		}
		d.tell(mark{"mark", time.Now().UnixMilli(), text})
	}
}

// tell sends v to all pages, and waits for none.
func (d *dashboard) tell(v any) {
	if err := d.hub.Publish(context.Background(), topic, websocket.MessageText, marshal(v)); err != nil {
		log.Panicf("dashboard: %v", err) // without a broker it fails only when the hub is closed
	}
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		log.Panicf("dashboard: %v", err) // strings and finite numbers can always be marshaled
	}
	return data
}

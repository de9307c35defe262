package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/seed70bc5565/websocket"
)

// longest is how long a long poll waits: shorter than the time after which
// proxies give up, which is often 30 or 60 seconds.
const longest = 25 * time.Second

// rates are the times between two events that a page may choose.
var rates = []time.Duration{0, 10 * time.Second, time.Second, 100 * time.Millisecond, 20 * time.Millisecond}

// number reads where the client is: the number of the last event that it has,
// -1 if it has none.
func number(s string) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return -1
}

// An answer is what a poll gets: the events, and where to go on.
type answer struct {
	Events []event `json:"events"`
	Last   int     `json:"last"`
}

func respond(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v) // an error is the client's end
}

// short answers at once, mostly with nothing.
func (f *feed) short(w http.ResponseWriter, r *http.Request) {
	events, last, _ := f.after(number(r.URL.Query().Get("after")))
	respond(w, answer{events, last})
}

// long waits for an event, but not for ever.
func (f *feed) long(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), longest)
	defer cancel()
	events, last, more := f.after(number(r.URL.Query().Get("after")))
	if len(events) == 0 {
		select {
		case <-more:
			events, last, _ = f.after(last)
		case <-ctx.Done():
		}
	}
	respond(w, answer{events, last})
}

// sse is one response that does not end. The browser reconnects by itself, and
// then says where it was.
func (f *feed) sse(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	if err := rc.Flush(); err != nil {
		return
	}
	f.follow(r.Context(), number(r.Header.Get("Last-Event-ID")), func(events []event) error {
		for _, e := range events {
			data, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", e.Number, data); err != nil {
				return err
			}
		}
		return rc.Flush()
	})
}

// ws sends each event as a message.
func (f *feed) ws(c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	ctx := c.CloseRead(r.Context()) // the page says nothing
	f.follow(ctx, number(r.URL.Query().Get("after")), func(events []event) error {
		for _, e := range events {
			data, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if err := c.Write(ctx, websocket.MessageText, data); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *feed) postPublish(w http.ResponseWriter, r *http.Request) {
	f.publish(time.Now())
	w.WriteHeader(http.StatusNoContent)
}

// postRate sets how often something happens, for all pages: POST
// /rate?every=MILLISECONDS.
func (f *feed) postRate(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(r.URL.Query().Get("every"))
	every := time.Duration(ms) * time.Millisecond
	if err != nil || !slices.Contains(rates, every) {
		http.Error(w, fmt.Sprintf("every must be one of %v, in milliseconds", rates), http.StatusBadRequest)
		return
	}
	f.setRate(every)
	w.WriteHeader(http.StatusNoContent)
}

// stats tells what the page cannot know: the bytes, the rate, and the server's
// clock.
func (f *feed) stats(w http.ResponseWriter, used map[string]count) {
	respond(w, map[string]any{
		"used":  used,
		"every": f.interval().Milliseconds(),
		"now":   time.Now().UnixMicro(),
	})
}

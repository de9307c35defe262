package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/wsjson"
)

// maxInput bounds a message from the page: a whole text, with every character
// escaped.
const maxInput = 6*maxText + 1<<10

const topic = "text"

// A room is the document and those who edit it.
type room struct {
	epoch string // tells this document from that of an earlier run, whose revisions mean nothing here
	hub   *hub.Hub

	// mu makes one step of each change and its publication, and of each
	// arrival. So each writer gets all changes, in the order of their
	// revisions, and none twice. Neither publishing nor sending waits for a
	// connection.
	mu      sync.Mutex
	doc     document                   // guarded by mu
	writers map[*hub.Subscriber]writer // guarded by mu
	last    int                        // guarded by mu: the number of the last writer
}

// A writer is a page that is open.
type writer struct {
	Client string `json:"client"` // the page's own name for itself
	Number int    `json:"number"`
}

// What goes to the page.
type (
	// A start is the end of what a page gets when it connects. Text is set if
	// it has to begin anew.
	start struct {
		Type     string  `json:"type"` // "start"
		Epoch    string  `json:"epoch"`
		Revision int     `json:"revision"`
		Number   int     `json:"number"`
		Text     *string `json:"text,omitempty"`
	}
	accepted struct {
		Type string `json:"type"` // "change"
		change
	}
	people struct {
		Type   string   `json:"type"` // "people"
		People []writer `json:"people"`
	}
	caret struct {
		Type   string `json:"type"` // "caret"
		Client string `json:"client"`
		At     int    `json:"at"` // in the text of the last change that was sent
	}
)

// input is what comes from the page.
type input struct {
	Type     string    `json:"type"` // "change" or "caret"
	Revision int       `json:"revision"`
	Seq      int       `json:"seq"`
	Op       operation `json:"op"`
	At       int       `json:"at"`
}

func newRoom() *room {
	return &room{epoch: rand.Text(), hub: hub.New(nil), writers: make(map[*hub.Subscriber]writer)}
}

// serve runs one connection from beginning to end. The query says who it is,
// and what it has if it was here before: client, epoch, revision.
func (rm *room) serve(c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	query := r.URL.Query()
	client := query.Get("client")
	if client == "" || len(client) > 64 {
		c.Close(websocket.StatusPolicyViolation, "the client's name is missing or too long")
		return
	}
	revision, err := strconv.Atoi(query.Get("revision"))
	if err != nil || query.Get("epoch") != rm.epoch {
		revision = -1
	}
	s := rm.hub.Join(c)
	defer rm.leave(s)
	if err := rm.join(r.Context(), s, client, revision); err != nil {
		return
	}
	for {
		var in input
		if err := wsjson.Read(r.Context(), c, &in); err != nil {
			return // the connection is closed, or closes now
		}
		if err := rm.receive(client, in); err != nil {
			code := websocket.StatusPolicyViolation
			if errors.Is(err, errTooOld) {
				code = websocket.StatusTryAgainLater // when it comes back it gets the whole text
			}
			c.Close(code, err.Error())
			return
		}
	}
}

// join sends s what it needs to go on from revision, if it can, and lets it
// take part.
func (rm *room) join(ctx context.Context, s *hub.Subscriber, client string, revision int) error {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	rm.last++
	hello := start{Type: "start", Epoch: rm.epoch, Revision: rm.doc.revision, Number: rm.last}
	missed, err := rm.doc.since(revision)
	if err != nil {
		text := rm.doc.text.String()
		hello.Text = &text
	}
	if len(missed) > 0 {
		// All in one message: however many there are, they find room in the
		// queue.
		if err := s.Send(websocket.MessageText, encode(map[string]any{"type": "changes", "changes": missed})); err != nil {
			return err
		}
	}
	if err := s.Send(websocket.MessageText, encode(hello)); err != nil {
		return err
	}
	if err := s.Subscribe(ctx, topic); err != nil {
		return err
	}
	rm.writers[s] = writer{client, rm.last}
	rm.publishLocked(rm.peopleLocked())
	return nil
}

func (rm *room) leave(s *hub.Subscriber) {
	s.Leave()
	rm.mu.Lock()
	defer rm.mu.Unlock()
	if _, ok := rm.writers[s]; ok {
		delete(rm.writers, s)
		rm.publishLocked(rm.peopleLocked())
	}
}

// receive handles one message. The error is meant for the page.
func (rm *room) receive(client string, in input) error {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	switch in.Type {
	case "change":
		c, err := rm.doc.receive(client, in.Seq, in.Revision, in.Op)
		if err != nil {
			return err
		}
		rm.publishLocked(accepted{"change", c})
	case "caret":
		missed, err := rm.doc.since(in.Revision)
		if err != nil {
			return err
		}
		for _, m := range missed {
			in.At = m.Op.move(in.At)
		}
		rm.publishLocked(caret{"caret", client, min(max(in.At, 0), len(rm.doc.text))})
	default:
		return errors.New("unknown type of message")
	}
	return nil
}

// peopleLocked returns who is here, in the order in which they came.
func (rm *room) peopleLocked() people {
	byNumber := func(a, b writer) int { return cmp.Compare(a.Number, b.Number) }
	return people{"people", slices.SortedFunc(maps.Values(rm.writers), byNumber)}
}

// publishLocked sends v to all writers.
func (rm *room) publishLocked(v any) {
	if err := rm.hub.Publish(context.Background(), topic, websocket.MessageText, encode(v)); err != nil {
		log.Panicf("collab: %v", err) // without a broker it fails only when the hub is closed
	}
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		log.Panicf("collab: %v", err) // strings and numbers can always be marshaled
	}
	return data
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/wsjson"
)

const (
	maxMessage   = 8 << 10          // bytes of a message from the page; its text has at most 1000 characters
	maxName      = 32               // characters
	queueLength  = 64               // messages that may wait for one member
	writeTimeout = 10 * time.Second // for one message, or one ping and its pong
	pingInterval = 30 * time.Second // finds members that vanished
)

// An event is what the server tells the page.
type event struct {
	Type   string   `json:"type"`             // hello (to the new member itself), joined, left, message
	Name   string   `json:"name"`             // of whom it tells
	Text   string   `json:"text,omitempty"`   // message
	People []string `json:"people,omitempty"` // hello: everybody here, sorted
}

// A room passes what its members say to all of them.
type room struct {
	mu      sync.Mutex
	members map[*member]bool // guarded by mu
	closed  bool             // guarded by mu

	serving sync.WaitGroup // one for each member that joined, until its serve returns
}

func newRoom() *room { return &room{members: make(map[*member]bool)} }

// A member is a connection in the room.
type member struct {
	name string // guarded by the room's mu until join returns; then it does not change
	// queue holds what waits to be sent. Nobody blocks on a member that reads slowly: when its queue is full it is dropped.
	queue chan *websocket.PreparedMessage
	// drop closes the connection and does not wait for it.
	drop func(code websocket.StatusCode, reason string)
}

// handler returns the http.Handler that lets WebSocket clients in: GET /ws?name=NAME.
func (rm *room) handler() http.Handler {
	return websocket.Handler(rm.serve, &websocket.AcceptOptions{ReadLimit: maxMessage})
}

// serve runs one connection from beginning to end.
func (rm *room) serve(c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	name, err := cleanName(r.URL.Query().Get("name"))
	if err != nil {
		// A page cannot see why a handshake was refused, but it can see a close code and reason.
		c.Close(websocket.StatusPolicyViolation, err.Error())
		return
	}
	m := &member{
		name:  name,
		queue: make(chan *websocket.PreparedMessage, queueLength),
		drop:  func(code websocket.StatusCode, reason string) { go c.Close(code, reason) },
	}
	if !rm.join(m) {
		c.Close(websocket.StatusGoingAway, "the server is stopping")
		return
	}
	defer rm.serving.Done()
	defer rm.leave(m)

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go m.write(ctx, c)
	for {
		var said struct {
			Text string `json:"text"`
		}
		if err := wsjson.Read(ctx, c, &said); err != nil {
			return // the connection is closed, or closes now
		}
		if text := strings.TrimSpace(said.Text); text != "" {
			rm.tell(event{Type: "message", Name: m.name, Text: text})
		}
	}
}

// write sends what is queued for m, and pings it, until ctx ends or the connection fails.
func (m *member) write(ctx context.Context, c *websocket.Conn) {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		var send func(context.Context) error
		select {
		case <-ctx.Done():
			return
		case p := <-m.queue:
			send = func(ctx context.Context) error { return c.WritePrepared(ctx, p) }
		case <-ticker.C:
			send = c.Ping
		}
		ctx, cancel := context.WithTimeout(ctx, writeTimeout)
		err := send(ctx)
		cancel()
		if err != nil {
			c.CloseNow() // serve's read fails then, and ends the member
			return
		}
	}
}

// join takes m into the room, under a name that nobody else has, and tells everybody. It reports false if the room is
// closed.
func (rm *room) join(m *member) bool {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	if rm.closed {
		return false
	}
	rm.serving.Add(1)
	names := rm.names()
	wanted := m.name
	for i := 2; slices.Contains(names, m.name); i++ {
		m.name = fmt.Sprintf("%s (%d)", wanted, i)
	}
	rm.tellLocked(event{Type: "joined", Name: m.name})
	rm.members[m] = true
	m.enqueue(prepare(event{Type: "hello", Name: m.name, People: rm.names()}))
	return true
}

// leave takes m out of the room and tells the others. Only the first call does anything.
func (rm *room) leave(m *member) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	if rm.members[m] {
		delete(rm.members, m)
		rm.tellLocked(event{Type: "left", Name: m.name})
	}
}

// tell passes e to every member.
func (rm *room) tell(e event) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	rm.tellLocked(e)
}

// tellLocked passes e to every member, in the same order for all of them, and drops the members whose queue is full.
// rm.mu is held.
func (rm *room) tellLocked(e event) {
	p := prepare(e)
	var slow []*member
	for m := range rm.members {
		if !m.enqueue(p) {
			slow = append(slow, m)
		}
	}
	for _, m := range slow {
		delete(rm.members, m)
		m.drop(websocket.StatusTryAgainLater, "messages arrive faster than you read them")
	}
	for _, m := range slow {
		rm.tellLocked(event{Type: "left", Name: m.name})
	}
}

// enqueue reports whether there was room in m's queue.
func (m *member) enqueue(p *websocket.PreparedMessage) bool {
	select {
	case m.queue <- p:
		return true
	default:
		return false
	}
}

// names returns the names of the members, sorted. rm.mu is held.
func (rm *room) names() []string {
	var names []string
	for m := range rm.members {
		names = append(names, m.name)
	}
	slices.Sort(names)
	return names
}

// close sends everybody away with StatusGoingAway and waits until they are gone.
func (rm *room) close() {
	rm.mu.Lock()
	rm.closed = true
	for m := range rm.members {
		m.drop(websocket.StatusGoingAway, "the server is stopping")
	}
	rm.mu.Unlock()
	rm.serving.Wait()
}

// prepare encodes e once for all who get it.
func prepare(e event) *websocket.PreparedMessage {
	data, err := json.Marshal(e)
	if err != nil {
		log.Panicf("chat: %v", err) // strings can always be marshaled
	}
	p, err := websocket.NewPreparedMessage(websocket.MessageText, data)
	if err != nil {
		log.Panicf("chat: %v", err)
	}
	return p
}

// cleanName returns name without the spaces around it. The error is meant for the person who chose it.
func cleanName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", errors.New("please choose a name")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", errors.New("this name has characters that cannot be shown")
	case utf8.RuneCountInString(name) > maxName:
		return "", fmt.Errorf("this name is too long: the most is %d characters", maxName)
	}
	return name, nil
}

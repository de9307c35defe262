package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/wsjson"
)

const (
	maxInput       = 8 << 10         // bytes of a message from the page; its text has at most 1000 characters
	maxName        = 32              // bytes
	kept           = 100             // messages, for those who come back
	recent         = 20              // messages that a newcomer gets
	publishTimeout = 5 * time.Second // for the engine to take a message
)

// talk is the topic of the hubs of all nodes.
const talk = "talk"

// An event is what a node tells the page.
type event struct {
	Type     string `json:"type"`               // hello, message, people, joined, left, engine, failed
	Node     string `json:"node,omitempty"`     // hello; message, joined, left: where it happened
	Position string `json:"position,omitempty"` // message, hello: where to go on after it
	Previous uint64 `json:"previous,omitempty"` // message: the offset of the one before it

	Name   string   `json:"name,omitempty"`   // hello, message, joined, left
	Text   string   `json:"text,omitempty"`   // message; failed: what could not be sent
	At     int64    `json:"at,omitempty"`     // message: milliseconds since 1970
	People []person `json:"people,omitempty"` // people: all who are here, on any node
	Count  int      `json:"count,omitempty"`  // people, joined, left: how many they are now

	Engine  string `json:"engine,omitempty"`  // hello: its name
	Lost    bool   `json:"lost,omitempty"`    // hello, engine: the node has lost it
	Resumed bool   `json:"resumed,omitempty"` // hello: the messages that follow are all that were missed
	Missed  int    `json:"missed,omitempty"`  // hello: how many of the messages that follow are not new
}

// A person is one open page.
type person struct {
	Name string `json:"name"`
	Node string `json:"node"`
}

// A node is one server of the cluster.
type node struct {
	name   string // set before the node serves
	engine string
	hub    *hub.Hub

	mu   sync.Mutex
	here map[*hub.Subscriber]bool // guarded by mu: those on this node
	lost bool                     // guarded by mu: the engine is
}

func newNode(name, engine string, b hub.Broker) *node {
	n := &node{name: name, engine: engine, here: make(map[*hub.Subscriber]bool)}
	n.hub = hub.New(&hub.Options{
		Broker:     b,
		OnBroker:   n.onBroker,
		Encode:     encode,
		History:    hub.History{Messages: kept},
		PresenceOf: func(topic string) bool { return topic == talk },
		OnPresence: onPresence,
	})
	return n
}

// onPresence tells the pages of this node who is here, on any node. The data of
// a member is the name of its node.
func onPresence(e hub.PresenceEvent) (websocket.MessageType, []byte) {
	told := event{Count: e.Count, Name: e.Member.ID, Node: string(e.Member.Data)}
	switch e.Kind {
	case hub.PresenceState:
		told.Type = "people"
		for _, m := range e.Members { // none if they are very many
			told.People = append(told.People, person{Name: m.ID, Node: string(m.Data)})
		}
	case hub.PresenceJoin:
		told.Type = "joined"
	case hub.PresenceLeave:
		told.Type = "left"
	}
	return websocket.MessageText, marshal(told)
}

// encode puts the position into a message, which is a JSON object, so that the
// page can go on after it. All nodes can tell what is behind it, if the engine
// keeps it for them (core NATS does not). The page sees by the offset before it
// that a message is missing. That stays below 2^53, which JavaScript can hold.
func encode(dst []byte, m hub.Message) []byte {
	fields, isObject := bytes.CutPrefix(m.Data, []byte("{"))
	if m.Position.IsZero() || !isObject { // other programs may publish, too
		return append(dst, m.Data...)
	}
	dst = append(dst, `{"position":"`...)
	dst, _ = m.Position.AppendText(dst)
	dst = append(dst, `","previous":`...)
	dst = strconv.AppendUint(dst, m.Previous, 10)
	if !bytes.HasPrefix(bytes.TrimSpace(fields), []byte("}")) {
		dst = append(dst, ',')
	}
	return append(dst, fields...)
}

// onBroker tells all pages of this node that the engine is lost, or back. It
// does not wait for any of them.
func (n *node) onBroker(e hub.BrokerEvent) {
	if e.Kind != hub.BrokerLost && e.Kind != hub.BrokerRecovered {
		log.Printf("cluster: %v of topic %q: %v", e.Kind, e.Topic, e.Err) // the engine is as it was
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost = e.Kind == hub.BrokerLost
	data := marshal(event{Type: "engine", Lost: n.lost})
	for s := range n.here {
		s.Send(websocket.MessageText, data) // fails if the connection has ended, and so has the client
	}
}

// serve runs one connection from beginning to end:
// GET /ws?name=NAME&after=POSITION.
func (n *node) serve(c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	query := r.URL.Query()
	name := strings.TrimSpace(query.Get("name"))
	after, err := hub.ParsePosition(query.Get("after"))
	switch {
	case err != nil:
		c.Close(websocket.StatusPolicyViolation, err.Error())
		return
	case name == "" || len(name) > maxName:
		c.Close(websocket.StatusPolicyViolation, "the name is missing or too long")
		return
	}
	s := n.hub.JoinAs(c, hub.Member{ID: name, Data: []byte(n.name)})
	defer n.leave(s)
	if err := n.join(r.Context(), s, name, after); err != nil {
		c.Close(websocket.StatusTryAgainLater, "the node cannot be reached by the others")
		return
	}
	for {
		var said struct {
			Text string `json:"text"`
		}
		if err := wsjson.Read(r.Context(), c, &said); err != nil {
			return // the connection is closed, or closes now
		}
		if text := strings.TrimSpace(said.Text); text != "" {
			// It comes back to this node, and this page, as to all others:
			// through the engine.
			err := n.publish(talk, event{Type: "message", Node: n.name, Name: name, Text: text, At: time.Now().UnixMilli()})
			if err != nil {
				s.Send(websocket.MessageText, marshal(event{Type: "failed", Text: text}))
			}
		}
	}
}

// join subscribes s. The engine may have to be asked, so ctx should end with
// the connection.
func (n *node) join(ctx context.Context, s *hub.Subscriber, name string, after hub.Position) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	hello := event{Type: "hello", Node: n.name, Name: name, Engine: n.engine}
	n.mu.Lock()
	n.here[s] = true
	hello.Lost = n.lost // if that changes before s gets its greeting, it is told of the change first, and again below
	n.mu.Unlock()
	if _, err := s.SubscribeFrom(ctx, talk, hub.SubscribeOptions{
		After:  after,
		Recent: recent,
		Greet: func(st hub.SubscribeResult) (websocket.MessageType, []byte) {
			hello.Resumed, hello.Missed = st.Complete && !after.IsZero(), st.Messages
			if !hello.Resumed {
				hello.Position = st.Position.String()
			}
			return websocket.MessageText, marshal(hello)
		},
	}); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lost != hello.Lost {
		s.Send(websocket.MessageText, marshal(event{Type: "engine", Lost: n.lost}))
	}
	return nil
}

func (n *node) leave(s *hub.Subscriber) {
	s.Leave()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.here, s)
}

// publish hands e to the engine. The error says that it has not taken it, or
// not in time.
func (n *node) publish(topic string, e event) error {
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	return n.hub.Publish(ctx, topic, websocket.MessageText, marshal(e))
}

func marshal(e event) []byte {
	data, err := json.Marshal(e)
	if err != nil {
		log.Panicf("cluster: %v", err) // strings and numbers can always be marshaled
	}
	return data
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log"
	"net/http"
	"slices"
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
	recent         = 20              // messages that somebody new gets
	publishTimeout = 5 * time.Second // for the engine to take a message
	announceEvery  = 2 * time.Second // how often a node says who is there
)

// Topics of the hubs of all nodes.
const (
	talk   = "talk"
	people = "people"
)

// An event is what a node tells the page. Those of type message and people come from any node.
type event struct {
	Type     string `json:"type"` // hello, message, people, engine, failed
	Node     string `json:"node,omitempty"`
	Position string `json:"position,omitempty"` // message: where to go on after it

	Name   string   `json:"name,omitempty"`   // message
	Text   string   `json:"text,omitempty"`   // message; failed: what could not be sent
	At     int64    `json:"at,omitempty"`     // message: milliseconds since 1970
	People []string `json:"people,omitempty"` // people: all who are on that node

	Engine  string `json:"engine,omitempty"`  // hello: its name
	Lost    bool   `json:"lost,omitempty"`    // hello, engine: the node has lost it
	Resumed bool   `json:"resumed,omitempty"` // hello: the messages that follow are all that were missed
	Missed  int    `json:"missed,omitempty"`  // hello: how many of the messages that follow are not new
}

// A node is one server of the cluster.
type node struct {
	name   string // set before the node serves
	engine string
	every  time.Duration // between two announcements
	hub    *hub.Hub

	changed chan struct{} // somebody has come or gone since run looked; room for one

	mu   sync.Mutex
	here map[*hub.Subscriber]string // guarded by mu: the names of those on this node
	lost bool                       // guarded by mu: the engine is
}

func newNode(name, engine string, b hub.Broker) *node {
	n := &node{
		name:    name,
		engine:  engine,
		every:   announceEvery,
		here:    make(map[*hub.Subscriber]string),
		changed: make(chan struct{}, 1),
	}
	n.hub = hub.New(&hub.Options{
		Broker:   b,
		OnBroker: n.onBroker,
		Encode:   encode,
		HistoryOf: func(topic string) hub.History {
			if topic == talk {
				return hub.History{Messages: kept}
			}
			return hub.History{}
		},
	})
	return n
}

// encode puts the position into a message, which is a JSON object, so that the page can go on after it. All nodes can
// tell what is behind it, if the engine counts for them (Redis and memory do).
func encode(dst []byte, m hub.Message) []byte {
	fields, isObject := bytes.CutPrefix(m.Data, []byte("{"))
	if m.Position.IsZero() || !isObject { // other programs may publish, too
		return append(dst, m.Data...)
	}
	dst = append(dst, `{"position":"`...)
	dst, _ = m.Position.AppendText(dst)
	dst = append(dst, '"')
	if !bytes.HasPrefix(bytes.TrimSpace(fields), []byte("}")) {
		dst = append(dst, ',')
	}
	return append(dst, fields...)
}

// onBroker tells all pages of this node that the engine is lost, or back. It does not wait for any of them.
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
		s.Send(websocket.MessageText, data) // fails if the connection has ended: then there is nobody to tell
	}
	n.wake() // the others have not heard of us meanwhile
}

// wake makes run announce who is here.
func (n *node) wake() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// run tells the pages of all nodes who is on this one: when somebody comes or goes, and every few seconds, for those
// pages that are new, or have missed it. A node that is not heard of for longer is gone, as far as a page is
// concerned: no node keeps a list of the others. It is one goroutine that does it, so that the last announcement is
// the newest.
func (n *node) run(ctx context.Context) {
	ticker := time.NewTicker(n.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			n.announce([]string{}) // good bye
			return
		case <-ticker.C:
		case <-n.changed:
		}
		n.announce(n.names())
	}
}

func (n *node) announce(names []string) {
	n.publish(people, event{Type: "people", Node: n.name, People: names}) // if the engine is lost, there is a next time
}

// names returns who is on this node, sorted.
func (n *node) names() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for _, name := range n.here {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// serve runs one connection from beginning to end: GET /ws?name=NAME&after=POSITION.
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
	s := n.hub.Join(c)
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
			// It comes back to this node, and this page, as to all others: through the engine.
			err := n.publish(talk, event{Type: "message", Node: n.name, Name: name, Text: text, At: time.Now().UnixMilli()})
			if err != nil {
				s.Send(websocket.MessageText, marshal(event{Type: "failed", Text: text}))
			}
		}
	}
}

// join subscribes s to all that there is. The engine may have to be asked, so ctx should end with the connection.
func (n *node) join(ctx context.Context, s *hub.Subscriber, name string, after hub.Position) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	hello := event{Type: "hello", Node: n.name, Name: name, Engine: n.engine}
	n.mu.Lock()
	n.here[s] = name
	hello.Lost = n.lost // if that changes before s gets its greeting, it is told of the change first, and again below
	n.mu.Unlock()
	if _, err := s.SubscribeFrom(ctx, talk, hub.SubscribeOptions{
		After:  after,
		Recent: recent,
		Greet: func(st hub.SubscribeResult) (websocket.MessageType, []byte) {
			hello.Resumed, hello.Missed = st.Complete && !after.IsZero(), st.Messages
			return websocket.MessageText, marshal(hello)
		},
	}); err != nil {
		return err
	}
	if err := s.Subscribe(ctx, people); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lost != hello.Lost {
		s.Send(websocket.MessageText, marshal(event{Type: "engine", Lost: n.lost}))
	}
	n.wake()
	return nil
}

func (n *node) leave(s *hub.Subscriber) {
	s.Leave()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.here, s)
	n.wake()
}

// publish hands e to the engine. The error says that it has not taken it, or not in time.
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

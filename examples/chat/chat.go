package main

import (
	"cmp"
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
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/wsjson"
)

const (
	maxMessage  = 8 << 10 // bytes of a message from the page; its text has at most 1000 characters
	maxName     = 32      // characters, of a person or a room
	queueLength = 64      // messages that may wait for one member, who is dropped when there are more
	kept        = 100     // messages of each room, for those who come back
	recent      = 20      // messages that a new member gets
	shownRooms  = 50
	firstRoom   = "Lobby"
)

// Topics of the hub. What was said in a room has a topic with a history; who
// comes and goes has one without.
const (
	talk  = "talk/"
	who   = "who/"
	rooms = "rooms"
)

// An event is what the server tells the page.
type event struct {
	Type     string `json:"type"`               // hello (to the new member itself), joined, left, message, rooms
	Name     string `json:"name,omitempty"`     // of whom it tells
	Text     string `json:"text,omitempty"`     // message
	At       int64  `json:"at,omitempty"`       // message: when it was said, in milliseconds since 1970
	Position string `json:"position,omitempty"` // message: where to go on after it

	Room    string   `json:"room,omitempty"`    // hello: the room that the member is in from now on
	People  []string `json:"people,omitempty"`  // hello: all members here, sorted
	Resumed bool     `json:"resumed,omitempty"` // hello: the messages that follow are all that were missed
	Missed  int      `json:"missed,omitempty"`  // hello: how many of the messages that follow are not new

	Rooms []room `json:"rooms,omitempty"` // rooms: those with people in them, the fullest first
}

type room struct {
	Name   string `json:"name"`
	People int    `json:"people"`
}

// A chat passes what is said in a room to all who are in it.
type chat struct {
	hub *hub.Hub

	// mu makes one step of coming and going and of telling it: so each member's
	// list of who is here is right.
	mu    sync.Mutex
	rooms map[string]map[*member]bool // guarded by mu; no room is empty
}

// A member is a connection in a room.
type member struct {
	s    *hub.Subscriber
	room string // guarded by the chat's mu
	name string // guarded by the chat's mu
}

func newChat() *chat {
	return &chat{
		hub: hub.New(&hub.Options{
			QueueMessages: queueLength,
			HistoryOf: func(topic string) hub.History {
				if strings.HasPrefix(topic, talk) {
					return hub.History{Messages: kept}
				}
				return hub.History{}
			},
			Encode: encode,
		}),
		rooms: make(map[string]map[*member]bool),
	}
}

// encode puts the position into a message, which is a JSON object, so that the
// page can go on after it.
func encode(dst []byte, m hub.Message) []byte {
	if m.Position.IsZero() {
		return append(dst, m.Data...)
	}
	dst = append(dst, `{"position":"`...)
	dst, _ = m.Position.AppendText(dst)
	return append(append(dst, `",`...), m.Data[1:]...)
}

// serve runs one connection from beginning to end: GET
// /ws?name=NAME&room=ROOM&after=POSITION.
func (c *chat) serve(conn *websocket.Conn, r *http.Request) {
	defer conn.CloseNow()
	query := r.URL.Query()
	name, err := cleanName(query.Get("name"))
	if err == nil {
		err = c.talk(r.Context(), conn, name, cmp.Or(query.Get("room"), firstRoom), query.Get("after"))
	}
	if refused := refusal(""); errors.As(err, &refused) {
		// A page cannot see why a handshake was refused, but it can see a close
		// code and reason.
		conn.Close(websocket.StatusPolicyViolation, refused.Error())
	}
}

// talk lets a member take part until the connection ends. An error is a
// refusal, or the connection's.
func (c *chat) talk(ctx context.Context, conn *websocket.Conn, name, room, after string) error {
	m := &member{s: c.hub.Join(conn)}
	defer c.leave(m)
	if err := m.s.Subscribe(ctx, rooms); err != nil {
		return err
	}
	if err := c.enter(ctx, m, name, room, after); err != nil {
		return err
	}
	for {
		var said struct {
			Text  string `json:"text"`
			Enter string `json:"enter"` // another room
		}
		if err := wsjson.Read(ctx, conn, &said); err != nil {
			return err // the connection is closed, or closes now
		}
		if said.Enter != "" {
			if err := c.enter(ctx, m, name, said.Enter, ""); err != nil {
				return err
			}
		}
		if text := strings.TrimSpace(said.Text); text != "" {
			c.say(m, text)
		}
	}
}

// enter takes m out of its room and into another, under a name that no other
// member has there. It tells the members of both rooms. The argument after is
// the position in the room's messages up to which m has them, or empty.
func (c *chat) enter(ctx context.Context, m *member, name, room, after string) error {
	room, err := cleanName(room)
	if err != nil {
		return err
	}
	from, err := hub.ParsePosition(after)
	if err != nil {
		return refusal(err.Error())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveLocked(m)
	m.name, m.room = name, room
	for i := 2; slices.Contains(c.namesLocked(room), m.name); i++ {
		m.name = fmt.Sprintf("%s (%d)", name, i)
	}
	c.tell(who+room, event{Type: "joined", Name: m.name})
	if c.rooms[room] == nil {
		c.rooms[room] = make(map[*member]bool)
	}
	c.rooms[room][m] = true
	hello := event{Type: "hello", Name: m.name, Room: room, People: c.namesLocked(room)}
	if _, err := m.s.SubscribeFrom(ctx, talk+room, hub.SubscribeOptions{
		After:  from,
		Recent: recent,
		Greet: func(st hub.SubscribeResult) (websocket.MessageType, []byte) {
			hello.Resumed, hello.Missed = st.Complete && !from.IsZero(), st.Messages
			return websocket.MessageText, marshal(hello)
		},
	}); err != nil {
		return err
	}
	if err := m.s.Subscribe(ctx, who+room); err != nil {
		return err
	}
	c.tellRoomsLocked()
	return nil
}

// leave takes m out of the chat and tells the others.
func (c *chat) leave(m *member) {
	m.s.Leave()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaveLocked(m) {
		c.tellRoomsLocked()
	}
}

// leaveLocked takes m out of the room that it is in, if any, and tells those
// who are still there.
func (c *chat) leaveLocked(m *member) bool {
	members := c.rooms[m.room]
	if !members[m] {
		return false
	}
	m.s.Unsubscribe(talk+m.room, who+m.room)
	if delete(members, m); len(members) == 0 {
		delete(c.rooms, m.room)
	}
	c.tell(who+m.room, event{Type: "left", Name: m.name})
	return true
}

func (c *chat) say(m *member, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell(talk+m.room, event{Type: "message", Name: m.name, Text: text, At: time.Now().UnixMilli()})
}

// tellRoomsLocked tells all members which rooms there are.
func (c *chat) tellRoomsLocked() {
	var all []room
	for name, members := range c.rooms {
		all = append(all, room{name, len(members)})
	}
	slices.SortFunc(all, func(a, b room) int { return cmp.Or(b.People-a.People, cmp.Compare(a.Name, b.Name)) })
	c.tell(rooms, event{Type: "rooms", Rooms: all[:min(len(all), shownRooms)]})
}

// tell sends e to all who have the topic. It does not wait for them.
func (c *chat) tell(topic string, e event) {
	if err := c.hub.Publish(context.Background(), topic, websocket.MessageText, marshal(e)); err != nil {
		log.Panicf("chat: %v", err) // without a broker it fails only when the hub is closed
	}
}

// namesLocked returns the names of those in a room, sorted.
func (c *chat) namesLocked(room string) []string {
	var names []string
	for m := range c.rooms[room] {
		names = append(names, m.name)
	}
	slices.Sort(names)
	return names
}

func marshal(e event) []byte {
	data, err := json.Marshal(e)
	if err != nil {
		log.Panicf("chat: %v", err) // strings and numbers can always be marshaled
	}
	return data
}

// A refusal is an error that is meant for the person at the page.
type refusal string

func (r refusal) Error() string { return string(r) }

// cleanName returns the name of a person or a room without the spaces around
// it. The error is a refusal.
func cleanName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", refusal("please choose a name")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", refusal("this name has characters that cannot be shown")
	case utf8.RuneCountInString(name) > maxName:
		return "", refusal(fmt.Sprintf("this name is too long: the most is %d characters", maxName))
	}
	return name, nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/wsjson"
)

const (
	maxInput  = 1 << 10 // bytes of a message from the page
	maxText   = 500     // characters of a notification
	maxUnread = 50      // notifications of one user: the oldest is forgotten
	maxUsers  = 1000    // with unread notifications
)

// A notification is for one user.
type notification struct {
	ID   int    `json:"id"`
	From string `json:"from"`
	Text string `json:"text"`
	At   int64  `json:"at"` // milliseconds since 1970
}

// An event is what the server tells a page.
type event struct {
	Type         string         `json:"type"`                   // hello, notification, dismissed
	User         string         `json:"user,omitempty"`         // hello
	Unread       []notification `json:"unread,omitempty"`       // hello
	Notification *notification  `json:"notification,omitempty"` // notification
	ID           int            `json:"id,omitempty"`           // dismissed
}

// A notifier knows who is signed in and what they have not read.
type notifier struct {
	token string
	hub   *hub.Hub // has a topic for each user who has a page open: the user's name

	// mu makes one step of a change to what is unread and of telling it. So a
	// page that opens gets each notification once, in its first message or
	// after it.
	mu       sync.Mutex
	sessions map[string]string          // guarded by mu: who is signed in, by the session's key
	pages    map[*hub.Subscriber]string // guarded by mu: the key of each open page's session
	unread   map[string][]notification  // guarded by mu: by user
	lastID   int                        // guarded by mu
}

func newNotifier(token string) *notifier {
	return &notifier{
		token:    token,
		hub:      hub.New(nil),
		sessions: make(map[string]string),
		pages:    make(map[*hub.Subscriber]string),
		unread:   make(map[string][]notification),
	}
}

// sockets lets only those in who have signed in: it looks at the request before
// the connection is upgraded.
type sockets struct {
	*websocket.Server
	n *notifier
}

func (s sockets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.n.user(r); !ok {
		http.Error(w, "sign in first", http.StatusUnauthorized)
		return
	}
	s.Server.ServeHTTP(w, r)
}

// serve runs one connection from beginning to end.
func (n *notifier) serve(c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	s := n.hub.Join(c)
	defer n.leave(s)
	user, err := n.join(r, s)
	if err != nil {
		c.Close(websocket.StatusPolicyViolation, err.Error())
		return
	}
	for {
		var in struct {
			Dismiss int `json:"dismiss"`
		}
		if err := wsjson.Read(r.Context(), c, &in); err != nil {
			return // the connection is closed, or closes now
		}
		n.dismiss(user, in.Dismiss)
	}
}

var errSignedOut = errors.New("you have signed out")

// join tells a page what is unread, and whatever comes from now on.
func (n *notifier) join(r *http.Request, s *hub.Subscriber) (user string, err error) {
	key := sessionKey(r)
	n.mu.Lock()
	defer n.mu.Unlock()
	user, ok := n.sessions[key]
	if !ok {
		return "", errSignedOut // since sockets looked
	}
	n.pages[s] = key
	if err := s.Send(websocket.MessageText, marshal(event{Type: "hello", User: user, Unread: n.unread[user]})); err != nil {
		return "", err
	}
	return user, s.Subscribe(r.Context(), user)
}

func (n *notifier) leave(s *hub.Subscriber) {
	s.Leave()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pages, s)
}

var errTooMany = errors.New("too many users have unread notifications")

// send keeps a notification for a user and sends it to all pages that the user
// has open. It returns how many.
func (n *notifier) send(user, from, text string) (pages int, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	unread := n.unread[user]
	if unread == nil && len(n.unread) == maxUsers {
		return 0, errTooMany
	}
	if len(unread) == maxUnread {
		unread = unread[1:]
	}
	n.lastID++
	note := notification{n.lastID, from, text, time.Now().UnixMilli()}
	n.unread[user] = append(slices.Clone(unread), note)
	n.tellLocked(user, event{Type: "notification", Notification: &note})
	return n.hub.Subscriptions(user), nil
}

// dismiss forgets a notification, on all pages of the user.
func (n *notifier) dismiss(user string, id int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	left := slices.DeleteFunc(n.unread[user], func(note notification) bool { return note.ID == id })
	if n.unread[user] = left; len(left) == 0 {
		delete(n.unread, user)
	}
	n.tellLocked(user, event{Type: "dismissed", ID: id})
}

// tellLocked sends e to all pages of a user. It waits for no page.
func (n *notifier) tellLocked(user string, e event) {
	if err := n.hub.Publish(context.Background(), user, websocket.MessageText, marshal(e)); err != nil {
		log.Panicf("notify: %v", err) // without a broker it fails only when the hub is closed
	}
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		log.Panicf("notify: %v", err) // strings and numbers can always be marshaled
	}
	return data
}

package main

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed70bc5565/websocket"
)

const (
	maxForm     = 8 << 10 // bytes
	maxName     = 32      // characters
	maxSessions = 1000
)

// cookieName is the cookie that a page's requests, the WebSocket handshake
// among them, carry by themselves. Browsers send it with those of other sites'
// pages too, to a host that they may connect to. That is why websocket.Handler
// checks the Origin of the handshake. Over HTTPS it would be __Host-session,
// and Secure.
const cookieName = "session"

func sessionKey(r *http.Request) string {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return ""
	}
	return c.Value
}

// user returns who has sent a request.
func (n *notifier) user(r *http.Request) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	user, ok := n.sessions[sessionKey(r)]
	return user, ok
}

// session tells a page who is signed in: GET /session.
func (n *notifier) session(w http.ResponseWriter, r *http.Request) {
	user, _ := n.user(r)
	respond(w, map[string]string{"user": user})
}

// signIn believes what it is told: an example has no passwords. POST /session,
// user=NAME.
func (n *notifier) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	user, err := cleanName(r.FormValue("user"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	key := rand.Text()
	n.mu.Lock()
	if len(n.sessions) >= maxSessions {
		n.mu.Unlock()
		http.Error(w, "too many people are signed in", http.StatusServiceUnavailable)
		return
	}
	n.sessions[key] = user
	n.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: key, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	respond(w, map[string]string{"user": user})
}

// signOut ends the session, and the connections of its pages: DELETE /session.
func (n *notifier) signOut(w http.ResponseWriter, r *http.Request) {
	key := sessionKey(r)
	n.mu.Lock()
	delete(n.sessions, key)
	for page, session := range n.pages {
		if session == key {
			page.Close(websocket.StatusPolicyViolation, errSignedOut.Error()) // does not wait
		}
	}
	n.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	w.WriteHeader(http.StatusNoContent)
}

// notify is for programs that know the token, and for pages of those who are
// signed in: POST /notify, user=NAME, text=TEXT. It answers on how many pages
// the notification is.
func (n *notifier) notify(w http.ResponseWriter, r *http.Request) {
	from, ok := n.user(r)
	if token, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); is {
		ok = subtle.ConstantTimeCompare([]byte(token), []byte(n.token)) == 1
		from = "a program"
	}
	if !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "sign in, or give the token that the server has printed", http.StatusUnauthorized)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	user, err := cleanName(r.FormValue("user"))
	text := strings.TrimSpace(r.FormValue("text"))
	if err == nil && (text == "" || !utf8.ValidString(text) || utf8.RuneCountInString(text) > maxText) {
		err = fmt.Errorf("text must have 1 to %d characters", maxText)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pages, err := n.send(user, from, text)
	if err != nil {
		w.Header().Set("Retry-After", fmt.Sprint(int(time.Minute/time.Second)))
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	respond(w, map[string]int{"pages": pages})
}

func respond(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(append(marshal(v), '\n')) // an error is the client's end
}

// cleanName returns a user's name without the spaces around it.
func cleanName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", errors.New("user is missing")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", errors.New("this name has characters that cannot be shown")
	case utf8.RuneCountInString(name) > maxName:
		return "", fmt.Errorf("this name is too long: the most is %d characters", maxName)
	}
	return name, nil
}

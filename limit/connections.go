package limit

import (
	"net"
	"net/http"
	"sync"

	"github.com/seed70bc5565/websocket"
)

// Connections bounds how many connections each client has at a time. All fields
// but Max may be left out. They must not be changed while it is in use. Its
// methods may be called concurrently.
type Connections struct {
	// Max is the most connections with the same key. Zero or negative: no
	// limit.
	Max int
	// Key returns what a client is known by, such as the user of its cookie.
	// Clients with the key "" are not limited. Default: [RemoteHost].
	Key func(r *http.Request) string

	// Code and Reason go into the close frame of a connection past Max.
	// Default: StatusTryAgainLater and "too many connections".
	// StatusPolicyViolation tells a client not to come back by itself. They
	// must be valid for [websocket.Conn.Close].
	Code   websocket.StatusCode
	Reason string

	// OnRefused is called for each connection past Max, with its key and its
	// request. It may be nil.
	OnRefused func(key string, r *http.Request)

	mu   sync.Mutex
	open map[string]int // guarded by mu; no count is 0
}

// RemoteHost returns the address of the client without its port. Behind a proxy
// that is the proxy's: use a Key that reads the header that the proxy sets. An
// IPv6 client often has more than one address: a Key may cut it to its first 64
// bits.
func RemoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// Serve returns a function for [websocket.Handler] that calls serve as long as
// the client of the request has not too many connections. One too many is
// closed, after its handshake, so that a browser's page can see the code and
// the reason.
func (l *Connections) Serve(serve func(*websocket.Conn, *http.Request)) func(*websocket.Conn, *http.Request) {
	return func(c *websocket.Conn, r *http.Request) {
		release, ok := l.Acquire(r)
		if !ok {
			code, reason := l.Code, l.Reason
			if code == 0 {
				code = websocket.StatusTryAgainLater
			}
			if reason == "" {
				reason = "too many connections"
			}
			c.Close(code, reason)
			return
		}
		defer release()
		serve(c, r)
	}
}

// Acquire counts a connection, for handlers that want to refuse the handshake
// with a status of their own. If ok is true, the caller must call release when
// the connection has ended. More calls of release do nothing. If ok is false,
// release does nothing.
func (l *Connections) Acquire(r *http.Request) (release func(), ok bool) {
	key := ""
	if l.Max > 0 {
		key = l.key(r)
	}
	if key == "" {
		return func() {}, true
	}
	l.mu.Lock()
	ok = l.open[key] < l.Max
	if ok {
		if l.open == nil {
			l.open = make(map[string]int)
		}
		l.open[key]++
	}
	l.mu.Unlock()
	if !ok {
		if l.OnRefused != nil {
			l.OnRefused(key, r)
		}
		return func() {}, false
	}
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.open[key]--; l.open[key] == 0 {
			delete(l.open, key)
		}
	}), true
}

func (l *Connections) key(r *http.Request) string {
	if l.Key != nil {
		return l.Key(r)
	}
	return RemoteHost(r)
}

// Open returns how many connections the key has.
func (l *Connections) Open(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[key]
}

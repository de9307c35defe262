package websocket

import (
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	native "github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/bridge"
	"github.com/seed70bc5565/websocket/internal/field"
)

// An Upgrader turns HTTP requests into connections. The zero value is ready to
// use. Its methods may be called concurrently.
type Upgrader struct {
	// HandshakeTimeout bounds the write of the response. Default: 10 seconds.
	HandshakeTimeout time.Duration

	// ReadBufferSize is accepted and not needed. WriteBufferSize is how many
	// bytes a writer of [Conn.NextWriter] gathers before it sends a fragment.
	// Default: 4096.
	ReadBufferSize, WriteBufferSize int

	// WriteBufferPool is accepted and not needed: an idle connection has no
	// buffer.
	WriteBufferPool BufferPool

	// Subprotocols are those that the server speaks, in its order of
	// preference. The first that the client offers too is chosen. If it is nil
	// the field Sec-Websocket-Protocol of the response header is sent.
	Subprotocols []string

	// Error responds to a request that is refused; reason is a
	// [HandshakeError]. Default: [http.Error] with the text of the status.
	Error func(w http.ResponseWriter, r *http.Request, status int, reason error)

	// CheckOrigin reports whether the page that makes the request may connect.
	// Default: requests without an Origin header, and those whose Origin has
	// the host of the request, may.
	CheckOrigin func(r *http.Request) bool

	// EnableCompression says whether messages are compressed (RFC 7692),
	// without context takeover, if the client offers it.
	EnableCompression bool

	// Trace is told of the handshake and of the connection. Package gorilla
	// does not have it.
	Trace *native.Trace
}

// Upgrade responds to a WebSocket handshake, and returns the connection. The
// fields of responseHeader are sent with the response, with a space in place of
// each control character; those of w.Header are not. The handler may return
// while the connection is in use.
//
// When the request is refused the client has been answered with a status of 4xx
// or 5xx by [Upgrader.Error], and the error is a [HandshakeError].
func (u *Upgrader) Upgrade(w http.ResponseWriter, r *http.Request, responseHeader http.Header) (*Conn, error) {
	if u.Trace != nil && u.Trace.Handshake != nil {
		if ctx := u.Trace.Handshake(r); ctx != nil {
			r = r.WithContext(ctx)
		}
	}
	panicked := true
	defer func() {
		if panicked {
			u.refused(r, 0, errHandshakePanicked)
		}
	}()
	handshake, status, reason := u.check(r, responseHeader)
	panicked = false
	if status != 0 {
		return u.refuse(w, r, status, reason)
	}
	conn, buffers, err := http.NewResponseController(w).Hijack()
	switch {
	case errors.Is(err, http.ErrNotSupported) && !hijacks(w):
		return u.refuse(w, r, http.StatusInternalServerError, "websocket: response does not implement http.Hijacker")
	case err != nil:
		return u.refuse(w, r, http.StatusInternalServerError, err.Error())
	}
	if u.Trace != nil {
		handshake.Observe(r.Context(), u.Trace)
	}
	ws, err := handshake.Respond(conn, buffers, u.subprotocol(r, responseHeader), withoutControls(responseHeader), u.HandshakeTimeout)
	if err != nil {
		conn.Close()
		err = bare(err)
		u.refused(r, 0, err)
		return nil, err
	}
	return newConn(ws.(*native.Conn), u.WriteBufferSize), nil
}

// hijacks reports whether w itself can be taken over: then the error of Hijack
// is its own.
func hijacks(w http.ResponseWriter) bool {
	_, ok := w.(http.Hijacker)
	return ok
}

// withoutControls returns h with a space in place of each control character in
// a value, as gorilla does. A line break would begin another field. h itself is
// not changed.
func withoutControls(h http.Header) http.Header {
	isControl := func(c rune) bool { return c < ' ' || c == 0x7f }
	clean := h
	for name, values := range h {
		for i, value := range values {
			if strings.IndexFunc(value, isControl) < 0 {
				continue
			}
			if len(clean[name]) > 0 && &clean[name][0] == &values[0] {
				clean = maps.Clone(clean)
				clean[name] = slices.Clone(values)
			}
			b := []byte(value) // which need not be UTF-8
			for j := range b {
				if isControl(rune(b[j])) {
					b[j] = ' '
				}
			}
			clean[name][i] = string(b)
		}
	}
	return clean
}

// check decides on a request. A refusal has a status.
func (u *Upgrader) check(r *http.Request, responseHeader http.Header) (h bridge.Handshake, status int, reason string) {
	const not = "websocket: the client is not using the websocket protocol: "
	_, extends := responseHeader["Sec-Websocket-Extensions"]
	switch {
	case !field.HasToken(r.Header["Connection"], "upgrade"):
		return nil, http.StatusBadRequest, not + "'upgrade' token not found in 'Connection' header"
	case !field.HasToken(r.Header["Upgrade"], "websocket"):
		return nil, http.StatusBadRequest, not + "'websocket' token not found in 'Upgrade' header"
	case r.Method != http.MethodGet:
		return nil, http.StatusMethodNotAllowed, not + "request method is not GET"
	case !field.HasToken(r.Header["Sec-Websocket-Version"], "13"):
		return nil, http.StatusBadRequest, "websocket: unsupported version: 13 not found in 'Sec-Websocket-Version' header"
	case extends:
		return nil, http.StatusInternalServerError, "websocket: application specific 'Sec-WebSocket-Extensions' headers are unsupported"
	case u.CheckOrigin != nil && !u.CheckOrigin(r), u.CheckOrigin == nil && !sameOrigin(r):
		return nil, http.StatusForbidden, "websocket: request origin not allowed by Upgrader.CheckOrigin"
	case !validKey(r.Header.Get("Sec-Websocket-Key")):
		return nil, http.StatusBadRequest, "websocket: not a websocket handshake: 'Sec-WebSocket-Key' header must be Base64 encoded value of 16-byte in length"
	}
	h, status, reason = bridge.Check(r, u.EnableCompression)
	if status != 0 {
		reason = "websocket: " + reason
	}
	return h, status, reason
}

// refused tells the Trace of a handshake that failed.
func (u *Upgrader) refused(r *http.Request, status int, err error) {
	if u.Trace != nil && u.Trace.Refused != nil {
		u.Trace.Refused(r.Context(), status, err)
	}
}

// refuse answers a request.
func (u *Upgrader) refuse(w http.ResponseWriter, r *http.Request, status int, reason string) (*Conn, error) {
	err := HandshakeError{reason}
	u.refused(r, status, err)
	if u.Error != nil {
		u.Error(w, r, status, err)
		return nil, err
	}
	w.Header().Set("Sec-Websocket-Version", "13")
	http.Error(w, http.StatusText(status), status)
	return nil, err
}

// subprotocol returns the subprotocol for the response.
func (u *Upgrader) subprotocol(r *http.Request, responseHeader http.Header) string {
	if u.Subprotocols == nil {
		return responseHeader.Get("Sec-Websocket-Protocol")
	}
	offered := Subprotocols(r)
	for _, ours := range u.Subprotocols {
		for _, theirs := range offered {
			if ours == theirs {
				return ours
			}
		}
	}
	return ""
}

// Upgrade is [Upgrader.Upgrade] for every origin. A request that is refused is
// not answered: the caller does it.
//
// Deprecated: use an [Upgrader].
func Upgrade(w http.ResponseWriter, r *http.Request, responseHeader http.Header, readBufSize, writeBufSize int) (*Conn, error) {
	u := Upgrader{
		ReadBufferSize:  readBufSize,
		WriteBufferSize: writeBufSize,
		Error:           func(http.ResponseWriter, *http.Request, int, error) {},
		CheckOrigin:     func(*http.Request) bool { return true },
	}
	return u.Upgrade(w, r, responseHeader)
}

// Subprotocols returns the subprotocols that the client offers.
func Subprotocols(r *http.Request) []string {
	var names []string
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		names = appendList(names, line)
	}
	return names
}

// appendList appends the elements of a comma-separated list.
func appendList(names []string, line string) []string {
	for _, name := range strings.Split(line, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// IsWebSocketUpgrade reports whether r asks for a WebSocket connection.
func IsWebSocketUpgrade(r *http.Request) bool {
	return field.HasToken(r.Header["Connection"], "upgrade") && field.HasToken(r.Header["Upgrade"], "websocket")
}

// validKey reports whether key is the base64 of 16 bytes (RFC 6455, section
// 4.2.1).
func validKey(key string) bool {
	p, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(p) == 16
}

// sameOrigin reports whether the request has no Origin, or one with its own
// host.
func sameOrigin(r *http.Request) bool {
	origin := r.Header["Origin"]
	if len(origin) == 0 {
		return true
	}
	u, err := url.Parse(origin[0])
	return err == nil && field.EqualFold(u.Host, r.Host)
}

package httpfake

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
)

// Request parses the text of a request, whose lines end in LF here.
func Request(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n"))))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return r
}

// GoodRequest is the text of an opening handshake, without its last line break.
const GoodRequest = `GET /chat HTTP/1.1
Host: example.com
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Version: 13
`

// Edit replaces the line of text that begins with name, adds it if there is
// none, or takes it away if line is "".
func Edit(text, name, line string) string {
	var b strings.Builder
	found := false
	for _, l := range strings.SplitAfter(text, "\n") {
		if strings.HasPrefix(l, name) {
			found = true
			if l = line; l != "" {
				l += "\n"
			}
		}
		b.WriteString(l)
	}
	if !found {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// Smuggled reports whether head has a line that begins with X-Smuggled, or more
// than one end.
func Smuggled(head string) bool {
	lines := strings.FieldsFunc(head, func(r rune) bool { return r == '\r' || r == '\n' })
	for _, line := range lines {
		if strings.HasPrefix(line, "X-Smuggled") {
			return true
		}
	}
	return strings.ContainsAny(strings.ReplaceAll(head, "\r\n", ""), "\r\n\x00\x0b") || strings.Count(head, "\r\n\r\n") != 1
}

// RawServer serves handler and returns a connection to it.
func RawServer(t *testing.T, handler http.HandlerFunc) net.Conn {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

// A Hijacker is a ResponseWriter over one end of a pipe.
type Hijacker struct {
	http.ResponseWriter
	Conn     net.Conn
	Buffered string // read behind the request
	Unread   string // in the writer, which is discarded
	Err      error
}

// Hijack returns Conn, or Err if there is one.
func (h *Hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if h.Err != nil {
		return nil, nil, h.Err
	}
	br := bufio.NewReader(io.MultiReader(strings.NewReader(h.Buffered), h.Conn))
	if h.Buffered != "" {
		br.Peek(1)
	}
	bw := bufio.NewWriter(h.Conn)
	bw.WriteString(h.Unread)
	return h.Conn, bufio.NewReadWriter(br, bw), nil
}

// A SlowHijacker takes its time.
type SlowHijacker struct {
	*Hijacker
	Gate chan struct{} // Hijack waits for it
}

// Hijack is that of Hijacker, after Gate.
func (h SlowHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	<-h.Gate
	return h.Hijacker.Hijack()
}

// Refused checks that s, which has its maximum of connections or shuts down,
// refuses a request.
func Refused(t *testing.T, s http.Handler) {
	t.Helper()
	near, far := netfake.Pipe(netfake.Options{})
	defer far.Close()
	w := httptest.NewRecorder()
	s.ServeHTTP(&Hijacker{ResponseWriter: w, Conn: near}, Request(t, GoodRequest+"\n"))
	h := w.Header()
	if w.Code != http.StatusServiceUnavailable || h.Get("Retry-After") != "5" || h.Get("Connection") != "close" {
		t.Errorf("got %d %v, want a refusal", w.Code, h)
	}
}

// AnswerTo sends request to the other end of a connection that serve gets, and
// returns what comes back up to the end.
func AnswerTo(t *testing.T, request string, serve func(net.Conn)) string {
	t.Helper()
	near, far := netfake.Pipe(netfake.Options{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(far)
	}()
	go SendAll(near, request)
	got, err := io.ReadAll(near)
	if err != nil {
		t.Errorf("the answer %q ends with %v", got, err)
	}
	near.Close()
	<-done
	return string(got)
}

// SendAll sends request and nothing after it.
func SendAll(conn *netfake.Conn, request string) {
	io.WriteString(conn, request)
	conn.CloseWrite()
}

package websocket

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A HandshakeError is in the chain of Dial's error if, and only if, there was a response.
func TestHandshakeError(t *testing.T) {
	respond := func(status int, contentType, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("X-A", "1")
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	const plain = "text/plain; charset=utf-8"
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name    string
		handler http.Handler
		status  int
		body    string
		text    string // what the error ends with
	}{
		{"plain text", respond(403, plain, "no\nand no again"), 403, "no\nand no again", `not 101: "no"`},
		{"upper case", respond(403, "TEXT/Plain", "no"), 403, "no", `not 101: "no"`},
		{"control characters", respond(500, plain, "a\x1b[31mb\r\n"), 500, "a\x1b[31mb\r\n", `not 101: "a\x1b[31mb"`},
		{"long", respond(500, plain, long), 500, long, `: "` + long[:200] + `"...`},
		{"empty", respond(404, plain, ""), 404, "", "status 404 Not Found, not 101"},
		{"another type", respond(502, "text/html", "<html>"), 502, "<html>", "status 502 Bad Gateway, not 101"},
		{"a type that only begins so", respond(502, "text/plainer", "x"), 502, "x", "status 502 Bad Gateway, not 101"},
		{"wrong 101", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nX-A: 1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
			conn.Close()
		}), 101, "", "the response has no Sec-WebSocket-Accept header"},
	} {
		s := newServer(t, tt.handler, false)
		_, resp, err := Dial(t.Context(), s.URL, nil)
		var he *HandshakeError
		if !errors.As(err, &he) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if he.StatusCode != tt.status || he.Header.Get("X-A") != "1" || string(he.Body) != tt.body || resp.StatusCode != tt.status {
			t.Errorf("%s: got %d %v %q", tt.name, he.StatusCode, he.Header, he.Body)
		}
		if !strings.HasSuffix(err.Error(), tt.text) || !strings.HasPrefix(err.Error(), "websocket: dial: ") {
			t.Errorf("%s: %v, want it to end with %s", tt.name, err, tt.text)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != tt.body || err != nil {
			t.Errorf("%s: the response has the body %q, %v", tt.name, body, err)
		}
	}

	secure := newServer(t, http.RedirectHandler("http://localhost:1/", http.StatusFound), true)
	_, _, err := Dial(t.Context(), wsURL(secure), &DialOptions{HTTPClient: secure.Client()})
	var he *HandshakeError
	if !errors.As(err, &he) || he.StatusCode != 302 || he.Header.Get("Location") == "" {
		t.Errorf("a redirect that is not followed: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	for _, err := range []error{
		dialError(ctx, "ws://localhost:1/", nil),
		dialError(t.Context(), "ftp://localhost/", nil),
		dialError(t.Context(), "ws://localhost/", &DialOptions{HTTPClient: &http.Client{Transport: roundTripper(
			func(*http.Request) (*http.Response, error) { return nil, errRefused })}}),
	} {
		if err == nil || errors.As(err, &he) {
			t.Errorf("without a response: %v", err)
		}
	}
	if text := (&HandshakeError{}).Error(); text == "" {
		t.Error("the zero value has no text")
	}
}

func dialError(ctx context.Context, url string, opts *DialOptions) error {
	_, _, err := Dial(ctx, url, opts)
	return err
}

package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/examples/wasm/internal/message"
	"github.com/seed70bc5565/websocket/wsjson"
	"github.com/seed70bc5565/websocket/wstest"
)

// The page compiles for the browser.
func TestCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles packages of the standard library for js/wasm")
	}
	files, err := compile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(files.client, []byte("\x00asm")) || !bytes.Contains(files.starter, []byte("class")) {
		t.Errorf("the client has %d bytes, the starter %d", len(files.client), len(files.starter))
	}
	t.Logf("the client has %d bytes", len(files.client))
}

func TestPage(t *testing.T) {
	s := httptest.NewServer(program(compiled{[]byte("\x00asm"), []byte("starter")}).Handler())
	defer s.Close()
	for path, contentType := range map[string]string{
		"/":             "text/html; charset=utf-8",
		"/start.js":     "text/javascript; charset=utf-8",
		"/wasm_exec.js": "text/javascript",
		"/client.wasm":  "application/wasm",
	} {
		resp, err := s.Client().Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != contentType {
			t.Errorf("%s: %s, %s", path, resp.Status, resp.Header.Get("Content-Type"))
		}
	}
}

// All hear what one says, and so do those who come later. A frame that is no
// message ends the connection.
func TestTalk(t *testing.T) {
	server := wstest.NewServer(t, program(compiled{}).Handler())
	dial := func() *websocket.Conn {
		c, _, err := websocket.Dial(t.Context(), server.URL+"/ws", &websocket.DialOptions{HTTPClient: server.Client()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.CloseNow() })
		return c
	}
	ada := dial()
	if err := wsjson.Write(t.Context(), ada, message.Message{From: " Ada ", Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	hears := func(c *websocket.Conn) {
		t.Helper()
		var m message.Message
		if err := wsjson.Read(t.Context(), c, &m); err != nil || m != (message.Message{From: "Ada", Text: "hello"}) {
			t.Errorf("got %v, %v", m, err)
		}
	}
	hears(ada)
	bob := dial()
	hears(bob)
	if err := wsjson.Write(t.Context(), bob, message.Message{Text: "who am I?"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := bob.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("got %v", err)
	}
}

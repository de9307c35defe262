package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// The page for Prometheus has what happened to connections.
func TestMetrics(t *testing.T) {
	p, err := program()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for pattern, h := range p.Routes {
		mux.Handle(pattern, h)
	}
	s := httptest.NewServer(mux)
	defer s.Close()
	if resp, err := http.Get(s.URL + "/ws"); err != nil {
		t.Fatal(err)
	} else {
		resp.Body.Close()
	}
	for range 2 {
		c, _, err := websocket.Dial(t.Context(), s.URL+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		c.Write(t.Context(), websocket.MessageText, []byte("hello"))
		if _, b, err := c.Read(t.Context()); string(b) != "hello" {
			t.Fatalf("echo is %q, %v", b, err)
		}
		defer c.Close(4000, "")
	}
	c, _, err := websocket.Dial(t.Context(), s.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close(4000, "")
	want := []string{
		`websocket_server_active_connections 2`,
		`websocket_server_connection_duration_seconds_count{websocket_close_code="4000",websocket_end_by="peer",websocket_end_cause="peer"} 1`,
		`websocket_server_messages_total{network_io_direction="receive"} 2`,
		`websocket_server_payload_bytes_total{network_io_direction="transmit"} 10`,
		`http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="101",http_route="/ws",network_protocol_version="1.1",url_scheme="http"} 3`,
		`http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="426",http_route="/ws",network_protocol_version="1.1",url_scheme="http"} 1`,
	}
	var page string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		resp, err := http.Get(s.URL + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		page = string(b)
		if containsAll(page, want) {
			return
		}
	}
	t.Errorf("the page has not all of\n%s:\n%s", strings.Join(want, "\n"), page)
}

func containsAll(page string, lines []string) bool {
	for _, line := range lines {
		if !strings.Contains(page, line+"\n") {
			return false
		}
	}
	return true
}

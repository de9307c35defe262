package docs_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
)

func TestReadmeServerAndClient(t *testing.T) {
	s := httptest.NewServer(websocket.Handler(echo, nil))
	defer s.Close()
	reply, err := hello(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http"))
	if err != nil || reply != "hello" {
		t.Fatalf("hello() = %q, %v", reply, err)
	}
}

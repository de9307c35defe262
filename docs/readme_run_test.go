package docs_test

import (
	"net/http/httptest"
	"testing"

	"github.com/seed70bc5565/websocket"
)

func TestReadmeServerAndClient(t *testing.T) {
	s := httptest.NewServer(websocket.Handler(echo, nil))
	defer s.Close()
	reply, err := hello(t.Context(), s.URL)
	if err != nil || reply != "hello" {
		t.Fatalf("hello() = %q, %v", reply, err)
	}
}

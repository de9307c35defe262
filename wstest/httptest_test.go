//go:build go1.27

package wstest

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/seed70bc5565/websocket"
)

// What docs/how-to.md says of httptest.NewTestServer: its client reaches it
// without a port, in a bubble too, for Dial as well.
func TestNewTestServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := httptest.NewTestServer(t, websocket.Handler(echo, nil))
		c, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{HTTPClient: s.Client()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, data, err := c.Read(t.Context()); string(data) != "hello" || err != nil {
			t.Errorf("read %q, %v", data, err)
		}
	})
}

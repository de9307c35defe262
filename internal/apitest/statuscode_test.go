package apitest

import (
	"testing"

	"github.com/seed70bc5565/websocket"
)

func TestStatusCodeString(t *testing.T) {
	for c, want := range map[websocket.StatusCode]string{websocket.StatusNormalClosure: "StatusNormalClosure", websocket.StatusBadGateway: "StatusBadGateway", 4001: "StatusCode(4001)"} {
		if got := c.String(); got != want {
			t.Errorf("%d: %q, want %q", int(c), got, want)
		}
	}
}

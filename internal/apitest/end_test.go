package apitest

import (
	"encoding/json"
	"testing"

	"github.com/seed70bc5565/websocket"
)

func TestEndCause(t *testing.T) {
	for c := websocket.EndNone; c <= websocket.EndInterrupted; c++ {
		b, err := json.Marshal(map[websocket.EndCause]websocket.EndCause{c: c})
		if want := `{"` + c.String() + `":"` + c.String() + `"}`; err != nil || string(b) != want || (c.String() == "") != (c == websocket.EndNone) {
			t.Errorf("%d is %s, %v", c, b, err)
		}
	}
	if s := websocket.EndCause(200).String(); s != "EndCause(200)" {
		t.Errorf("got %q", s)
	}
	for _, tt := range []struct {
		end  websocket.End
		want string
	}{
		{websocket.End{}, ""},
		{websocket.End{Cause: websocket.EndByPeer, Code: 1001}, "peer 1001 StatusGoingAway"},
		{websocket.End{Cause: websocket.EndByClose, Code: 4000, Reason: "a\nb"}, `close 4000 StatusCode(4000): "a\nb"`},
	} {
		if got := tt.end.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

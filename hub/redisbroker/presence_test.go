package redisbroker

import (
	"testing"

	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

func TestPresence(t *testing.T) {
	t.Parallel() // it waits most of the time
	brokertest.Presence(t, kind)
}

func TestPresenceClocks(t *testing.T) {
	t.Parallel()
	brokertest.PresenceClocks(t, kind)
}

package natsbroker

import (
	"testing"

	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// Both wait most of the time.

func TestPresence(t *testing.T) {
	t.Parallel()
	brokertest.Presence(t, kind)
}

func TestPresenceJetStream(t *testing.T) {
	t.Parallel()
	brokertest.Presence(t, jetKind)
}

func TestPresenceClocks(t *testing.T) {
	t.Parallel()
	brokertest.PresenceClocks(t, kind)
}

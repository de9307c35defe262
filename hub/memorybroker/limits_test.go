//go:build unix

package memorybroker

import (
	"testing"

	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

func TestLimits(t *testing.T) { brokertest.Limits(t, New().Connect()) }

package natsbroker

import (
	"flag"
	"testing"

	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

var full = flag.Bool("full", false, "publish 100,000 messages for each fault of TestFaults")

func TestFaults(t *testing.T) { brokertest.Faults(t, jetKind, *full) }

func TestFaultsClocks(t *testing.T) { brokertest.Clocks(t, jetKind, *full) }

func TestFaultsPacketsLost(t *testing.T) { brokertest.PacketsLost(t, jetKind, *full) }

func BenchmarkPublish(b *testing.B) { brokertest.BenchmarkPublish(b, jetKind) }

package redisbroker

import (
	"flag"
	"testing"

	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

var full = flag.Bool("full", false, "publish 100,000 messages for each fault of TestFaults")

// keeping returns a server that keeps what it has confirmed.
func keeping() brokertest.Kind {
	k := kind
	k.Args = func(port, dir string) []string {
		return []string{"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "yes",
			"--appendfsync", "always"}
	}
	return k
}

func TestFaults(t *testing.T) { brokertest.Faults(t, keeping(), *full) }

func TestFaultsClocks(t *testing.T) { brokertest.Clocks(t, keeping(), *full) }

func TestFaultsPacketsLost(t *testing.T) {
	k := kind
	k.Args = func(port, dir string) []string {
		return append(kind.Args(port, dir), "--protected-mode", "no") // it does not listen on loopback
	}
	brokertest.PacketsLost(t, k, *full)
}

func BenchmarkPublish(b *testing.B) { brokertest.BenchmarkPublish(b, kind) }

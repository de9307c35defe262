package websocket

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket/internal/poison"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// TestMain fails the run if a test has left a goroutine behind that runs code of this module, or, where the pools are
// poisoned, a pooled buffer.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := wstest.LeakedGoroutines(); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind by the tests:\n\n%s\n", left)
			code = 1
		}
	}
	if code == 0 {
		if left := leakedBuffers(); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "%d pooled buffers left behind by the tests:\n\n%s\n", len(left), strings.Join(left, "\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// leakedBuffers returns where those pooled buffers were taken that are in use when all connections have ended. It
// knows of some only where the pools are poisoned.
func leakedBuffers() []string {
	return slices.DeleteFunc(poison.InUse(), func(where string) bool {
		return strings.Contains(where, "TestPingCallbackPanics") || // what a panic passes is left to the collector
			strings.Contains(where, "TestReadFragmentsGrowth") // its connection has no end
	})
}

package websocket

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/poison"
)

// TestMain fails the run if a test has left a goroutine behind that runs code of this module, or, where the pools are
// poisoned, a pooled buffer.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leakedGoroutines(); left != "" {
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

// leakedGoroutines returns the stacks of goroutines other than this one in which a function of the module stands. Those
// that are about to end get time to do so: 5 s at most, and none if there is nothing to wait for.
func leakedGoroutines() string {
	const module = "github.com/seed70bc5565/websocket"
	var left string
	for try := range 100 {
		if try > 0 {
			time.Sleep(50 * time.Millisecond)
		}
		buf := make([]byte, 16<<20)
		buf = buf[:runtime.Stack(buf, true)]
		var found []string
		for i, g := range strings.Split(string(buf), "\n\n") {
			if i > 0 && strings.Contains(g, module) { // the first is this one
				found = append(found, g)
			}
		}
		if left = strings.Join(found, "\n\n"); left == "" {
			break
		}
	}
	return left
}

// leakedBuffers returns where those pooled buffers were taken that are in use when all connections have ended. It
// knows of some only where the pools are poisoned.
func leakedBuffers() []string {
	return slices.DeleteFunc(poison.InUse(), func(where string) bool {
		return strings.Contains(where, "TestPingCallbackPanics") || // what a panic passes is left to the collector
			strings.Contains(where, "TestReadFragmentsGrowth") // its connection has no end
	})
}

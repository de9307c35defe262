package wstest

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

// Main runs the tests of a package, for its TestMain, and returns the exit
// code. The run fails if a test has left a goroutine behind that runs code of
// this module. Where the pools are poisoned, a pooled buffer left behind fails
// the run too, unless a function named in abandoned has taken it.
func Main(m *testing.M, abandoned ...string) int {
	if code := m.Run(); code != 0 {
		return code
	}
	if left := LeakedGoroutines(); left != "" {
		fmt.Fprintf(os.Stderr, "goroutines left behind by the tests:\n\n%s\n", left)
		return 1
	}
	buffers := slices.DeleteFunc(poison.InUse(), func(where string) bool {
		return slices.ContainsFunc(abandoned, func(name string) bool { return strings.Contains(where, name) })
	})
	if len(buffers) > 0 {
		fmt.Fprintf(os.Stderr, "%d pooled buffers left behind by the tests:\n\n%s\n", len(buffers), strings.Join(buffers, "\n"))
		return 1
	}
	return 0
}

// LeakedGoroutines returns the stacks of goroutines other than this one in
// which a function of the module stands, for a TestMain. Those that are about
// to end get time to do so: 30 s at most, and none if there is nothing to wait
// for.
func LeakedGoroutines() string {
	const module = "github.com/seed70bc5565/websocket"
	var left string
	for try := range 600 {
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

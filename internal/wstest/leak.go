package wstest

import (
	"runtime"
	"strings"
	"time"
)

// LeakedGoroutines returns the stacks of goroutines other than this one in
// which a function of the module stands, for a TestMain. Those that are about
// to end get time to do so: 5 s at most, and none if there is nothing to wait
// for.
func LeakedGoroutines() string {
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

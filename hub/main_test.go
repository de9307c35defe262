package hub

import (
	"fmt"
	"os"
	"testing"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

// TestMain fails the run if a test has left a goroutine behind that runs code
// of this module.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := wstest.LeakedGoroutines(); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind by the tests:\n\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

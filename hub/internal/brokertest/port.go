//go:build unix

package brokertest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Servers listen below the ports that systems give to connections, which begin
// at 32768 or later. So a server that was killed finds its port free. A second
// port may be 10,000 above.
const firstPort, portCount = 10_000, 12_000

// given holds the ports that this program's tests got.
var given sync.Map

// FreePort returns a port of 127.0.0.1 that nothing listens on. No other test
// of this program gets it.
func FreePort(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(firstPort + rand.IntN(portCount))
		if _, taken := given.LoadOrStore(port, true); !taken && isFree(port) {
			return port
		}
	}
	t.Fatal("no free port")
	panic("unreachable")
}

// isFree reports whether nothing listens on a port.
func isFree(port string) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

//go:build unix

package brokertest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A namespace is a network namespace of Linux, and the link to it.
type namespace struct {
	name      string // of the namespace, and of this end of the link
	near, far string // addresses
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// newNamespace makes a namespace for the time of the test. It skips the test
// where this process may not.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	pid := os.Getpid()
	// 198.18.0.0/15 is for tests of networks (RFC 2544).
	net := fmt.Sprintf("198.19.%d.", pid>>6&0xff)
	at := pid & 0x3f << 2
	n := &namespace{name: fmt.Sprintf("wsbroker%d", pid&0xffff), near: fmt.Sprint(net, at+1), far: fmt.Sprint(net, at+2)}
	if err := ip("netns", "add", n.name); err != nil {
		t.Skipf("no network namespace can be made here: %v", err)
	}
	t.Cleanup(func() {
		ip("netns", "del", n.name)
		ip("link", "del", n.name) // it may take its time to go with the namespace
	})
	for _, args := range [][]string{
		{"link", "add", n.name, "type", "veth", "peer", "name", "near", "netns", n.name},
		{"addr", "add", n.near + "/30", "dev", n.name},
		{"link", "set", n.name, "up"},
		{"-n", n.name, "link", "set", "lo", "up"},
		{"-n", n.name, "addr", "add", n.far + "/30", "dev", "near"},
		{"-n", n.name, "link", "set", "near", "up"},
	} {
		if err := ip(args...); err != nil {
			t.Skipf("no link to a network namespace can be made here: %v", err)
		}
	}
	return n
}

// lose makes all packets in both directions go to a network card that does not
// exist, for a while. No kernel tells the ends of a connection.
func (n *namespace) lose(t *testing.T, wait func()) {
	t.Helper()
	for _, args := range [][]string{
		{"replace", "lladdr", "02:00:00:00:00:01", "nud", "permanent"},
		{"del"},
	} {
		near := append([]string{"-n", n.name, "neigh", args[0], n.near, "dev", "near"}, args[1:]...)
		far := append([]string{"neigh", args[0], n.far, "dev", n.name}, args[1:]...)
		for _, args := range [][]string{near, far} {
			if err := ip(args...); err != nil {
				t.Error(err)
			}
		}
		if args[0] == "replace" {
			wait()
		}
	}
}

// PacketsLost is Faults for a network that loses all packets of the engine, for
// 5 and for 60 seconds in the full form. The engine is in a network namespace.
func PacketsLost(t *testing.T, kind Kind, full bool) {
	s := scaleOf(full)
	durations := []time.Duration{6 * time.Second} // longer than an engine may be silent
	if full {
		durations = []time.Duration{time.Minute, s.short}
	}
	s.times = len(durations)
	n := newNamespace(t)
	e := start(t, kind, n, nil)
	net := &field{t: t, kind: kind, scale: s, addr: e.Addr}
	cuts := 0
	f := fault{name: "PacketsLost", do: func(f *field) {
		n.lose(t, func() { f.wait(durations[cuts]) })
		cuts++
	}}
	v, _ := observe(t, net, f)
	v.report(t, f, s)
	if cuts < len(durations) {
		t.Errorf("packets were lost %d times, want %d", cuts, len(durations))
	}
}

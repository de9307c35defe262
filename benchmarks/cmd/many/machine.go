package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// meminfo returns a line of /proc/meminfo, in bytes.
func meminfo(name string) (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	return parseMeminfo(string(b), name)
}

func parseMeminfo(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		var kb int64
		if n, _ := fmt.Sscanf(line, name+": %d kB", &kb); n == 1 {
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("no %s in /proc/meminfo", name)
}

// openFiles returns how many files a process may have open: Go raises the limit
// to the hard one by itself.
func openFiles() (uint64, error) {
	b, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		var soft, hard uint64
		if n, _ := fmt.Sscanf(line, "Max open files %d %d", &soft, &hard); n == 2 {
			return hard, nil
		}
	}
	return 1 << 20, nil // unlimited: there is still fs.nr_open
}

// A bound is a limit of the whole machine, which sysctl sets.
type bound struct {
	name string // of the setting
	file string // where the kernel tells it
	at   int    // which of the numbers there
	need func(c config) int64
	used string // what is used already; if it is 0 for a bound that is optional, nothing counts
	// optional says that the kernel counts only if rules ask for it.
	optional bool
}

// threads is how many threads a process of this program has at most.
const threads = 20

var bounds = []bound{
	{name: "fs.file-max", file: "/proc/sys/fs/file-max", used: "/proc/sys/fs/file-nr",
		need: func(c config) int64 { return int64(2*c.conns + 2*otherFiles*len(c.shares(c.conns))) }},
	{name: "net.netfilter.nf_conntrack_max", file: "/proc/sys/net/netfilter/nf_conntrack_max",
		used: "/proc/sys/net/netfilter/nf_conntrack_count", optional: true,
		need: func(c config) int64 { return int64(c.conns + c.cut) }},
	// In pages. A message that waits takes about 1 KiB more than its length.
	{name: "net.ipv4.tcp_mem (its third number)", file: "/proc/sys/net/ipv4/tcp_mem", at: 2,
		need: func(c config) int64 { return int64(c.conns) * int64(c.size+1024) / 4096 }},
	{name: "kernel.pid_max", file: "/proc/sys/kernel/pid_max",
		need: func(c config) int64 { return int64(2 * threads * len(c.shares(c.conns))) }},
}

// checkBounds says which settings of the machine are too low, and what to set.
// The function read is os.ReadFile. A bound that the kernel does not tell is
// passed over.
func (c config) checkBounds(read func(name string) ([]byte, error)) error {
	number := func(name string, at int) (int64, bool) {
		b, err := read(name)
		words := strings.Fields(string(b))
		if err != nil || at >= len(words) {
			return 0, false
		}
		n, err := strconv.ParseInt(words[at], 10, 64)
		return n, err == nil
	}
	var low []error
	for _, b := range bounds {
		most, ok := number(b.file, b.at)
		used, _ := number(b.used, 0)
		if !ok || b.optional && used == 0 {
			continue
		}
		if need := used + b.need(c); need > most {
			low = append(low, fmt.Errorf("%d connections need %s = %d, and it is %d: set it with sysctl -w, or try fewer -connections",
				c.conns, b.name, need, most))
		}
	}
	return errors.Join(low...)
}

// backlogDrops returns how many packets the kernel has dropped, since it
// started, because a CPU's queue for packets that came in was full
// (net.core.netdev_max_backlog). They are sent again, a SYN after a second. All
// packets of the loopback interface go through these queues.
func backlogDrops() (int64, error) {
	b, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return 0, err
	}
	return parseSoftnet(string(b))
}

func parseSoftnet(text string) (sum int64, err error) {
	for line := range strings.Lines(text) {
		var processed, dropped int64
		if _, err := fmt.Sscanf(line, "%x %x", &processed, &dropped); err != nil {
			return 0, fmt.Errorf("unexpected /proc/net/softnet_stat: %w", err)
		}
		sum += dropped
	}
	return sum, nil
}

// watchMemory ends the run before the machine has no memory left.
func watchMemory(ctx context.Context, before int64, end context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now, err := meminfo("MemAvailable"); err != nil {
			end(err)
		} else if float64(before-now) > memShare*float64(before) {
			end(fmt.Errorf("stopped: more than %.0f %% of the available memory is in use", memShare*100))
		}
	}
}

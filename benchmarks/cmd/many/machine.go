package main

import (
	"context"
	"fmt"
	"os"
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

// Soak runs many connections of mixed traffic for a long time, and then looks
// whether anything is left of them.
//
// The clients and the server are one process, over loopback TCP. Messages are
// text and binary, short and long, in one frame or many, compressed in all ways
// and not. Pings come in between. Connections end all the time, from either
// side. They end by a closing handshake, at once, by a write that is cut short,
// by a reset, and by a half-close. Others take their place. Each message
// carries a checksum, which both sides verify, and each answer must be that to
// its question.
//
// A short round of the same traffic comes first. The process then holds its
// pools, its stacks, and what net/http keeps. It must return to this baseline
// after the long run. It exits with 1, and says why, if it does not, or if any
// connection saw what no disconnect explains.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	duration := flag.Duration("duration", time.Minute, "how long the traffic goes on")
	warmup := flag.Duration("warmup", 15*time.Second, "how long the round before it takes, after which the baseline is measured")
	conns := flag.Int("conns", 2000, "how many connections there are at a time")
	think := flag.Duration("think", 500*time.Millisecond, "the mean time between two bursts of a connection")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of all that is random")
	withSlow := flag.Bool("slow", true, "first a message of 5 MB to a peer that takes 80 kB a second, and the like: a minute")
	flag.Parse()
	fmt.Printf("soak: %d connections for %v, seed %d\n", *conns, *duration, *seed)
	slow := slowCases
	if !*withSlow {
		slow = nil
	}
	if err := runSlow(slow); err != nil {
		fmt.Fprintln(os.Stderr, "soak: FAILED: a slow peer:", err)
		os.Exit(1)
	}
	if err := soak(*conns, *warmup, *duration, *think, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "soak: FAILED:", err)
		os.Exit(1)
	}
	fmt.Println("soak: passed")
}

// soak runs the two rounds.
func soak(conns int, warmup, duration, think time.Duration, seed uint64) error {
	tally := &tally{}
	server, err := startServer(seed, tally)
	if err != nil {
		return err
	}
	defer server.http.Close()
	cs := newClients(server, think, tally)
	round := func(name string, d time.Duration, seed uint64) (footprint, error) {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		stop := tally.report(name, server)
		cs.run(ctx, conns, seed)
		drained := server.drained(patience)
		stop()
		cs.http.CloseIdleConnections()
		if !drained {
			pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			return footprint{}, fmt.Errorf("%d connections of the server are left %v after their clients ended", server.live.Load(), patience)
		}
		return settle(), nil
	}
	before, err := round("warm-up", warmup, seed+1)
	if err != nil {
		return err
	}
	fmt.Println("soak: baseline:", before)
	after, err := round("soak", duration, seed+2)
	if err != nil {
		return err
	}
	fmt.Println("soak: at the end:", after)
	if err := after.exceeds(before); err != nil {
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		return err
	}
	return tally.err()
}

// A tally counts what happens.
type tally struct {
	connections, messages, bytes, pings atomic.Int64

	mu       sync.Mutex
	failures int
	first    []string // the first few
}

// fail notes an error that no disconnect explains.
func (t *tally) fail(what string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures++
	if len(t.first) < 10 {
		t.first = append(t.first, fmt.Sprintf("%s: %v", what, err))
		fmt.Fprintf(os.Stderr, "soak: %s: %v\n", what, err)
	}
}

func (t *tally) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.failures > 0:
		return fmt.Errorf("%d errors that no disconnect explains, the first: %q", t.failures, t.first)
	case t.messages.Load() == 0:
		return fmt.Errorf("no message was exchanged")
	}
	return nil
}

// report prints the counts now and then, until the function that it returns is
// called.
func (t *tally) report(name string, s *server) (stop func()) {
	done := make(chan struct{})
	var printing sync.WaitGroup
	line := func() {
		fmt.Printf("soak: %s: %d live, %d connections, %d messages, %d MB, %d pings\n", name, s.live.Load(),
			t.connections.Load(), t.messages.Load(), t.bytes.Load()>>20, t.pings.Load())
	}
	printing.Go(func() {
		ticker := time.NewTicker(15 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				line()
			case <-done:
				line()
				return
			}
		}
	})
	return func() {
		close(done)
		printing.Wait()
	}
}

package websocket

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Peers that are slow in every way, but answer a ping in time once they have it, are never given up, whatever this side
// reads, writes and gives up meanwhile; and when one falls silent it is found.
func TestHeartbeatRandomPeers(t *testing.T) {
	sessions := 40
	if testing.Short() || raceEnabled {
		sessions = 12
	}
	for n := range sessions {
		synctest.Test(t, func(t *testing.T) { heartbeatSession(t, n) })
	}
}

func heartbeatSession(t *testing.T, n int) {
	seed := rand.New(rand.NewPCG(uint64(n), 11))
	interval := time.Duration(1+seed.IntN(60)) * time.Second
	timeout := time.Duration(1+seed.IntN(30)) * time.Second
	client := n%2 == 0
	ours, theirs := netfake.Pipe(netfake.Options{Buffer: 64 << seed.IntN(6)})
	c := newConn(connConfig{transport: ours, client: client, pingInterval: interval, pongTimeout: timeout, readLimit: -1})
	role := wstest.Client
	if client {
		role = wstest.Server
	}
	ctx, cancel := context.WithCancel(context.Background())
	turn := make(chan struct{}, 1) // whose it is to write, of the peer
	var all sync.WaitGroup
	silent := make(chan struct{}) // closed when the peer falls silent
	var pings atomic.Int32

	// The peer reads, at times only after a while, and answers pings, at times only after a while.
	all.Go(func() {
		rng := rand.New(rand.NewPCG(uint64(n), 12))
		for {
			f, err := wstest.ReadFrame(theirs)
			if err != nil {
				return
			}
			within := func(part int64) time.Duration { return time.Duration(rng.Int64N(int64(timeout) / part)) }
			if f.Op != wstest.Ping {
				if rng.IntN(30) == 0 {
					time.Sleep(within(10))
				}
				continue
			}
			pings.Add(1)
			time.Sleep(within(2))
			select {
			case <-silent:
				continue
			default:
			}
			turn <- struct{}{}
			theirs.Write(wstest.Encode(role, pong(string(f.Payload))))
			<-turn
		}
	})
	// It sends something now and then, whole or in two parts.
	all.Go(func() {
		rng := rand.New(rand.NewPCG(uint64(n), 13))
		for {
			time.Sleep(time.Duration(rng.Int64N(3 * int64(interval))))
			select {
			case <-silent:
				return
			default:
			}
			b := wstest.Encode(role, binaryF(string(make([]byte, rng.IntN(300)))))
			at := rng.IntN(len(b))
			turn <- struct{}{}
			theirs.Write(b[:at])
			if rng.IntN(4) == 0 {
				time.Sleep(time.Duration(rng.Int64N(int64(timeout) / 2)))
			}
			theirs.Write(b[at:])
			<-turn
		}
	})
	// This side writes, short and long, and gives some up.
	for w := range 3 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), uint64(20+w)))
			for ctx.Err() == nil && c.life.reason() == nil {
				time.Sleep(time.Duration(rng.Int64N(2 * int64(interval))))
				size := rng.IntN(200)
				if rng.IntN(4) == 0 {
					size = 5000 + rng.IntN(50_000)
				}
				c.Write(ctx, MessageBinary, make([]byte, size))
			}
		})
	}
	// It reads, mostly; at times it does something else.
	rng := rand.New(rand.NewPCG(uint64(n), 14))
	reads := func(d time.Duration) error {
		for end := time.Now().Add(d); time.Now().Before(end); {
			ctx, cancel := context.WithTimeout(ctx, time.Duration(1+rng.Int64N(2*int64(interval))))
			_, _, err := c.Read(ctx)
			cancel()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			if rng.IntN(5) == 0 {
				// Not for long: the peer may wait for this side to read before it takes more.
				time.Sleep(time.Duration(rng.Int64N(int64(interval) / 4)))
			}
		}
		return nil
	}
	if err := reads(200 * interval); err != nil {
		t.Errorf("session %d (interval %v, timeout %v, client %v): a peer that lives: %v", n, interval, timeout, client, err)
	}
	if pings.Load() == 0 {
		t.Errorf("session %d: no pings", n)
	}
	close(silent)
	begin := time.Now()
	for {
		_, _, err := c.Read(ctx)
		if err == nil {
			continue // what was on its way
		}
		if !errors.Is(err, ErrPongTimeout) {
			t.Errorf("session %d: a peer that is silent: %v", n, err)
		}
		break
	}
	// It takes what is written all the same, so that its pings may have to wait for long messages, once.
	if d := time.Since(begin); d > 3*interval+4*timeout {
		t.Errorf("session %d (interval %v, timeout %v): found after %v", n, interval, timeout, d)
	}
	cancel()
	c.CloseNow()
	theirs.Close()
	all.Wait()
	if err := c.life.reason(); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("session %d: the reason is %v", n, err)
	}
}

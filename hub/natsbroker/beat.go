package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed70bc5565/websocket/hub"
)

// Servers of a cluster that have lost each other tell their clients nothing.
// Messages of a process on one side do not come to the other one, and Publish
// returns nil. So each process publishes a beat, with a number, where all hear
// it. A process that hears a number later than the next one has not heard that
// process for a while. So messages may be missing, too.

const (
	// defaultBeat is the pause between two beats of a process.
	defaultBeat = 5 * time.Second
	// maxPeers bounds the processes whose beats are known.
	maxPeers = 4096
)

var errMissedBeat = errors.New("another process was not heard: servers of the cluster may have been apart")

// A peer is another process.
type peer struct {
	number uint64    // of its latest beat
	heard  time.Time // when that was
}

// newID returns an id of a process, or of its calls.
func newID() string { return fmt.Sprintf("%016x", newEpoch()) }

// beats is the goroutine that publishes beats, and hears those of the others.
func (b *Broker) beats() {
	ticker := time.NewTicker(b.every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			b.beat()
		case m := <-b.heard:
			if m.Subject != b.alive {
				b.jet.watch.echoed.Store(true)
				b.jet.watch.heard.Store(true)
			}
			if b.hear(string(m.Data), time.Now()) {
				b.tell(hub.BrokerEvent{Kind: hub.BrokerLost, Err: errMissedBeat})
				b.tell(hub.BrokerEvent{Kind: hub.BrokerRecovered})
			}
		case <-b.done:
			return
		}
	}
}

// beat publishes a beat.
func (b *Broker) beat() {
	b.mu.Lock()
	id, number := b.id, b.number+1
	silent := b.lost || b.deaf || b.listens.IsZero()
	b.mu.Unlock()
	if silent {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), b.every)
	defer cancel()
	if b.publish(ctx, b.alive, fmt.Appendf(nil, "%s %d", id, number)) != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.id == id {
		b.number = number
	}
}

// hear notes a beat. It reports whether messages of that process may be
// missing.
func (b *Broker) hear(beat string, now time.Time) (missed bool) {
	var id string
	var number uint64
	if n, err := fmt.Sscanf(beat, "%s %d", &id, &number); n != 2 || err != nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	last, known := b.peers[id]
	switch {
	case id == b.id, known && number <= last.number:
		return false
	case known:
		missed = number > last.number+1
	default:
		// Has this process listened when the one before must have come?
		missed = number > 1 && now.Sub(b.listens) > b.every*3/2
		b.forgetPeerLocked()
	}
	b.peers[id] = peer{number, now}
	return missed && !b.lost
}

// forgetPeerLocked makes room for a process. It needs mu.
func (b *Broker) forgetPeerLocked() {
	if len(b.peers) < maxPeers {
		return
	}
	var oldest string
	for id, p := range b.peers {
		if oldest == "" || p.heard.Before(b.peers[oldest].heard) {
			oldest = id
		}
	}
	delete(b.peers, oldest)
}

// listenLocked notes that the connection is there, and beats are heard from now
// on. The hub knows that messages before may be missing, and the others take
// this process for another one. It needs mu.
func (b *Broker) listenLocked() {
	b.listens = time.Now()
	b.id, b.number = newID(), 0
	clear(b.peers)
}

// refusesBeats notes that the server does not permit beats, or the broker's own
// call, if subject is theirs.
func (b *Broker) refusesBeats(subject string) {
	if b.jet != nil {
		b.jet.watch.refuses(subject)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deaf = b.deaf || subject == b.alive
}

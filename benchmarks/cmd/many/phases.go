package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/seed70bc5565/websocket/benchmarks/load"
)

const patience = 2 * time.Minute

// all goes through the phases.
func (r *run) all(ctx context.Context) error {
	r.start = time.Now()
	for _, phase := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"starting", r.startAll},
		{"connecting", r.connect},
		{"at rest", r.restAll},
		{"broadcasting", r.broadcastAll},
		{"reconnecting", r.reconnect},
		{"the last broadcast", r.finish},
	} {
		fmt.Fprintf(os.Stderr, "%6.1fs %s\n", time.Since(r.start).Seconds(), phase.name)
		if err := phase.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", phase.name, err)
		}
	}
	r.took = time.Since(r.start)
	return nil
}

func (r *run) connect(context.Context) (err error) {
	if r.base, err = r.rss(load.RSS); err != nil {
		return err
	}
	if r.slab, err = meminfo("Slab"); err != nil {
		return err
	}
	m, err := r.mark(nil)
	if err != nil {
		return err
	}
	reports, err := r.orderAll(load.Order{Do: load.Dial, N: r.config.conns, Time: patience})
	if err != nil {
		return err
	}
	r.dial, err = r.since(m, reports)
	return err
}

// restAll is the time in which little happens.
func (r *run) restAll(ctx context.Context) (err error) {
	if _, err = r.orderAll(load.Order{Do: load.Talk}); err != nil {
		return err
	}
	// Not at once: the handshakes have left work for the collector.
	if err = sleep(ctx, 5*time.Second); err != nil {
		return err
	}
	if r.rest, err = r.spend(ctx, r.config.duration); err != nil {
		return err
	}
	if r.asIs, err = r.rss(load.RSS); err != nil {
		return err
	}
	if _, err = r.orderAll(load.Order{Do: load.Hush, Time: 20 * time.Second}); err != nil {
		return err
	}
	if r.idle, err = r.spend(ctx, r.config.duration/2); err != nil {
		return err
	}
	if _, err = r.orderServers("gc"); err != nil {
		return err
	}
	if r.collected, err = r.rss(load.RSS); err != nil {
		return err
	}
	slab, err := meminfo("Slab")
	if err != nil {
		return err
	}
	r.slab = slab - r.slab
	for _, c := range r.clients {
		n, err := load.RSS(c.pid())
		if err != nil {
			return err
		}
		r.clientRSS += n
	}
	statuses, err := r.orderServers("status")
	for _, st := range statuses {
		r.heap += st.Heap
		r.stacks += st.Stacks
	}
	return err
}

func (r *run) broadcastAll(ctx context.Context) error {
	for range r.config.broadcasts {
		if err := sleep(ctx, 2*time.Second); err != nil {
			return err
		}
		b, err := r.broadcast(topicAll)
		if err != nil {
			return err
		}
		r.broadcasts = append(r.broadcasts, b)
	}
	for range r.config.broadcasts {
		if r.config.few == 0 {
			break
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		b, err := r.broadcast(topicFew)
		if err != nil {
			return err
		}
		r.small = append(r.small, b)
	}
	var err error
	if r.after, err = r.rss(load.RSS); err != nil {
		return err
	}
	r.peak, err = r.rss(load.PeakRSS)
	return err
}

// broadcast publishes a message, and waits until all clients that have topic
// have it. Without a broker every server publishes it at the same moment.
func (r *run) broadcast(topic string) (b broadcast, err error) {
	r.tick++
	m, err := r.mark(nil)
	if err != nil {
		return b, err
	}
	published := make(chan error, 1)
	go func() {
		order := fmt.Sprintf("broadcast %s %d %d", topic, r.tick, r.config.size)
		var err error
		if r.redis != "" {
			_, err = r.servers[0].order(order)
		} else {
			_, err = r.orderServers(order)
		}
		published <- err
	}()
	reports, err := r.orderAll(load.Order{Do: load.Await, Tick: r.tick, Few: topic == topicFew, Time: patience})
	if e := <-published; err == nil {
		err = e
	}
	if err != nil {
		return b, err
	}
	var first, last time.Time
	r.received = 0
	for _, rep := range reports {
		if rep.Received == 0 {
			continue
		}
		if first.IsZero() || rep.First.Before(first) {
			first = rep.First
		}
		if rep.Last.After(last) {
			last = rep.Last
		}
		r.received += rep.Received
	}
	b.first, b.last = first.Sub(m.at), last.Sub(m.at)
	b.spell, err = r.since(m, nil)
	return b, err
}

func (r *run) reconnect(context.Context) error {
	m, err := r.mark(nil)
	if err != nil {
		return err
	}
	reports, err := r.orderAll(load.Order{Do: load.Cut, N: r.config.cut, Time: patience})
	if err != nil {
		return err
	}
	var last time.Time
	for _, rep := range reports {
		if rep.Last.After(last) {
			last = rep.Last
		}
	}
	if r.storm, err = r.since(m, nil); err == nil && r.config.cut > 0 {
		r.storm.wall = last.Sub(m.at)
	}
	return err
}

// finish finds out whether all connections are still there.
func (r *run) finish(ctx context.Context) error {
	// Until the servers have noticed all that were cut.
	if err := sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	statuses, err := r.orderServers("status")
	if err != nil {
		return err
	}
	if _, err := r.broadcast(topicAll); err != nil {
		return err
	}
	reports, err := r.orderAll(load.Order{Do: load.Tell})
	if err != nil {
		return err
	}
	r.settle(reports, statuses)
	return nil
}

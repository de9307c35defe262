package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket/benchmarks/load"
)

// A run is the processes, and what was measured so far.
type run struct {
	config config
	redis  string // address of the redis-server; "": none

	mu      sync.Mutex // guards servers and clients until all are started
	servers []*server
	clients []*client

	tick  uint32 // the last broadcast
	start time.Time
	took  time.Duration

	dial       spell // until all were connected
	rest, idle spell // with messages, and with heartbeats only
	storm      spell // from the cut until all were upgraded again
	broadcasts []broadcast
	small      []broadcast // to the topic of few

	// RSS of the servers: before, at rest, after a collection, after the
	// broadcasts, at most.
	base, asIs, collected, after, peak int64

	clientRSS    int64
	slab         int64 // what the kernel's objects have grown by
	heap, stacks uint64

	connections, subscribers, received int // at the end
	lost                               int
	dead                               int64
	why                                map[string]int
}

// A spell is a time, and what happened in it.
type spell struct {
	wall   time.Duration
	cpu    time.Duration   // of all servers
	each   []time.Duration // of one
	echoed int64
	pings  int64
	drops  int64 // packets; see backlogDrops
}

// A broadcast is one that all have.
type broadcast struct {
	spell
	first, last time.Duration // after the order
}

// each calls f for every pair of server and client, all at once.
func (r *run) each(f func(i int) error) error {
	errs := make(chan error, len(r.clients))
	for i := range r.clients {
		go func() { errs <- f(i) }()
	}
	var first error
	for range r.clients {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// orderAll gives all clients the same order, except for the N, which is divided
// among them.
func (r *run) orderAll(o load.Order) ([]load.Report, error) {
	n := r.config.shares(o.N)
	reports := make([]load.Report, len(r.clients))
	err := r.each(func(i int) (err error) {
		o := o
		o.N = n[i]
		reports[i], err = r.clients[i].order(o)
		return err
	})
	return reports, err
}

func (r *run) orderServers(line string) ([]status, error) {
	all := make([]status, len(r.servers))
	err := r.each(func(i int) (err error) {
		all[i], err = r.servers[i].order(line)
		return err
	})
	return all, err
}

// startRedis starts a redis-server that keeps nothing. It ends with ctx.
func (r *run) startRedis(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.redis = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(r.redis)
	cmd := exec.CommandContext(ctx, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait()
	for range 100 {
		if c, err := net.Dial("tcp", r.redis); err == nil {
			return c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("redis-server does not answer at %s", r.redis)
}

// stop ends what is left of the processes. The clients reset their connections
// first.
func (r *run) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.each(func(i int) error { r.clients[i].stop(); return nil })
	for _, s := range r.servers {
		s.stop()
	}
}

func (r *run) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.clients {
		c.Cmd.Process.Kill()
	}
	for _, s := range r.servers {
		s.Cmd.Process.Kill()
	}
}

func (r *run) startAll(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	few := r.config.shares(r.config.few)
	for i := range r.config.shares(r.config.conns) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s, err := startServer(fmt.Sprintf("127.0.0.%d", 1+i), r.config.mode, r.redis)
		if err != nil {
			return err
		}
		r.servers = append(r.servers, s)
		// Four addresses each: a quarter of the ports of one is found faster
		// than most of them.
		job := load.Swarm{Addr: s.addr, Every: r.config.every, Size: 128, Few: few[i]}
		for j := range 4 {
			job.From = append(job.From, fmt.Sprintf("127.0.%d.%d", 1+j, 1+i))
		}
		c, err := startClient(job)
		if err != nil {
			return err
		}
		r.clients = append(r.clients, c)
	}
	return nil
}

// A mark is where a spell began.
type mark struct {
	at            time.Time
	cpu           []time.Duration
	echoed, pings int64
	drops         int64
}

func (r *run) mark(reports []load.Report) (mark, error) {
	m := mark{at: time.Now()}
	var err error
	if m.drops, err = backlogDrops(); err != nil {
		return m, err
	}
	for _, rep := range reports {
		m.echoed += rep.Echoed
		m.pings += rep.Pings
	}
	for _, s := range r.servers {
		cpu, err := load.CPUTime(s.pid())
		if err != nil {
			return m, err
		}
		m.cpu = append(m.cpu, cpu)
	}
	return m, nil
}

// since returns what has happened since m.
func (r *run) since(m mark, reports []load.Report) (spell, error) {
	now, err := r.mark(reports)
	sp := spell{wall: now.at.Sub(m.at),
		echoed: now.echoed - m.echoed, pings: now.pings - m.pings, drops: now.drops - m.drops}
	for i := range now.cpu {
		sp.each = append(sp.each, now.cpu[i]-m.cpu[i])
		sp.cpu += sp.each[i]
	}
	return sp, err
}

// spend measures a time in which nothing is ordered.
func (r *run) spend(ctx context.Context, d time.Duration) (spell, error) {
	before, err := r.orderAll(load.Order{Do: load.Tell})
	if err != nil {
		return spell{}, err
	}
	m, err := r.mark(before)
	if err != nil {
		return spell{}, err
	}
	if err := sleep(ctx, d); err != nil {
		return spell{}, err
	}
	after, err := r.orderAll(load.Order{Do: load.Tell})
	if err != nil {
		return spell{}, err
	}
	return r.since(m, after)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// rss sums up the memory of the servers.
func (r *run) rss(of func(pid int) (int64, error)) (sum int64, err error) {
	for _, s := range r.servers {
		n, err := of(s.pid())
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// settle notes what is known at the end.
func (r *run) settle(reports []load.Report, statuses []status) {
	r.why = map[string]int{}
	for _, rep := range reports {
		r.lost += rep.Lost
		for why, n := range rep.Why {
			r.why[why] += n
		}
	}
	for _, st := range statuses {
		r.connections += st.Connections
		r.subscribers += st.Subscribers
		r.dead += st.Dead
	}
}

// verdict fails if a connection was lost that was not cut.
func (r *run) verdict() error {
	n := r.config.conns
	if r.lost > 0 || r.dead > 0 || r.connections != n || r.subscribers != n || r.received != n {
		return fmt.Errorf("%d connections were lost: %v. At the end the servers had %d and the hubs %d, of %d; "+
			"the last broadcast reached %d", max(r.lost, int(r.dead)), r.why, r.connections, r.subscribers, n, r.received)
	}
	return nil
}

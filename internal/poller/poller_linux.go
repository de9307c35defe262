package poller

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Supported reports whether this system has an implementation.
const Supported = true

// A Stepper does the work of one socket.
type Stepper interface {
	// Step is called when the socket may have become readable, was woken, or
	// asked for another step. It must not wait for the socket. It returns true
	// to be called again after the other sockets that are due. Steps of one
	// socket never run at the same time.
	Step() (again bool)
}

// A Group is a set of sockets and the pollers that wait for them. Its zero
// value has no sockets. Then it has no goroutine and no descriptor.
type Group struct {
	table table

	mu      sync.Mutex // guards what follows; never held across a step
	n       int        // sockets
	next    int        // the poller for the next socket
	pollers []*poller  // nil while there are no sockets
	serial  int32      // of the last socket; tells events of a closed descriptor from those of its successor
}

// maxPollers bounds the pollers of a group: one for each processor, up to this.
const maxPollers = 16

// enter finds a poller for one more socket. It makes the pollers if there are
// none.
func (g *Group) enter() (p *poller, serial int32, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pollers == nil {
		for range min(runtime.GOMAXPROCS(0), maxPollers) {
			p, err := newPoller(g)
			if err != nil {
				for _, p := range g.pollers {
					p.stop()
				}
				g.pollers = nil
				return nil, 0, err
			}
			g.pollers = append(g.pollers, p)
		}
	}
	g.n++
	g.serial++
	g.next = (g.next + 1) % len(g.pollers)
	return g.pollers[g.next], g.serial, nil
}

// leave is called when a socket is closed. The last one ends the pollers.
func (g *Group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.n > 0 {
		return
	}
	for _, p := range g.pollers {
		p.stop()
	}
	g.pollers = nil
}

// stepTime is how long a step may take before another goroutine leads.
const stepTime = time.Millisecond

// yieldTime is how long a leader may run before it lets other goroutines run.
//
// A goroutine that runs for 10 ms is preempted. From then on the runtime also
// takes the processor away in each system call that it happens to see, and
// looks for one every 20 µs. A busy leader lost a tenth of its messages to that,
// and echoes took twice as long (wsbench, a and a-p99).
const yieldTime = 4 * time.Millisecond

// clockSteps is how many steps a leader takes before it looks at the clock.
const clockSteps = 16

// batch is how many events a leader takes at once.
const batch = 128

// A poller is an epoll set and its leader.
//
// Invariant: while the poller is not stopped, one goroutine is the leader: the
// one that runs lead with the current term.
type poller struct {
	g *Group // immutable

	// The epoll set is itself in the set of Go's own poller. So a leader
	// without work parks as any goroutine that waits for a socket does. No
	// thread waits.
	file *os.File        // immutable
	raw  syscall.RawConn // immutable
	fd   int             // immutable: of file

	events [batch]syscall.EpollEvent // owner: the leader, while it waits

	mu      sync.Mutex // guards what follows; never held across I/O or a step
	queue   ring       // sockets that are due
	term    int        // counts the leaders
	waiting bool       // the leader waits for events
	stopped bool
	steps   int         // counts the steps
	seen    int         // value of steps when watch looked last
	watched bool        // watch will look again
	watch   *time.Timer // looks whether a step takes long
}

func newPoller(g *Group) (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{g: g, fd: fd, file: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, err
	}
	go p.lead(0)
	return p, nil
}

// stop ends the leader and gives the epoll set back. There are no sockets left.
func (p *poller) stop() {
	p.mu.Lock()
	p.stopped = true
	if p.queue.n > 0 {
		go p.help()
	}
	if p.watch != nil {
		p.watch.Stop()
	}
	p.mu.Unlock()
	p.file.Close() // the leader's wait ends
}

// lead is the body of the leader of a term.
func (p *poller) lead(term int) {
	poll := p.poll() // built once a term: passing it allocates nothing
	steps, yielded := 0, time.Now()
	for {
		s, lost := p.due(term)
		switch {
		case lost:
			return
		case s != nil:
			s.step()
			if steps++; steps%clockSteps == 0 && time.Since(yielded) >= yieldTime {
				runtime.Gosched()
				yielded = time.Now()
			}
		case p.raw.Read(poll) != nil:
			return // stopped
		}
	}
}

// due returns the next socket to step, or nil if there is none. It reports
// whether another goroutine leads by now.
func (p *poller) due(term int) (s *Socket, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.term != term || p.stopped {
		return nil, true
	}
	s = p.queue.pop()
	p.waiting = s == nil
	p.steps++
	if s != nil && !p.watched {
		p.watched, p.seen = true, p.steps
		if p.watch == nil {
			p.watch = time.AfterFunc(stepTime, p.look)
		} else {
			p.watch.Reset(stepTime)
		}
	}
	return s, false
}

// look is called by the timer while steps run. It makes another goroutine the
// leader when one step has run since the last look.
func (p *poller) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched = !p.waiting && !p.stopped; !p.watched {
		return
	}
	if p.seen == p.steps {
		p.term++
		p.waiting = true
		go p.lead(p.term)
		p.watched = false
		return
	}
	p.seen = p.steps
	p.watch.Reset(stepTime)
}

// poll returns the function that takes events off the epoll set. It returns
// false when there are none: it is called again when there are.
func (p *poller) poll() func(fd uintptr) bool {
	return func(fd uintptr) bool {
		for {
			n, err := syscall.EpollWait(int(fd), p.events[:], 0)
			switch {
			case err == syscall.EINTR:
				continue
			case n <= 0:
				return false
			}
			p.dispatch(p.events[:n])
			return true
		}
	}
}

// dispatch tells the sockets of their events.
func (p *poller) dispatch(events []syscall.EpollEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		ev := &events[i]
		if s := p.g.table.find(ev.Fd); s != nil && s.serial == ev.Pad {
			if s.happenedLocked(ev.Events) {
				p.queue.push(s)
			}
		}
	}
}

// enqueue makes s due. A leader that waits cannot be replaced, because it owns
// events: another goroutine steps s meanwhile.
func (p *poller) enqueue(s *Socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.push(s)
	if p.waiting || p.stopped {
		go p.help()
	}
}

// help steps the sockets that are due while the leader waits, or when it has
// ended.
func (p *poller) help() {
	for {
		p.mu.Lock()
		s := p.queue.pop()
		p.mu.Unlock()
		if s == nil {
			return
		}
		s.step()
	}
}

// A ring is a queue of sockets. Its zero value is empty.
type ring struct {
	items []*Socket // its length is 0 or a power of two
	head  int
	n     int
}

func (q *ring) push(s *Socket) {
	if q.n == len(q.items) {
		items := make([]*Socket, max(16, 2*len(q.items)))
		for i := range q.n {
			items[i] = q.items[(q.head+i)&(len(q.items)-1)]
		}
		q.items, q.head = items, 0
	}
	q.items[(q.head+q.n)&(len(q.items)-1)] = s
	q.n++
}

func (q *ring) pop() *Socket {
	if q.n == 0 {
		return nil
	}
	s := q.items[q.head]
	q.items[q.head] = nil
	q.head = (q.head + 1) & (len(q.items) - 1)
	q.n--
	return s
}

// A table finds sockets by their descriptors. Reading it takes no lock.
type table struct {
	mu     sync.Mutex // held while the table changes
	chunks atomic.Pointer[[]*chunk]
}

type chunk [512]atomic.Pointer[Socket]

func (t *table) find(fd int32) *Socket {
	chunks := t.chunks.Load()
	if chunks == nil || int(fd)/len(chunk{}) >= len(*chunks) {
		return nil
	}
	c := (*chunks)[int(fd)/len(chunk{})]
	if c == nil {
		return nil
	}
	return c[int(fd)%len(chunk{})].Load()
}

// put stores s, or nil, for fd.
func (t *table) put(fd int, s *Socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var chunks []*chunk
	if p := t.chunks.Load(); p != nil {
		chunks = *p
	}
	i := fd / len(chunk{})
	if i >= len(chunks) || chunks[i] == nil {
		more := make([]*chunk, max(i+1, len(chunks)))
		copy(more, chunks)
		more[i] = new(chunk)
		t.chunks.Store(&more)
		chunks = more
	}
	chunks[i][fd%len(chunk{})].Store(s)
}

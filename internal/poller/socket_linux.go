package poller

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrNotNow is what [Socket.TryRead] returns when nothing is there to read. A
// step follows when that may have changed.
var ErrNotNow = errors.New("nothing to read now")

// A Socket is a stream socket that has left Go's poller for one of a [Group].
//
// Any number of goroutines may call its methods. Read and Write wait. A
// deadline interrupts them, as with a net.Conn.
type Socket struct {
	fd     int32   // immutable
	serial int32   // immutable
	p      *poller // immutable
	work   Stepper // immutable

	state atomic.Int32 // of the steps
	refs  atomic.Int32 // system calls in progress, and closedRef: see begin
	flags flags        // what events told

	waits atomic.Pointer[waits] // made by the first call that waits or has a deadline
}

// States of the steps.
const (
	idle    = iota
	queued  // a step is due
	running // a step runs
	again   // a step runs, and another is due
)

// flags tell what is known of a socket.
type flags struct{ bits atomic.Uint32 }

const (
	readable = 1 << iota // an event came since the last read that emptied the socket
	writable             // an event came since the last write that filled it
	hung                 // the peer has ended its direction, or the socket has failed: reads tell
)

func (f *flags) set(bit uint32)       { f.bits.Or(bit) }
func (f *flags) clear(bit uint32)     { f.bits.And(^bit) }
func (f *flags) any(bits uint32) bool { return f.bits.Load()&bits != 0 }

// waits is what calls that wait need.
type waits struct {
	read, write waitPoint
}

// A waitPoint is where the calls of one direction wait.
type waitPoint struct {
	news     chan struct{} // one token: look again
	mu       sync.Mutex    // guards what follows
	deadline time.Time
}

// Init gives s a non-blocking descriptor, which belongs to s from here on, also
// when Init fails, and a poller of g. Until [Socket.Start] no call waits and no
// step is made, except for Wake.
func (s *Socket) Init(g *Group, fd int, work Stepper) error {
	p, serial, err := g.enter()
	if err != nil {
		syscall.Close(fd)
		return err
	}
	s.fd, s.serial, s.p, s.work = int32(fd), serial, p, work
	return nil
}

// Start begins to wait for events. If it fails, s is closed.
func (s *Socket) Start() error {
	s.p.g.table.put(int(s.fd), s)
	ev := syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | epollET,
		Fd:     s.fd,
		Pad:    s.serial,
	}
	if err := syscall.EpollCtl(s.p.fd, syscall.EPOLL_CTL_ADD, int(s.fd), &ev); err != nil {
		s.Close()
		return os.NewSyscallError("epoll_ctl", err)
	}
	return nil
}

// epollET is EPOLLET, which package syscall has as a negative number.
const epollET = 1 << 31

// happenedLocked notes events. It reports whether s must be queued. The lock
// is that of the poller.
func (s *Socket) happenedLocked(events uint32) bool {
	const failed = syscall.EPOLLHUP | syscall.EPOLLERR
	if events&(syscall.EPOLLOUT|failed) != 0 {
		s.flags.set(writable)
		if w := s.waits.Load(); w != nil {
			w.write.tell()
		}
	}
	if events&(syscall.EPOLLIN|syscall.EPOLLRDHUP|failed) == 0 {
		return false
	}
	if events&(syscall.EPOLLRDHUP|failed) != 0 {
		s.flags.set(hung)
	}
	s.flags.set(readable)
	if w := s.waits.Load(); w != nil {
		w.read.tell()
	}
	return s.wants()
}

// wants makes a step due. It reports whether s must be queued for it.
func (s *Socket) wants() bool {
	for {
		switch state := s.state.Load(); state {
		case idle:
			if s.state.CompareAndSwap(idle, queued) {
				return true
			}
		case running:
			if s.state.CompareAndSwap(running, again) {
				return false
			}
		default:
			return false
		}
	}
}

// Wake makes a step due.
func (s *Socket) Wake() {
	if s.wants() {
		s.p.enqueue(s)
	}
}

// step runs the step that is due.
func (s *Socket) step() {
	s.state.Store(running)
	if more := s.work.Step(); more || !s.state.CompareAndSwap(running, idle) {
		s.state.Store(queued)
		s.p.enqueue(s)
	}
}

// closedRef is added to refs by Close.
const closedRef = 1 << 30

// begin is called before a system call on the descriptor. It fails when the
// socket is closed: the descriptor may be that of another socket by now.
func (s *Socket) begin() error {
	if s.refs.Add(1) >= closedRef {
		s.end()
		return net.ErrClosed
	}
	return nil
}

// end is called after a system call. The last call on a closed socket closes
// the descriptor.
func (s *Socket) end() {
	if s.refs.Add(-1) == closedRef {
		s.destroy()
	}
}

// destroyed is added to refs when the descriptor is about to be closed, so that
// it is closed once.
const destroyed = 1 << 29

func (s *Socket) destroy() {
	if s.refs.CompareAndSwap(closedRef, closedRef|destroyed) {
		syscall.Close(int(s.fd))
		s.p.g.leave()
	}
}

// Close closes the socket. Calls in progress return with net.ErrClosed. No step
// is due to it: call [Socket.Wake] for that, before.
func (s *Socket) Close() error {
	for {
		refs := s.refs.Load()
		if refs >= closedRef {
			return net.ErrClosed
		}
		if s.refs.CompareAndSwap(refs, refs+closedRef+1) {
			break
		}
	}
	s.p.g.table.put(int(s.fd), nil)
	if w := s.waits.Load(); w != nil {
		w.read.tell()
		w.write.tell()
	}
	s.end()
	return nil
}

// closed reports whether Close was called.
func (s *Socket) closed() bool { return s.refs.Load() >= closedRef }

// CloseWrite ends the sending direction.
func (s *Socket) CloseWrite() error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	return os.NewSyscallError("shutdown", syscall.Shutdown(int(s.fd), syscall.SHUT_WR))
}

// TryRead reads what is there. It returns ErrNotNow if that is nothing, and
// io.EOF when the peer has ended its direction.
func (s *Socket) TryRead(p []byte) (int, error) {
	if !s.Readable() {
		return 0, ErrNotNow
	}
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.end()
	s.flags.clear(readable) // before the call: an event from here on counts
	for {
		n, err := syscall.Read(int(s.fd), p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return 0, ErrNotNow
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		if n == len(p) {
			s.flags.set(readable) // there may be more
		}
		return n, nil
	}
}

// Readable reports whether TryRead may find something. False is certain.
func (s *Socket) Readable() bool { return s.flags.any(readable|hung) || s.closed() }

// ReadTimedOut reports whether the read deadline has passed.
func (s *Socket) ReadTimedOut() bool {
	w := s.waits.Load()
	return w != nil && w.read.passed()
}

// AwaitRead waits until Readable, until the read deadline at most.
func (s *Socket) AwaitRead() error { return s.await(&s.wait().read, readable) }

// Read is TryRead that waits, until the read deadline at most.
func (s *Socket) Read(p []byte) (int, error) {
	w := s.wait()
	for {
		if w.read.passed() {
			return 0, os.ErrDeadlineExceeded
		}
		n, err := s.TryRead(p)
		if err != ErrNotNow {
			return n, err
		}
		if err := s.await(&w.read, readable); err != nil {
			return 0, err
		}
	}
}

// TryWrite writes as much of p as the socket takes without waiting.
func (s *Socket) TryWrite(p []byte) (n int, err error) { return s.tryWrite(p, nil) }

// tryWrite is TryWrite for a and then b, which go with one system call.
func (s *Socket) tryWrite(a, b []byte) (n int, err error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.end()
	for len(a)+len(b) > 0 {
		s.flags.clear(writable) // before the call: an event from here on counts
		k, errno := Writev(uintptr(s.fd), a, b)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return n, nil
		case errno != 0:
			return n, os.NewSyscallError("write", errno)
		}
		n += k
		a, b = advance(a, b, k)
	}
	return n, nil
}

// advance returns what is left of a and b behind their first n bytes.
func advance(a, b []byte, n int) (restA, restB []byte) {
	inA := min(n, len(a))
	return a[inA:], b[n-inA:]
}

// Write writes p. It waits, until the write deadline at most.
func (s *Socket) Write(p []byte) (n int, err error) { return s.WriteBoth(p, nil) }

// WriteBoth is Write for a and then b, without a copy of them.
func (s *Socket) WriteBoth(a, b []byte) (n int, err error) {
	for {
		w := s.waits.Load()
		if w != nil && w.write.passed() {
			return n, os.ErrDeadlineExceeded
		}
		k, err := s.tryWrite(a, b)
		n += k
		if a, b = advance(a, b, k); err != nil || len(a)+len(b) == 0 {
			return n, err
		}
		if err := s.await(&s.wait().write, writable); err != nil {
			return n, err
		}
	}
}

// Control calls f with the descriptor.
func (s *Socket) Control(f func(fd uintptr)) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	f(uintptr(s.fd))
	return nil
}

// SetReadDeadline is as that of a net.Conn. It does not concern TryRead.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.setDeadline(t, false) }

// SetWriteDeadline is as that of a net.Conn. It does not concern TryWrite.
func (s *Socket) SetWriteDeadline(t time.Time) error { return s.setDeadline(t, true) }

func (s *Socket) setDeadline(t time.Time, write bool) error {
	if s.closed() {
		return net.ErrClosed
	}
	w := s.waits.Load()
	if w == nil {
		if t.IsZero() {
			return nil // as it is
		}
		w = s.wait()
	}
	at := &w.read
	if write {
		at = &w.write
	}
	at.mu.Lock()
	at.deadline = t
	at.mu.Unlock()
	at.tell()
	return nil
}

// wait returns s.waits, which it makes if there is none.
func (s *Socket) wait() *waits {
	if w := s.waits.Load(); w != nil {
		return w
	}
	w := &waits{}
	w.read.news = make(chan struct{}, 1)
	w.write.news = make(chan struct{}, 1)
	s.waits.CompareAndSwap(nil, w)
	return s.waits.Load()
}

// await waits until flag is set, or an attempt can only fail.
func (s *Socket) await(w *waitPoint, flag uint32) error {
	for !s.flags.any(flag | hung) {
		if s.closed() {
			return net.ErrClosed
		}
		w.mu.Lock()
		deadline := w.deadline
		w.mu.Unlock()
		var timeout <-chan time.Time
		if !deadline.IsZero() {
			left := time.Until(deadline)
			if left <= 0 {
				return os.ErrDeadlineExceeded
			}
			t := time.NewTimer(left)
			timeout = t.C
			defer t.Stop()
		}
		select {
		case <-w.news:
		case <-timeout:
		}
	}
	w.tell() // another call may wait here too
	return nil
}

// tell has the calls that wait look again.
func (w *waitPoint) tell() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (w *waitPoint) passed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.deadline.IsZero() && time.Until(w.deadline) <= 0
}

// Command rawepoll is the floor of the benchmarks for servers that have no
// goroutine for each connection. It does what rawtcp does: it parses only the
// lengths of frames, and answers all frames that it has read with one write.
// But one goroutine for each CPU waits in an epoll set for all connections. No
// library that serves from an epoll set in Go can be much cheaper.
package main

import (
	"bytes"
	"log"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"github.com/seed70bc5565/websocket/benchmarks/servers/internal/raw"
	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() {
	kit.Main(kit.Server{Serve: serve, Broadcast: broadcast})
}

// serve does the handshake, hands the socket to a poller, and returns.
func serve(o *kit.Options, nc net.Conn) {
	defer nc.Close()
	if err := raw.Handshake(nc); err != nil {
		return
	}
	fd, err := descriptor(nc.(*net.TCPConn))
	if err != nil {
		log.Print(err)
		return
	}
	c := &conn{fd: fd}
	if !o.Echo {
		c.push = newPush(o)
		o.Add(c)
	}
	all := pollers()
	if err := all[fd%len(all)].add(c); err != nil {
		log.Print(err)
		syscall.Close(fd)
	}
}

// descriptor returns another descriptor of nc's socket, which package net does
// not know.
func descriptor(nc *net.TCPConn) (fd int, err error) {
	rc, err := nc.SyscallConn()
	if err != nil {
		return 0, err
	}
	if e := rc.Control(func(old uintptr) { fd, err = syscall.Dup(int(old)) }); e != nil {
		return 0, e
	}
	return fd, err
}

// A conn is a socket in an epoll set. Its poller owns it, except for push.
type conn struct {
	fd      int
	partial *partial // nil until a frame comes in pieces, or an answer must wait
	push    *push    // nil where the server echoes
}

// A partial is what waits for more to arrive, or to be taken.
type partial struct {
	buf  []byte // what was read of an incomplete frame, with room for the rest of it
	out  []byte // answers that the socket did not take; they may be a part of buf
	used int    // bytes at the start of buf that out makes unusable
}

// A push is what a connection needs on which any goroutine may write.
type push struct {
	o        *kit.Options
	mu       sync.Mutex    // held while one goroutine writes
	writable chan struct{} // has an item when the socket may take bytes again
	gone     chan struct{} // closed when the connection is over
}

func newPush(o *kit.Options) *push {
	return &push{o: o, writable: make(chan struct{}, 1), gone: make(chan struct{})}
}

// Write sends one frame.
func (c *conn) Write(p []byte) error {
	b := kit.GetBuffer()
	defer b.Put()
	b.B = raw.AppendMessage(b.B, p)
	return c.send(b.B)
}

// send writes all of b, and waits where the socket is full.
func (c *conn) send(b []byte) error {
	c.push.mu.Lock()
	defer c.push.mu.Unlock()
	for {
		select {
		case <-c.push.gone: // the descriptor may be another connection's by now
			return net.ErrClosed
		default:
		}
		n, err := write(c.fd, b)
		if b = b[n:]; err != nil || len(b) == 0 {
			return err
		}
		select {
		case <-c.push.writable:
		case <-c.push.gone:
		}
	}
}

// write writes what the socket takes at once. It returns less than len(b) and
// no error if the socket is full.
func write(fd int, b []byte) (n int, err error) {
	for n < len(b) {
		m, err := syscall.Write(fd, b[n:])
		switch err {
		case nil:
			n += m
		case syscall.EAGAIN:
			return n, nil
		case syscall.EINTR:
		default:
			return n, err
		}
	}
	return n, nil
}

// A poller waits for the sockets of many connections.
type poller struct {
	epfd   int
	shared []byte // what is read goes here first

	mu    sync.Mutex
	conns []*conn // by descriptor
}

// pollers returns one poller for each CPU. The first call starts them.
var pollers = sync.OnceValue(func() []*poller {
	all := make([]*poller, runtime.GOMAXPROCS(0))
	for i := range all {
		epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
		if err != nil {
			log.Fatal(os.NewSyscallError("epoll_create1", err))
		}
		all[i] = &poller{epfd: epfd, shared: make([]byte, 64<<10)}
		go all[i].run()
	}
	return all
})

// edge is EPOLLET, which package syscall has as a negative number.
const edge = 1 << 31

func (p *poller) add(c *conn) error {
	p.mu.Lock()
	if c.fd >= len(p.conns) {
		p.conns = append(p.conns, make([]*conn, c.fd+1-len(p.conns))...)
	}
	p.conns[c.fd] = c
	p.mu.Unlock()
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | edge, Fd: int32(c.fd)}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(p.epfd, syscall.EPOLL_CTL_ADD, c.fd, &ev))
}

func (p *poller) run() {
	// An epoll set is a file that Go's own poller can wait for. A goroutine
	// that waits in a system call instead would keep its thread and its P.
	if err := syscall.SetNonblock(p.epfd, true); err != nil {
		log.Fatal(os.NewSyscallError("fcntl", err))
	}
	file := os.NewFile(uintptr(p.epfd), "epoll")
	rc, err := file.SyscallConn()
	if err != nil {
		log.Fatal(err)
	}
	events := make([]syscall.EpollEvent, 256)
	for {
		n := 0
		if e := rc.Read(func(fd uintptr) bool {
			n, err = syscall.EpollWait(int(fd), events, 0)
			return n > 0 || err != nil && err != syscall.EINTR
		}); e != nil {
			log.Fatal(e)
		}
		if err != nil && err != syscall.EINTR {
			log.Fatal(os.NewSyscallError("epoll_wait", err))
		}
		for _, ev := range events[:max(n, 0)] {
			p.mu.Lock()
			c := p.conns[ev.Fd]
			p.mu.Unlock()
			if !p.happened(c) {
				p.close(c)
			}
		}
	}
}

func (p *poller) close(c *conn) {
	p.mu.Lock()
	p.conns[c.fd] = nil
	p.mu.Unlock()
	if c.push != nil {
		close(c.push.gone)
		c.push.mu.Lock()
		defer c.push.mu.Unlock()
	}
	syscall.Close(c.fd)
}

// happened does what can be done on c without waiting, until its socket has
// nothing to read. It returns false when the connection is over.
func (p *poller) happened(c *conn) bool {
	if c.push != nil {
		select {
		case c.push.writable <- struct{}{}:
		default:
		}
	}
	if c.partial != nil && !c.partial.flush(c.fd) {
		return false
	}
	for {
		if c.partial != nil && len(c.partial.out) > 0 {
			return true // no more is read until the socket has taken them
		}
		buf, n := p.shared, 0
		if c.partial != nil {
			n = len(c.partial.buf)
			buf = c.partial.buf[:cap(c.partial.buf)]
		}
		m, err := syscall.Read(c.fd, buf[n:])
		switch {
		case err == syscall.EAGAIN:
			return true
		case err == syscall.EINTR:
			continue
		case err != nil || m == 0:
			return false
		}
		n += m
		drained := n < len(buf)
		if c.push != nil {
			go c.push.o.Triggered(c) // a trigger is one frame
		} else if !c.echo(buf, n) {
			return false
		}
		if drained {
			return true // happened is called again when out can go on
		}
	}
}

// echo answers the whole frames in buf[:n], and keeps the rest. buf is the
// poller's, or c.partial.buf.
func (c *conn) echo(buf []byte, n int) bool {
	answers, used := raw.Echo(buf[:n])
	sent, err := write(c.fd, answers)
	if err != nil {
		return false
	}
	answers = answers[sent:]
	switch {
	case c.partial != nil:
		c.partial.buf, c.partial.out, c.partial.used = buf[:n], answers, used
		c.partial.shift()
	case len(answers) > 0 || used < n:
		c.partial = &partial{out: slices.Clone(answers), buf: slices.Clone(buf[used:n])}
		c.partial.shift()
	}
	return true
}

// flush writes the answers that wait. They still wait if the socket is full.
func (q *partial) flush(fd int) bool {
	if len(q.out) == 0 {
		return true
	}
	n, err := write(fd, q.out)
	q.out = q.out[n:]
	q.shift()
	return err == nil
}

// shift makes room in buf when no answers wait. There is room for the whole of
// the frame that it begins with, and for some more. So a read can tell that
// nothing is left.
func (q *partial) shift() {
	if len(q.out) > 0 {
		return
	}
	q.buf, q.used = q.buf[:copy(q.buf, q.buf[q.used:])], 0
	if room := max(raw.Size(q.buf), len(q.buf)) + 512; room > cap(q.buf) {
		q.buf = append(make([]byte, 0, room), q.buf...)
	}
}

func broadcast(conns []kit.Conn, payload []byte, queued int) {
	frames := bytes.Repeat(raw.AppendMessage(nil, payload), queued)
	for _, c := range conns {
		c.(*conn).send(frames)
	}
}

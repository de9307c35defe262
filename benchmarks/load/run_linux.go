package load

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
	"slices"
	"syscall"
	"time"
)

// Run does the job. An Idle job calls hold while it holds its connections.
func Run(j Job, hold func(Result)) (Result, error) {
	addr, err := netip.ParseAddrPort(j.Addr)
	if err != nil {
		return Result{}, err
	}
	debug.SetGCPercent(-1) // nothing is allocated while the clock runs
	switch {
	case j.Deflate == "":
	case j.Kind == Echo:
		return j.deflated(addr)
	case j.Kind == Idle:
		return Result{}, j.idleDeflate(addr, hold)
	}
	switch j.Kind {
	case Echo, Receive:
		return j.messages(addr)
	case Handshake:
		return j.handshakes(addr)
	case Idle:
		return Result{}, j.idle(addr, hold)
	}
	return Result{}, fmt.Errorf("unknown kind of job %q", j.Kind)
}

// A meter turns a running count into a Result: it starts after the warm-up.
type meter struct {
	job      *Job
	start    time.Time
	running  bool
	messages int64
	cpu      time.Duration
	calls    [2]int64
	result   Result
}

// tick looks at the clock and reports whether the time is over.
func (m *meter) tick(messages int64) (bool, error) {
	now := time.Now()
	if m.start.IsZero() {
		m.start = now
	}
	since := now.Sub(m.start)
	switch {
	case !m.running && since < m.job.WarmUp, m.running && since < m.job.Duration:
		return false, nil
	}
	cpu, err := CPUTime(m.job.PID)
	if err != nil {
		return false, err
	}
	if !m.running {
		m.running, m.start, m.messages, m.cpu, m.calls = true, now, messages, cpu, systemCalls(m.job.PID)
		return false, nil
	}
	// On a machine that has other work too, a server may not have had its share
	// yet.
	if cpu-m.cpu < m.job.Duration/2 && since < 20*m.job.Duration {
		return false, nil
	}
	calls := systemCalls(m.job.PID)
	m.result = Result{Messages: messages - m.messages, CPU: cpu - m.cpu, Wall: since, Reads: calls[0] - m.calls[0], Writes: calls[1] - m.calls[1]}
	if m.result.Messages == 0 {
		return false, errors.New("the server sent nothing")
	}
	return true, nil
}

type conn struct {
	fd      int
	check   checker
	sent    int64 // bytes
	pending int   // bytes to be sent
	since   time.Time
}

// echoTimes is how long echoes took. It has room for all of a long measurement,
// so that nothing is allocated while the clock runs.
type echoTimes []time.Duration

// p99 returns what 99 of 100 echoes took at most.
func (t echoTimes) p99() time.Duration {
	if len(t) == 0 {
		return 0
	}
	slices.Sort(t)
	return t[(len(t)-1)*99/100]
}

// flush sends what is pending, as far as the socket takes it.
func (c *conn) flush(r *ring) error {
	for c.pending > 0 {
		n, e := rawWrite(c.fd, r.at(c.sent, c.pending))
		switch {
		case e == syscall.EAGAIN:
			return nil // the socket becomes writable: the epoll set tells
		case e == syscall.EINTR:
			continue
		case e != 0:
			return fmt.Errorf("write: %w", e)
		}
		c.sent += int64(n)
		c.pending -= n
	}
	return nil
}

// answer sends the pongs that are due, unless a frame is sent in part.
func (c *conn) answer(r *ring) error {
	if len(c.check.answers) == 0 || c.sent%int64(r.frame) != 0 {
		return nil
	}
	if n, e := rawWrite(c.fd, c.check.answers); e != 0 || n != len(c.check.answers) {
		return fmt.Errorf("answering a ping: %w", e)
	}
	c.check.answers = nil
	return nil
}

// messages runs Echo and Receive.
func (j *Job) messages(addr netip.AddrPort) (Result, error) {
	opcode := byte(2)
	if j.Text {
		opcode = 1
	}
	payload := Payload(j.Size, j.Text)
	sample := int64(32)
	if j.Size >= 1<<16 {
		sample = 8
	}
	perConn := j.Outstanding
	frames := newRing(opcode, payload, perConn)
	if j.Kind == Receive {
		frames, perConn = newRing(2, []byte("trigger"), 1), 0
	}
	check := checker{header: serverHeader(opcode, j.Size), payload: payload, blind: j.Blind, sample: sample}
	if j.Raw {
		check = checker{payload: frames.bytes[:frames.frame], blind: true, sample: sample}
	}

	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return Result{}, err
	}
	buf := make([]byte, 1<<20)
	conns := make([]conn, j.Conns)
	for i := range conns {
		c := &conns[i]
		if c.fd, err = open(addr); err != nil {
			return Result{}, err
		}
		if !j.Raw {
			if err := upgrade(c.fd, buf); err != nil {
				return Result{}, err
			}
		}
		c.check = check
		c.pending = perConn * frames.frame
		ev := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLOUT | 1<<31 /* EPOLLET */, Fd: int32(i)}
		if err := syscall.EpollCtl(epfd, syscall.EPOLL_CTL_ADD, c.fd, &ev); err != nil {
			return Result{}, err
		}
	}
	if j.Kind == Receive {
		time.Sleep(50 * time.Millisecond) // until the server has registered all of them
		conns[0].pending = frames.frame
	}
	for i := range conns {
		if err := conns[i].flush(frames); err != nil {
			return Result{}, err
		}
	}

	m := meter{job: j}
	var took echoTimes
	if j.Slowest {
		took = make(echoTimes, 0, 4<<20)
	}
	var total, due int64
	due = int64(j.PerTrigger)
	last := time.Now()
	events := make([]syscall.EpollEvent, 256)
	for turn := 0; ; turn++ {
		if turn&63 == 0 {
			over, err := m.tick(total)
			if over || err != nil {
				m.result.P99 = took.p99()
				return m.result, err
			}
			if time.Since(last) > patience {
				return Result{}, fmt.Errorf("the server stalled after %d messages", total)
			}
		}
		n, e := rawPoll(epfd, events)
		if e != 0 && e != syscall.EINTR {
			return Result{}, fmt.Errorf("epoll: %w", e)
		}
		for i := range max(n, 0) {
			c := &conns[events[i].Fd]
			for more := true; more; {
				n, e := rawRead(c.fd, buf)
				switch {
				case e == syscall.EAGAIN:
					n, more = 0, false
				case e == syscall.EINTR:
					continue
				case e != 0:
					return Result{}, fmt.Errorf("read: %w", e)
				case n == 0:
					return Result{}, fmt.Errorf("the server ended a connection after %d messages", total)
				case n < len(buf):
					more = false // what comes later raises another event
				}
				k := c.check.take(buf[:n])
				if k < 0 {
					return Result{}, fmt.Errorf("message %d of a connection is not what was sent", c.check.done)
				}
				total += int64(k)
				if j.Kind == Echo {
					c.pending += k * frames.frame
				}
				if k > 0 {
					last = time.Now()
				}
				if k > 0 && j.Slowest && m.running && len(took) < cap(took) {
					took = append(took, last.Sub(c.since))
				}
			}
			if err := c.answer(frames); err != nil {
				return Result{}, err
			}
			if j.Slowest && c.pending > 0 {
				c.since = time.Now()
			}
			if err := c.flush(frames); err != nil {
				return Result{}, err
			}
		}
		if j.Kind == Receive && total >= due {
			due += int64(j.PerTrigger)
			conns[0].pending += frames.frame
			if err := conns[0].flush(frames); err != nil {
				return Result{}, err
			}
		}
	}
}

// A place holds one connection after the other, for its opening handshake.
type place struct {
	fd, n int
	buf   [1024]byte
	since time.Time
	done  bool
}

// begin opens a connection and sends the request.
func (p *place) begin(addr netip.AddrPort) (err error) {
	if p.fd, err = open(addr); err != nil {
		return err
	}
	p.n, p.since, p.done = 0, time.Now(), false
	if n, e := rawWrite(p.fd, []byte(request)); e != 0 || n != len(request) {
		return fmt.Errorf("sending the upgrade: %w", e)
	}
	return nil
}

// poll reads what has come, and notes whether that is the whole answer.
func (p *place) poll() (err error) {
	n, e := rawRead(p.fd, p.buf[p.n:])
	switch {
	case e == syscall.EAGAIN || e == syscall.EINTR:
		if time.Since(p.since) > patience {
			return errors.New("no answer to the upgrade")
		}
		return nil
	case e != 0:
		return fmt.Errorf("awaiting the upgrade: %w", e)
	case n == 0:
		return errors.New("the server ended the connection during the upgrade")
	}
	p.n += n
	p.done, err = upgraded(p.buf[:p.n])
	return err
}

// handshakes opens as many connections at a time as the job says. Each begins
// as soon as the one before it in the same place is done.
func (j *Job) handshakes(addr netip.AddrPort) (Result, error) {
	places := make([]place, j.Conns)
	if j.Bursts {
		return j.bursts(addr, places)
	}
	for i := range places {
		if err := places[i].begin(addr); err != nil {
			return Result{}, err
		}
	}
	m := meter{job: j}
	for total := int64(0); ; {
		over, err := m.tick(total)
		if over || err != nil {
			return m.result, err
		}
		for i := range places {
			p := &places[i]
			if err := p.poll(); err != nil {
				return Result{}, err
			}
			if !p.done {
				continue
			}
			total++
			reset(p.fd)
			if err := p.begin(addr); err != nil {
				return Result{}, err
			}
		}
	}
}

// bursts opens all places while the server stands still, and resets all when
// the last is answered. A burst begins with the ends of the one before.
func (j *Job) bursts(addr netip.AddrPort, places []place) (Result, error) {
	defer syscall.Kill(j.PID, syscall.SIGCONT)
	m := meter{job: j}
	for total := int64(0); ; total += int64(len(places)) {
		over, err := m.tick(total)
		if over || err != nil {
			return m.result, err
		}
		if err := syscall.Kill(j.PID, syscall.SIGSTOP); err != nil {
			return Result{}, fmt.Errorf("stopping the server: %w", err)
		}
		for i := range places {
			if total > 0 {
				reset(places[i].fd)
			}
			if err := places[i].begin(addr); err != nil {
				return Result{}, err
			}
		}
		if err := syscall.Kill(j.PID, syscall.SIGCONT); err != nil {
			return Result{}, fmt.Errorf("continuing the server: %w", err)
		}
		for left := len(places); left > 0; {
			for i := range places {
				p := &places[i]
				if p.done {
					continue
				}
				if err := p.poll(); err != nil {
					return Result{}, err
				}
				if p.done {
					left--
				}
			}
		}
	}
}

// idle opens connections, has one message echoed on each, and holds them until
// hold returns.
func (j *Job) idle(addr netip.AddrPort, hold func(Result)) error {
	payload := Payload(j.Size, false)
	frame := appendMasked(nil, 2, payload)
	want := append(serverHeader(2, j.Size), payload...)
	buf := make([]byte, 64<<10)
	kept := make([]any, 0, j.Conns)
	for range j.Conns {
		if j.TLS {
			c, err := idleTLS(addr, frame, want)
			if err != nil {
				return err
			}
			kept = append(kept, c)
			continue
		}
		fd, err := open(addr)
		if err != nil {
			return err
		}
		if j.Raw {
			want = frame
		} else if err := upgrade(fd, buf); err != nil {
			return err
		}
		if n, e := rawWrite(fd, frame); e != 0 || n != len(frame) {
			return fmt.Errorf("write: %w", e)
		}
		start := time.Now()
		for got := 0; got < len(want); {
			n, e := rawRead(fd, buf[got:])
			switch {
			case e == syscall.EAGAIN || e == syscall.EINTR:
				if time.Since(start) > patience {
					return errors.New("no echo")
				}
				continue
			case e != 0:
				return fmt.Errorf("read: %w", e)
			case n == 0:
				return errors.New("the server ended a connection")
			}
			got += n
			if got == len(want) && !j.Blind && string(buf[:got]) != string(want) {
				return errors.New("the echo is not what was sent")
			}
		}
		kept = append(kept, fd)
	}
	hold(Result{Messages: int64(len(kept))})
	return nil
}

func idleTLS(addr netip.AddrPort, frame, want []byte) (*tls.Conn, error) {
	c, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, request); err != nil {
		return nil, err
	}
	br := bufio.NewReaderSize(c, 1024)
	answer := []byte{}
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		answer = append(answer, line...)
		if ok, err := upgraded(answer); err != nil {
			return nil, err
		} else if ok {
			break
		}
	}
	if _, err := c.Write(frame); err != nil {
		return nil, err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(br, got); err != nil {
		return nil, err
	}
	if string(got) != string(want) {
		return nil, errors.New("the echo is not what was sent")
	}
	return c, nil
}

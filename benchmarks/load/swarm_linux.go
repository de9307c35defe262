package load

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// inFlight is how many handshakes of a swarm are under way at a time: fewer
// than a server's backlog takes.
const inFlight = 512

// A member is a connection of a swarm.
type member struct {
	fd   int
	rest []byte // the start of a frame, or of the answer to the upgrade
	tick uint32 // the last broadcast
	is   memberState
	owed bool // a message has not come back
}

type memberState byte

const (
	gone memberState = iota
	upgrading
	alive
)

type swarm struct {
	job     Swarm
	addr    netip.AddrPort
	from    []netip.Addr
	epfd    int
	members []member
	report  Report
	buf     []byte
	scratch []byte
	message []byte // what each message holds
	frames  *ring  // of it

	todial    []int // members
	upgrading int

	talking bool
	next    time.Time // when the next message is due
	turn    int       // whose message it is

	tick uint32 // the latest broadcast, or the one that is awaited; the report counts it

	orders   []byte // read and not carried out
	order    Order  // the one at work; Do is empty if there is none
	deadline time.Time
}

// RunSwarm obeys orders until its input ends.
func RunSwarm(job Swarm) error {
	s := swarm{job: job, buf: make([]byte, 64<<10)}
	var err error
	if s.addr, err = netip.ParseAddrPort(job.Addr); err != nil {
		return err
	}
	for _, from := range job.From {
		a, err := netip.ParseAddr(from)
		if err != nil {
			return err
		}
		s.from = append(s.from, a)
	}
	s.message = Payload(job.Size, false)
	s.frames = newRing(2, s.message, 1)
	s.report.Why = map[string]int{}
	if s.epfd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if err := s.watch(0, -1); err != nil {
		return err
	}
	defer s.resetAll()
	return s.run()
}

// watch has the epoll set tell of what fd has to read.
func (s *swarm) watch(fd, id int) error {
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(id)}
	return syscall.EpollCtl(s.epfd, syscall.EPOLL_CTL_ADD, fd, &ev)
}

// run ends when the input does.
func (s *swarm) run() error {
	events := make([]syscall.EpollEvent, 256)
	for {
		timeout := 100 // for the deadline of an order
		switch {
		case len(s.todial) > 0 && s.upgrading < inFlight:
			timeout = 0
		case s.talking:
			timeout = 5
		}
		n, err := syscall.EpollWait(s.epfd, events, timeout)
		if err != nil && err != syscall.EINTR {
			return fmt.Errorf("epoll: %w", err)
		}
		for i := range max(n, 0) {
			if id := int(events[i].Fd); id >= 0 {
				s.readable(&s.members[id])
			} else if more, err := s.readOrders(); err != nil || !more {
				return err
			}
		}
		for len(s.todial) > 0 && s.upgrading < inFlight {
			i := s.todial[0]
			s.todial = s.todial[1:]
			if err := s.dial(i); err != nil {
				s.report.Err = err.Error()
				s.todial = nil
			}
		}
		s.talk(time.Now())
		if err := s.answer(); err != nil {
			return err
		}
	}
}

// readOrders reads what there is, and begins with an order if none is at work.
func (s *swarm) readOrders() (more bool, err error) {
	n, err := syscall.Read(0, s.buf)
	if err != nil || n == 0 {
		return false, err
	}
	s.orders = append(s.orders, s.buf[:n]...)
	line, rest, ok := bytes.Cut(s.orders, []byte("\n"))
	if !ok {
		return true, nil
	}
	if s.order.Do != "" {
		return false, errors.New("an order came before the last one was carried out")
	}
	if err := json.Unmarshal(line, &s.order); err != nil {
		return false, err
	}
	s.orders = append(s.orders[:0], rest...)
	return true, s.begin()
}

func (s *swarm) begin() error {
	o := s.order
	s.deadline = time.Now().Add(o.Time)
	s.report.Err = ""
	switch o.Do {
	case Dial:
		for range o.N {
			s.todial = append(s.todial, len(s.members))
			s.members = append(s.members, member{})
		}
	case Talk:
		s.talking, s.next = true, time.Now()
	case Hush:
		s.talking = false
	case Await:
		s.await(o.Tick)
	case Cut:
		// Not the first so many, but some of every part.
		step := max(1, len(s.members)/max(o.N, 1))
		for i := 0; i < len(s.members) && len(s.todial) < o.N; i += step {
			if m := &s.members[i]; m.is == alive && i >= s.job.Few {
				reset(m.fd)
				*m = member{}
				s.report.Open--
				s.todial = append(s.todial, i)
			}
		}
	case Tell:
	default:
		return fmt.Errorf("unknown order %q", o.Do)
	}
	return nil
}

// answer reports if the order has been carried out, or cannot be.
func (s *swarm) answer() error {
	r := &s.report
	var done bool
	switch s.order.Do {
	case "":
		return nil
	case Dial, Cut:
		done = len(s.todial) == 0 && s.upgrading == 0
	case Hush:
		done = r.Echoed == r.Sent
	case Await:
		done = r.Received == r.Open
		if s.order.Few {
			done = r.Received == s.job.Few
		}
	default:
		done = true
	}
	if !done && r.Err == "" && time.Now().After(s.deadline) {
		r.Err = fmt.Sprintf("%q was not done after %v", s.order.Do, s.order.Time)
	}
	if !done && r.Err == "" {
		return nil
	}
	s.order = Order{}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// dial connects member i and asks for the upgrade.
func (s *swarm) dial(i int) error {
	m := &s.members[i]
	fd, err := openFrom(s.from[i%len(s.from)], s.addr)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	m.fd, m.is = fd, upgrading
	s.upgrading++
	hello := request
	if i < s.job.Few {
		hello = strings.Replace(request, "GET / ", "GET "+PathFew+" ", 1)
	}
	if n, e := rawWrite(fd, []byte(hello)); e != 0 || n != len(hello) {
		return fmt.Errorf("sending the upgrade: %w", e)
	}
	return s.watch(fd, i)
}

// readable reads once; what is left raises another event.
func (s *swarm) readable(m *member) {
	if m.is == gone {
		return // an event from before it was closed
	}
	have := copy(s.buf, m.rest)
	n, e := rawRead(m.fd, s.buf[have:])
	switch {
	case e == syscall.EAGAIN || e == syscall.EINTR:
		return
	case e != 0:
		s.lose(m, e)
		return
	case n == 0:
		s.lose(m, errors.New("the server ended the connection"))
		return
	}
	b := s.buf[:have+n]
	if m.is == upgrading {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			m.rest = bytes.Clone(b)
			return
		}
		if _, err := upgraded(b[:end+4]); err != nil {
			s.lose(m, err)
			s.report.Err = err.Error()
			return
		}
		b = b[end+4:]
		m.is = alive
		s.upgrading--
		s.report.Open++
		s.report.Last = time.Now()
	}
	for {
		opcode, payload, n, err := nextFrame(b)
		if err == nil && n > 0 {
			err = s.frame(m, opcode, payload)
		}
		if err != nil {
			s.lose(m, err)
			return
		}
		if n == 0 {
			break
		}
		b = b[n:]
	}
	if m.rest = nil; len(b) > 0 {
		m.rest = bytes.Clone(b)
	}
}

// frame takes a frame. After an error the connection is lost.
func (s *swarm) frame(m *member, opcode byte, payload []byte) error {
	switch opcode {
	case 8:
		code := uint16(1005)
		if len(payload) >= 2 {
			code = binary.BigEndian.Uint16(payload)
		}
		return fmt.Errorf("the server closed the connection: %d", code)
	case 9:
		s.report.Pings++
		s.scratch = appendMasked(s.scratch[:0], 10, payload)
		return s.write(m, s.scratch)
	case 10:
		return nil
	}
	if m.owed && bytes.Equal(payload, s.message) {
		m.owed = false
		s.report.Echoed++
		return nil
	}
	tick, ok := parseTick(payload)
	if !ok || tick <= m.tick {
		return errors.New("the server sent a message that is not expected")
	}
	m.tick = tick
	s.await(tick)
	if tick == s.tick {
		s.report.Last = time.Now()
		if s.report.Received++; s.report.Received == 1 {
			s.report.First = s.report.Last
		}
	}
	return nil
}

// await counts a broadcast from now on. It may come before the order to await
// it.
func (s *swarm) await(tick uint32) {
	if tick > s.tick {
		s.tick = tick
		s.report.First, s.report.Last, s.report.Received = time.Time{}, time.Time{}, 0
	}
}

func (s *swarm) write(m *member, b []byte) error {
	n, e := rawWrite(m.fd, b)
	if e != 0 {
		return fmt.Errorf("write: %w", e)
	}
	if n != len(b) {
		return errors.New("the server does not read")
	}
	return nil
}

// talk sends the messages that are due: one after the other, so that all
// connections have had a turn in the interval.
func (s *swarm) talk(now time.Time) {
	if !s.talking || len(s.members) == 0 {
		return
	}
	gap := s.job.Every / time.Duration(len(s.members))
	for ; !s.next.After(now); s.next = s.next.Add(gap) {
		m := &s.members[s.turn%len(s.members)]
		s.turn++
		if m.is != alive {
			continue
		}
		if m.owed {
			s.lose(m, errors.New("a message did not come back before the next was due"))
			continue
		}
		m.owed = true
		s.report.Sent++
		if err := s.write(m, s.frames.at(int64(s.turn)*int64(s.frames.frame), s.frames.frame)); err != nil {
			s.lose(m, err)
		}
	}
}

// lose counts a connection that should not have ended.
func (s *swarm) lose(m *member, why error) {
	if m.is == upgrading {
		s.upgrading--
	} else {
		s.report.Open--
	}
	if m.owed {
		s.report.Sent-- // it will not come back
	}
	reset(m.fd)
	*m = member{}
	s.report.Lost++
	s.report.Why[why.Error()]++
}

// resetAll leaves no connection in TIME_WAIT.
func (s *swarm) resetAll() {
	for i := range s.members {
		if m := &s.members[i]; m.is != gone {
			reset(m.fd)
		}
	}
}

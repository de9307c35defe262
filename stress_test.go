package websocket

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
)

var (
	stressSeeds = flag.Int("stress.seeds", 0, "how many seeds TestStress runs; 0: a few")
	stressFirst = flag.Uint64("stress.first", 1, "the first seed of TestStress")
)

// TestStress lets two Conns talk over transports of all kinds of buffers. On
// each side goroutines write and read in every way that there is, with contexts
// and deadlines that end at any moment. Each message whose write succeeded must
// arrive once, whole, and in its writer's order. None whose write was given up
// may arrive. Nothing may be stranded, and at the end nothing may hang. In some
// runs the connection is ended in the middle.
func TestStress(t *testing.T) {
	seeds := *stressSeeds
	if seeds == 0 {
		seeds = 150
		if raceEnabled || testing.Short() {
			seeds = 30
		}
	}
	for seed := *stressFirst; seed < *stressFirst+uint64(seeds); seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				end := func() netfake.End {
					return netfake.End{Buffer: pick(rng, 1, 20, 137, 1000, 5000, 70_000, 1<<20), ReadMax: pick(rng, 0, 0, 1, 17, 300)}
				}
				opts := netfake.Options{A: end(), B: end()}
				a, b := netfake.Pipe(opts)
				s := newStress(t, rng, a, b, time.Hour)
				if opts.A.Buffer < 100 || opts.B.Buffer < 100 || opts.A.ReadMax == 1 || opts.B.ReadMax == 1 {
					// Each few bytes take a change of goroutines: not too many.
					s.plans[0].sizes, s.plans[1].sizes = []int{40, 200, 4200}, []int{40, 200}
				}
				s.run()
			})
		})
	}
}

// TestStressSockets is TestStress over sockets and over TLS, in real time.
func TestStressSockets(t *testing.T) {
	for _, link := range links {
		if link.bubble {
			continue
		}
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s/%d", link.name, seed), func(t *testing.T) {
				t.Parallel()
				a, b := link.make(t)
				newStress(t, rand.New(rand.NewPCG(seed, 2)), a, b, 20*time.Second).run()
			})
		}
	}
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// A stress is one run.
type stress struct {
	t     *testing.T
	conns [2]*Conn
	plans [2]stressPlan
	limit time.Duration // until everything must have arrived

	cancels bool // calls are cancelled
	chaos   bool // the connection ends in the middle

	shared context.Context // that of many calls; it ends at the end

	mu       sync.Mutex
	writers  map[[2]int]*stressWriter // by side and number
	arrived  chan struct{}            // gets a token when something has arrived
	forgiven [2]int                   // messages that a reader of this side left before it knew which they were
}

// stressPlan is what one side does.
type stressPlan struct {
	seed              uint64
	writers, messages int
	readers, pingers  int
	sizes             []int
}

// stressWriter knows what became of one writer's messages.
type stressWriter struct {
	sent     map[int]bool // true: acknowledged; false: given up
	received map[int]bool
	last     int
}

func newStress(t *testing.T, rng *rand.Rand, a, b net.Conn, limit time.Duration) *stress {
	s := &stress{t: t, limit: limit, writers: make(map[[2]int]*stressWriter), arrived: make(chan struct{}, 1)}
	s.cancels = rng.IntN(2) == 0
	s.chaos = rng.IntN(4) == 0
	deflate := pick(rng, nil, nil, &withTakeover, &alone, &deflateParams{serverBits: 9, clientBits: 10})
	for side, transport := range []net.Conn{a, b} {
		s.conns[side] = newConn(connConfig{
			transport:        transport,
			client:           side == 1,
			deflate:          deflate,
			writeBufferLimit: pick(rng, 0, 0, -1, 1, 100, 5000),
			closeTimeout:     s.limit,
		})
		s.plans[side] = stressPlan{
			seed:     rng.Uint64(),
			writers:  rng.IntN(5),
			messages: 1 + rng.IntN(30),
			readers:  pick(rng, 1, 1, 3),
			pingers:  rng.IntN(3),
			sizes:    [][]int{{40}, {40, 200}, {40, 200, 5000}, {40, 4090, 4100, 30_000, 200_000}}[rng.IntN(4)],
		}
	}
	return s
}

func (s *stress) run() {
	var writers, readers, pingers sync.WaitGroup
	pinging, stopPings := context.WithTimeout(context.Background(), 2*s.limit)
	defer stopPings()
	s.shared = pinging
	for side := range s.conns {
		plan := s.plans[side]
		for i := range plan.writers {
			rng := rand.New(rand.NewPCG(plan.seed, uint64(i)))
			writers.Go(func() { s.write(rng, side, i) })
		}
		for i := range plan.readers {
			rng := rand.New(rand.NewPCG(plan.seed, 100+uint64(i)))
			readers.Go(func() { s.read(rng, side) })
		}
		for i := range plan.pingers {
			rng := rand.New(rand.NewPCG(plan.seed, 200+uint64(i)))
			pingers.Go(func() { s.ping(pinging, rng, side) })
		}
	}
	rng := rand.New(rand.NewPCG(s.plans[0].seed, 300))
	if s.chaos {
		time.Sleep(time.Duration(rng.IntN(20_000)) * time.Microsecond)
	} else {
		writers.Wait()
		s.waitForAll()
	}
	var ends sync.WaitGroup
	closing := [2]bool{}
	closeErrs := make(chan error, 3)
	for range 1 + rng.IntN(3) {
		side := rng.IntN(2)
		closing[side] = true
		c := s.conns[side]
		now := s.chaos && rng.IntN(2) == 0
		ends.Go(func() {
			if now {
				c.CloseNow()
			} else if err := c.Close(StatusNormalClosure, "bye"); err != nil && !s.chaos && !s.over() && !errors.Is(err, net.ErrClosed) {
				closeErrs <- err
			}
		})
	}
	ends.Wait()
	close(closeErrs)
	for err := range closeErrs {
		// Two that close at once, each with more to write than the other takes,
		// wait for each other in vain.
		if !(closing[0] && closing[1] && errors.Is(err, context.DeadlineExceeded)) {
			s.t.Errorf("Close = %v", err)
		}
	}
	readers.Wait()
	writers.Wait()
	stopPings()
	pingers.Wait()
	for _, c := range s.conns {
		c.CloseNow()
	}
	s.judge()
}

// over reports whether a side ended for another reason than an orderly end: a
// write that was cut short.
func (s *stress) over() bool {
	for _, c := range s.conns {
		if err := c.life.reason(); err != nil && !isClose(err) && !errors.Is(err, io.EOF) {
			return true
		}
	}
	return false
}

// waitForAll waits until everything that was acknowledged has arrived, unless
// the connection breaks.
func (s *stress) waitForAll() {
	timeout := time.NewTimer(s.limit)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		missing := s.missing()
		s.mu.Unlock()
		if missing == "" || s.conns[0].life.reason() != nil || s.conns[1].life.reason() != nil {
			return
		}
		select {
		case <-s.arrived:
		case <-time.After(time.Millisecond):
		case <-timeout.C:
			s.t.Errorf("stranded: %s", missing)
			return
		}
	}
}

// missing names a message that was acknowledged and has not arrived. The lock
// is held.
func (s *stress) missing() string {
	missing, forgiven := "", s.forgiven
	for id, w := range s.writers {
		for seq, acknowledged := range w.sent {
			if acknowledged && !w.received[seq] {
				if forgiven[1-id[0]]--; forgiven[1-id[0]] < 0 {
					missing = fmt.Sprintf("message %d of writer %v", seq, id)
				}
			}
		}
	}
	return missing
}

// judge looks at what has arrived when all is over.
func (s *stress) judge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if missing := s.missing(); missing != "" && !s.chaos && !s.over() {
		s.t.Errorf("lost: %s", missing)
	}
	for id, w := range s.writers {
		for seq := range w.received {
			if acknowledged, known := w.sent[seq]; known && !acknowledged {
				s.t.Errorf("message %d of writer %v arrived, whose write was given up", seq, id)
			}
			for earlier := range seq {
				if w.sent[earlier] && !w.received[earlier] && s.plans[1-id[0]].readers == 1 && s.forgiven[1-id[0]] == 0 {
					s.t.Errorf("message %d of writer %v arrived, %d before it did not", seq, id, earlier)
				}
			}
		}
	}
}

func (s *stress) writer(side, i int) *stressWriter {
	w := s.writers[[2]int{side, i}]
	if w == nil {
		w = &stressWriter{sent: make(map[int]bool), received: make(map[int]bool), last: -1}
		s.writers[[2]int{side, i}] = w
	}
	return w
}

const stressHead = 24

func stressMessage(side, writer, seq, size int) []byte {
	b := fmt.Appendf(nil, "%02d %02d %06d %08d |", side, writer, seq, size)
	for len(b) < size {
		b = append(b, 'a'+byte((writer+seq+len(b)/7)%26))
	}
	return b
}

// receive takes note of a message that has arrived at side, whole or in part.
func (s *stress) receive(side int, typ MessageType, data []byte, whole bool) {
	var from, i, seq, size int
	if _, err := fmt.Sscanf(string(data[:min(len(data), stressHead)]), "%d %d %d %d |", &from, &i, &seq, &size); err != nil {
		s.t.Errorf("side %d: a message begins with %q", side, data[:min(len(data), stressHead)])
		return
	}
	want := stressMessage(from, i, seq, size)
	if from != 1-side || whole && len(data) != size || string(data) != string(want[:len(data)]) || typ != MessageType(1+seq%2) {
		s.t.Errorf("side %d: message %d of writer %d: %d bytes of %d, type %v, not as sent", side, seq, i, len(data), size, typ)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.writer(from, i)
	if w.received[seq] {
		s.t.Errorf("side %d: message %d of writer %d arrives twice", side, seq, i)
	}
	if s.plans[side].readers == 1 && seq <= w.last {
		s.t.Errorf("side %d: message %d of writer %d arrives behind %d", side, seq, i, w.last)
	}
	w.last = seq
	w.received[seq] = true
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// context returns a context for one call.
func (s *stress) context(rng *rand.Rand) (context.Context, context.CancelFunc) {
	if !s.cancels || rng.IntN(3) == 0 {
		return context.Background(), func() {}
	}
	switch rng.IntN(4) {
	case 0:
		return context.WithTimeout(context.Background(), time.Duration(rng.IntN(2000))*time.Microsecond)
	case 1:
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		time.AfterFunc(time.Duration(rng.IntN(3000))*time.Microsecond, cancel) // at a moment of its own, perhaps after the call
		return ctx, func() {}
	case 2:
		return s.shared, func() {}
	}
	return context.WithCancel(context.Background())
}

func isGivenUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// checkQueued checks the bound of what waits for the transport:
// WriteBufferLimit, or one message that is longer, and a few control frames.
func (s *stress) checkQueued(c *Conn) {
	limit := int(c.w.limit)
	if limit < 0 {
		return
	}
	most := max(limit, gatherMax+maxHeaderSize) + 4*(maxControlPayload+maxHeaderSize)
	if n := c.queued(); n > most {
		s.t.Errorf("%d bytes wait, the bound is %d", n, most)
	}
}

// write sends the messages of one writer.
func (s *stress) write(rng *rand.Rand, side, i int) {
	c, plan := s.conns[side], s.plans[side]
	for seq := range plan.messages {
		msg := stressMessage(side, i, seq, pick(rng, plan.sizes...))
		typ := MessageType(1 + seq%2)
		ctx, cancel := s.context(rng)
		if s.cancels && rng.IntN(20) == 0 {
			c.SetWriteDeadline(time.Now().Add(time.Duration(rng.IntN(2000)-100) * time.Microsecond))
			time.AfterFunc(3*time.Millisecond, func() { c.SetWriteDeadline(time.Time{}) })
		}
		var err error
		switch rng.IntN(6) {
		case 0:
			var w io.WriteCloser
			if w, err = c.Writer(ctx, typ); err == nil {
				for rest := msg; len(rest) > 0 && err == nil; {
					n := min(len(rest), 1+rng.IntN(9000))
					_, err = w.Write(rest[:n])
					rest = rest[n:]
					if rng.IntN(8) == 0 {
						time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
					}
				}
				if err2 := w.Close(); err == nil {
					err = err2
				}
			}
		case 1:
			var m *PreparedMessage
			if m, err = NewPreparedMessage(typ, msg); err == nil {
				err = c.WritePrepared(ctx, m)
			}
		default:
			err = c.Write(ctx, typ, msg)
			clear(msg) // it is ours again
		}
		cancel()
		s.checkQueued(c)
		if err == nil || isGivenUp(err) && c.life.reason() == nil && c.w.stopped() == nil {
			s.mu.Lock()
			s.writer(side, i).sent[seq] = err == nil
			s.mu.Unlock()
			continue
		}
		if c.life.reason() == nil && c.w.stopped() == nil {
			s.t.Errorf("Write = %v on a connection that lives", err)
		}
		return
	}
}

// ping pings until ctx ends.
func (s *stress) ping(ctx context.Context, rng *rand.Rand, side int) {
	c := s.conns[side]
	for ctx.Err() == nil {
		err := c.Ping(ctx)
		if err == nil {
			time.Sleep(time.Duration(rng.IntN(5000)) * time.Microsecond)
			continue
		}
		if c.life.reason() == nil && c.w.stopped() == nil && !isGivenUp(err) {
			s.t.Errorf("Ping = %v on a connection that lives", err)
		}
		if c.life.reason() != nil || c.w.stopped() != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// read receives messages in every way until the connection is over.
func (s *stress) read(rng *rand.Rand, side int) {
	c, plan := s.conns[side], s.plans[side]
	var buf []byte
	for {
		if s.cancels && rng.IntN(10) == 0 {
			c.SetReadDeadline(time.Now().Add(time.Duration(rng.IntN(2000)-100) * time.Microsecond))
			time.AfterFunc(3*time.Millisecond, func() { c.SetReadDeadline(time.Time{}) })
		}
		ctx, cancel := s.context(rng)
		var typ MessageType
		var data []byte
		var err error
		how := rng.IntN(5)
		if plan.readers > 1 && how == 3 {
			how = 0 // what one goroutine begins with Reader another discards
		}
		switch how {
		case 0:
			if typ, data, err = c.Read(ctx); err == nil {
				s.receive(side, typ, data, true)
			}
		case 1:
			if typ, buf, err = c.ReadInto(ctx, buf); err == nil {
				s.receive(side, typ, buf, true)
			}
		case 2:
			left := 1 + rng.IntN(10)
			for m, merr := range c.Messages(ctx) {
				if err = merr; err != nil {
					break
				}
				s.receive(side, m.Type, m.Data, true)
				clear(m.Data) // it may be changed
				if rng.IntN(4) == 0 {
					time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond)
				}
				if rng.IntN(4) == 0 {
					for m, err := range c.Messages(ctx) { // nested, while m is in use
						if err == nil {
							s.receive(side, m.Type, m.Data, true)
						}
						break
					}
				}
				for _, b := range m.Data {
					if b != 0 {
						s.t.Errorf("side %d: a message that is lent changes", side)
						break
					}
				}
				if left--; left == 0 {
					break
				}
			}
			if err == nil {
				err = c.life.reason()
			}
		case 3:
			err = s.stream(rng, side, ctx)
		case 4:
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
		}
		cancel()
		if err != nil && c.life.reason() != nil {
			return
		}
		if err != nil && !isGivenUp(err) {
			s.t.Errorf("a read fails with %v on a connection that lives", err)
			return
		}
	}
}

// forgive notes that a message of which too little is known was left.
func (s *stress) forgive(side int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgiven[side]++
}

// stream receives a message by a Reader, or a part of one.
func (s *stress) stream(rng *rand.Rand, side int, ctx context.Context) error {
	typ, r, err := s.conns[side].Reader(ctx)
	if err != nil {
		return err
	}
	var data []byte
	part := rng.IntN(3) == 0
	b := make([]byte, 1+rng.IntN(5000))
	for {
		n, err := r.Read(b)
		data = append(data, b[:n]...)
		switch {
		case err == io.EOF:
			s.receive(side, typ, data, true)
			return nil
		case err != nil && errors.Is(err, os.ErrDeadlineExceeded) && s.conns[side].life.reason() == nil:
			time.Sleep(time.Millisecond) // until it is lifted; then the same reader goes on
		case err != nil:
			if len(data) >= stressHead {
				s.receive(side, typ, data, false)
				return err
			}
			if s.conns[side].life.reason() != nil {
				return err
			}
			// Too little to know which message it was: the test must not count
			// it as missing.
			s.forgive(side)
			return err
		case part && len(data) >= stressHead:
			s.receive(side, typ, data, false)
			return nil // the rest is discarded by the next read
		}
	}
}

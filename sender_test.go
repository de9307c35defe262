package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/bufpool"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/poison"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// waiters are the ways in which a writer that waits for the wire can leave
// without taking it.
var waiters = map[string]struct {
	write func(c *Conn) error
	leave func(c *Conn) // makes the waiter leave; nil: the close frame does
}{
	"close frame": {write: func(c *Conn) error {
		return c.Write(context.Background(), MessageBinary, make([]byte, 8<<10))
	}},
	"fragment": {write: func(c *Conn) error {
		w, err := c.Writer(context.Background(), MessageBinary)
		if err == nil {
			w.Write(make([]byte, 8<<10))
			err = w.Close()
		}
		return err
	}},
	"context": {write: func(c *Conn) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return c.Write(ctx, MessageBinary, make([]byte, 8<<10))
	}, leave: func(*Conn) { time.Sleep(time.Second) }},
	"panic": {write: func(c *Conn) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		ctx := &panickyContext{Context: context.Background(), done: make(chan struct{})}
		time.AfterFunc(time.Second, func() { close(ctx.done) })
		return c.Write(ctx, MessageBinary, make([]byte, 8<<10))
	}, leave: func(*Conn) { time.Sleep(time.Second) }},
}

// A panickyContext panics in Err once it has ended.
type panickyContext struct {
	context.Context
	done chan struct{}
}

func (c *panickyContext) Done() <-chan struct{} { return c.done }

func (c *panickyContext) Err() error {
	select {
	case <-c.done:
		panic("Err")
	default:
		return nil
	}
}

// newAdmitting returns a sender in a state that depends on r. In most states
// that admit may be called in, a writer has to wait for nothing.
func newAdmitting(r *rand.Rand) *sender {
	rarely := func() bool { return r.IntN(8) == 0 }
	w := &sender{
		t:     &transport{c: &Conn{}},
		limit: int32(r.IntN(6000) - 100),
		alone: uint16(r.IntN(70)),
		end:   position(r.Uint32()),
		half:  sendHalf{client: rarely(), unfinished: rarely(), closed: rarely()},
		armed: r.IntN(2) == 0, held: rarely(), owned: rarely(), stream: rarely(),
	}
	w.corked.Store(r.IntN(2) == 0)
	if w.owned {
		w.inflight = int32(r.IntN(3000))
	}
	if rarely() {
		w.wanted = 1
	}
	if r.IntN(2) == 0 || w.armed {
		w.rest = &senderRest{flusher: func() {}}
		if rarely() {
			w.rest.err = errClosed
		}
		if rarely() {
			w.rest.late = new(latePong)
		}
	}
	if n := r.IntN(3000); n > 0 && r.IntN(2) == 0 {
		w.buf = append(make([]byte, 0, n+r.IntN(3000)), make([]byte, n)...)
		w.pending.Store(true)
	}
	return w
}

// admit would have taken each frame that admitShort takes, in the same way. A
// frame that it refuses it leaves as it was.
func TestAdmitShort(t *testing.T) {
	gathered, written := 0, 0
	for i := range uint64(40_000) {
		r := rand.New(rand.NewPCG(i, 0))
		seed := r.Uint64()
		w, twin := newAdmitting(rand.New(rand.NewPCG(seed, 0))), newAdmitting(rand.New(rand.NewPCG(seed, 0)))
		op, p := opText+opcode(r.IntN(2)), make([]byte, r.IntN(1+r.IntN(5000)))
		own, ok := w.admitShort(op, p)
		var out []byte
		if own {
			out = newShort(op, p)
		}
		if ok {
			want, err := twin.admit(context.Background(), &outgoing{op: op, fin: true, payload: p})
			if err != nil || !bytes.Equal(out, want) || (out == nil) != (want == nil) {
				t.Fatalf("state %d: %d bytes to write; by admit %d, %v", i, len(out), len(want), err)
			}
			if out == nil {
				gathered++
			} else {
				written++
			}
			bufpool.Put(want)
		}
		if !bytes.Equal(w.buf, twin.buf) {
			t.Fatalf("state %d, taken: %v: %d bytes have gathered; by admit %d", i, ok, len(w.buf), len(twin.buf))
		}
		if got, want := describe(w), describe(twin); got != want {
			t.Fatalf("state %d, taken: %v: the sender is\n%s; by admit\n%s", i, ok, got, want)
		}
		bufpool.Put(out)
	}
	if gathered < 500 || written < 500 {
		t.Errorf("%d frames gather, and %d are written: few of 40,000", gathered, written)
	}
}

// describe returns the state of w, except its gather buffer.
func describe(w *sender) string {
	late := w.rest != nil && w.rest.late != nil
	return fmt.Sprint(w.half, w.owned, w.armed, w.held, w.news, w.stream, w.alone, w.inflight, w.wanted,
		w.end, w.pong, w.gave, w.pending.Load(), late, w.errLocked())
}

// A writer that waited for the wire may leave it untaken at the moment it has
// become free. Frames that gathered meanwhile are not stranded, nor is the
// close frame.
func TestWaiterLeaves(t *testing.T) {
	for name, waiter := range waiters {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{pingInterval: -1}, netfake.Options{A: netfake.End{Buffer: 100}})
				long := make([]byte, 20_000)
				closed := start(func() error {
					if err := p.c.Write(context.Background(), MessageBinary, long); err != nil {
						return err
					}
					return p.c.Close(StatusNormalClosure, "")
				})
				synctest.Wait()
				if err := p.c.Write(context.Background(), MessageText, []byte("gathered")); err != nil {
					t.Fatal(err)
				}
				waiting := start(func() error { return waiter.write(p.c) })
				synctest.Wait()
				if waiter.leave != nil {
					waiter.leave(p.c)
					if err := <-waiting; err == nil {
						t.Error("the waiting write succeeds")
					}
				}
				p.WantFrame(wstest.Binary, string(long))
				p.WantFrame(wstest.Text, "gathered")
				if waiter.leave == nil {
					// It may have got its message in before the close frame.
					f := p.ReadFrame()
					for f.Op == wstest.Binary || f.Op == wstest.Continuation {
						f = p.ReadFrame()
					}
					if f.Op != wstest.Close {
						t.Fatalf("got %v, want the close frame", f)
					}
					<-waiting
				} else {
					p.WantClose(1000)
				}
				p.WriteFrames(wstest.CloseFrame(1000, ""))
				p.Close()
				if err := <-closed; err != nil {
					t.Errorf("Close = %v", err)
				}
			})
		})
	}
}

// A panickyConn panics in its Write when it is told to.
type panickyConn struct {
	net.Conn
	panics bool
}

func (c *panickyConn) Write(p []byte) (int, error) {
	if c.panics {
		panic("Write")
	}
	return c.Conn.Write(p)
}

// A transport whose Write panics ends the connection: others that write are
// told, and do not wait for the wire for ever.
func TestWritePanics(t *testing.T) {
	if poison.On {
		t.Skip("what a panicking transport holds is left to the collector")
	}
	for _, size := range []int{10, 10_000} {
		synctest.Test(t, func(t *testing.T) {
			a, b := netfake.Pipe(netfake.Options{})
			defer b.Close()
			conn := &panickyConn{Conn: a}
			c := newConn(connConfig{transport: conn, pingInterval: -1})
			conn.panics = true
			func() {
				defer func() {
					if recover() == nil {
						t.Error("Write does not panic")
					}
				}()
				c.Write(context.Background(), MessageText, make([]byte, size))
			}()
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if err := c.Write(ctx, MessageText, make([]byte, size)); err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a later Write = %v", err)
			}
			c.CloseNow()
		})
	}
}

// queued returns how many bytes of frames wait to be written, what the owner of
// the wire holds included.
func (c *Conn) queued() int {
	w := &c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	return int(w.inflight) + len(w.buf)
}

// The bytes that wait for a peer that takes nothing have a bound:
// WriteBufferLimit and one message, whatever the contexts, the sizes and the
// number of writers.
func TestGatheredIsBounded(t *testing.T) {
	for _, test := range []struct {
		writers, size int
		patience      time.Duration
		limit         int
		pings         bool // the peer pings, and reads nothing
	}{
		{3, 1000, 50 * time.Millisecond, 0, false},
		{8, 700, 300 * time.Millisecond, 0, false},
		{4, 8000, 60 * time.Millisecond, 0, false},
		{20, 100, 10 * time.Millisecond, 1, false},
		{5, 3000, 70 * time.Millisecond, 5000, false},
		{0, 0, 0, 0, true},
		{3, 100, 50 * time.Millisecond, 1, true},
		{6, 4096, 30 * time.Millisecond, 0, true},
	} {
		t.Run(fmt.Sprintf("%d of %d for %v within %d/pings %v", test.writers, test.size, test.patience, test.limit, test.pings), func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				cfg := connConfig{writeBufferLimit: test.limit, pingInterval: -1}
				full := (&pair{client: client}).frameSize(test.size) // a frame: what is cut is behind its end
				p := newPair(t, client, cfg, netfake.Options{A: netfake.End{Buffer: full}})
				limit := test.limit
				if limit == 0 {
					limit = defaultWriteBufferLimit
				}
				most := limit + max(test.size, maxControlPayload) + maxHeaderSize
				var over atomic.Bool
				var wg sync.WaitGroup
				for range test.writers {
					wg.Go(func() {
						for !over.Load() {
							ctx, cancel := context.WithTimeout(context.Background(), test.patience)
							err := p.c.Write(ctx, MessageBinary, make([]byte, test.size))
							cancel()
							if err != nil && !errors.Is(err, context.DeadlineExceeded) {
								if !test.pings { // a pong may fill the transport up to the middle of a frame
									t.Errorf("Write = %v", err)
								}
								return
							}
						}
					})
				}
				if test.pings {
					wg.Go(func() { p.readError() })
					p.theirs.SetWriteDeadline(time.Time{})
					wg.Go(func() {
						for !over.Load() {
							if _, err := p.theirs.Write(p.Encode(ping(fmt.Sprintf("%0120d", 1)))); err != nil {
								return
							}
							time.Sleep(time.Millisecond)
						}
					})
				}
				for range 1000 {
					time.Sleep(10 * time.Millisecond)
					if n := p.c.queued(); n > most {
						t.Errorf("%d bytes wait, the bound is %d", n, most)
						break
					}
				}
				over.Store(true)
				time.Sleep(time.Second) // the writers leave
				p.c.CloseNow()
				p.theirs.Close()
				wg.Wait()
			})
		})
	}
}

// A peer that takes nothing for PingInterval and PongTimeout is given up,
// however it is written to, with a reader and without one. A quarter more is
// what the looks of the heartbeat cost.
func TestHeartbeatTakesNothing(t *testing.T) {
	background := context.Background()
	for name, write := range map[string]func(c *Conn) error{
		"long": func(c *Conn) error { return c.Write(background, MessageBinary, make([]byte, 1<<20)) },
		"short": func(c *Conn) error {
			for {
				if err := c.Write(background, MessageBinary, make([]byte, 100)); err != nil {
					return err
				}
			}
		},
		"streamed": func(c *Conn) error {
			w, err := c.Writer(background, MessageBinary)
			for err == nil {
				_, err = w.Write(make([]byte, 1000))
			}
			w.Close()
			return err
		},
		"given up": func(c *Conn) error {
			for {
				ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
				err := c.Write(ctx, MessageBinary, make([]byte, 100))
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					return err
				}
			}
		},
		"deadline": func(c *Conn) error {
			for {
				c.SetWriteDeadline(time.Now().Add(time.Second))
				err := c.Write(background, MessageBinary, make([]byte, 100))
				var timeout net.Error
				if err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
					return err
				}
			}
		},
	} {
		for _, reading := range []bool{false, true} {
			for _, pinged := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/reading %v/pinged %v", name, reading, pinged), func(t *testing.T) {
					bothRoles(t, func(t *testing.T, client bool) {
						const interval, timeout = 30 * time.Second, 10 * time.Second
						full := 3 * (&pair{client: client}).frameSize(100)
						p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: full}})
						time.Sleep(time.Hour) // no goroutine reads, nothing is judged
						read := make(<-chan error)
						if reading {
							read = start(p.readError)
						}
						if pinged {
							defer p.pinging()()
							time.Sleep(10 * time.Second)
						}
						begin := time.Now()
						if err := write(p.c); !errors.Is(err, ErrPongTimeout) {
							t.Errorf("Write = %v", err)
						}
						// An answer owed from before the write counts too.
						if d := time.Since(begin); d < interval+timeout-10*time.Second || d > (interval+timeout)*5/4 {
							t.Errorf("given up after %v", d)
						}
						if reading {
							if err := <-read; !errors.Is(err, ErrPongTimeout) {
								t.Errorf("Read = %v", err)
							}
						}
					})
				})
			}
		}
	}
}

// A peer that takes bytes is alive, however few, whatever is in flight.
func TestHeartbeatTakesSlowly(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		for _, reading := range []bool{false, true} {
			p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 5000}})
			read := make(<-chan error)
			if reading {
				read = start(p.readError)
			}
			payload := make([]byte, 500_000)
			write := start(func() error { return p.c.Write(context.Background(), MessageBinary, payload) })
			for running(write) {
				if _, err := p.theirs.Read(make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
			}
			if err := <-write; err != nil {
				t.Errorf("Write = %v", err)
			}
			p.c.CloseNow()
			if reading {
				<-read
			}
		}
	})
}

// A message of 5 MB to a client that reads 80 kB/s, over sockets, at a
// hundredth of the times. The client answers each ping as soon as it gets to
// it.
func TestHeartbeatSlowTransferSockets(t *testing.T) {
	cfg := connConfig{pingInterval: 300 * time.Millisecond, pongTimeout: 100 * time.Millisecond, readLimit: -1}
	for _, link := range links[1:] {
		t.Run(link.name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := link.make(t)
			cfg := cfg
			cfg.transport = ours
			c := newConn(cfg)
			defer c.CloseNow()
			go c.Read(context.Background())
			write := start(func() error {
				for range 3 {
					if err := c.Write(context.Background(), MessageBinary, make([]byte, 3<<20)); err != nil {
						return err
					}
				}
				return nil
			})
			slow := &slowReader{conn: theirs, rate: 8 << 20}
			for got := 0; got < 3; {
				f, err := wstest.ReadFrame(slow)
				if err != nil {
					t.Errorf("the peer reads: %v", err)
					break
				}
				switch f.Op {
				case wstest.Ping:
					theirs.Write(wstest.Encode(wstest.Client, pong(string(f.Payload))))
				case wstest.Binary:
					got++
				}
			}
			if err := <-write; err != nil {
				t.Errorf("Write = %v", err)
			}
		})
	}
}

// A slowReader reads at most rate bytes a second.
type slowReader struct {
	conn net.Conn
	rate int
	debt time.Duration
}

func (r *slowReader) Read(p []byte) (int, error) {
	n, err := r.conn.Read(p[:min(len(p), 64<<10)])
	if r.debt += time.Duration(n) * time.Second / time.Duration(r.rate); r.debt > time.Millisecond {
		begin := time.Now()
		<-time.After(r.debt)
		r.debt -= time.Since(begin)
	}
	return n, err
}

// Messages whose Write returned nil before Close arrive, and Close is quick,
// whatever else writes at that moment. There are writers of long payloads and
// of short ones, with contexts and without.
func TestStressClose(t *testing.T) {
	rounds := 60
	if testing.Short() || raceEnabled {
		rounds = 15
	}
	for _, link := range links {
		t.Run(link.name, func(t *testing.T) {
			for round := range rounds {
				if link.bubble {
					synctest.Test(t, func(t *testing.T) { stressClose(t, link, uint64(round)) })
				} else {
					stressClose(t, link, uint64(round))
				}
				if t.Failed() {
					return // each round may take a close timeout
				}
			}
		})
	}
}

func stressClose(t *testing.T, link link, seed uint64) {
	ours, theirs := link.make(t)
	defer theirs.Close()
	c := newConn(connConfig{transport: ours, writeBufferLimit: 20_000, pingInterval: -1, closeTimeout: time.Minute})
	defer c.CloseNow()
	rng := rand.New(rand.NewPCG(seed, 3))

	var mu sync.Mutex
	acked := map[string]bool{}
	closing := false
	write := func(ctx context.Context, id string, size int) error {
		mu.Lock()
		late := closing
		mu.Unlock()
		err := c.Write(ctx, MessageBinary, append([]byte(id+" "), make([]byte, size)...))
		if err == nil && !late {
			mu.Lock()
			acked[id] = acked[id] || !closing // its Write returned before Close was called
			mu.Unlock()
		}
		return err
	}
	over := func(err error) bool { return err != nil && !errors.Is(err, context.DeadlineExceeded) }
	var writers sync.WaitGroup
	for i, size := range []int{8 << 10, 8 << 10, 300, 300, 3000} {
		patience := time.Duration(0)
		if i%2 == 1 {
			patience = time.Duration(1+rng.IntN(5)) * time.Millisecond
		}
		writers.Go(func() {
			for n := 0; ; n++ {
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				if patience > 0 {
					ctx, cancel = context.WithTimeout(ctx, patience)
				}
				err := write(ctx, fmt.Sprintf("%d.%d", i, n), size)
				cancel()
				if over(err) {
					return
				}
			}
		})
	}

	// The peer reads, and answers the close frame.
	enough, closeAfter := make(chan struct{}), 1+rng.IntN(60)
	received := map[string]bool{}
	read := start(func() error {
		for {
			f, err := wstest.ReadFrame(theirs)
			if err != nil {
				return err
			}
			if f.Op == wstest.Close {
				theirs.Write(wstest.Encode(wstest.Client, wstest.CloseFrame(1001, "")))
				return nil
			}
			id, _, _ := strings.Cut(string(f.Payload), " ")
			received[id] = true
			if len(received) == closeAfter {
				close(enough)
			}
			if link.bubble {
				time.Sleep(20 * time.Microsecond) // so that writers wait, and time passes
			}
		}
	})
	select {
	case <-enough:
	case errRead := <-read:
		// A write's context ended in the middle of a frame, before Close.
		writers.Wait()
		if reason := c.life.reason(); !strings.Contains(reason.Error(), "cut short") {
			t.Errorf("seed %d: the peer reads %v, the connection ended with %v", seed, errRead, reason)
		}
		return
	}
	mu.Lock()
	closing = true
	mu.Unlock()
	begin := time.Now()
	err := c.Close(StatusGoingAway, "")
	if d := time.Since(begin); d > 30*time.Second { // half the close timeout
		t.Errorf("seed %d: Close took %v", seed, d)
	}
	writers.Wait()
	if errRead := <-read; errRead != nil && err == nil {
		t.Errorf("seed %d: the peer reads: %v", seed, errRead)
	}
	if err != nil {
		if !strings.Contains(c.life.reason().Error(), "cut short") && !errors.Is(err, net.ErrClosed) {
			t.Errorf("seed %d: Close = %v", seed, err)
		}
		return
	}
	for id := range acked {
		if !received[id] {
			t.Errorf("seed %d: message %s is lost, though its Write returned nil before Close", seed, id)
		}
	}
}

// A tally counts the writes and the frames it gets.
type tally struct {
	replay
	writes int
	data   []byte
}

func (t *tally) Write(p []byte) (int, error) {
	t.writes++
	t.data = append(t.data, p...)
	return len(p), nil
}

// Many writers on one processor, over a transport that never makes them wait:
// they still combine. One writer alone is not held back: what it writes is out
// before Write returns.
func TestWritersCombine(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const writers, messages = 16, 400
	out := &tally{}
	c := newConn(connConfig{transport: out})
	msg := bytes.Repeat([]byte("m"), 100)
	write := func() {
		if err := c.Write(context.Background(), MessageBinary, msg); err != nil {
			t.Error(err)
		}
	}
	for i := range messages {
		if write(); out.writes != i+1 {
			t.Fatalf("%d writes after message %d", out.writes, i+1)
		}
	}
	*out = tally{}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range messages {
				write()
			}
		})
	}
	wg.Wait()
	if out.writes > writers*messages/4 {
		t.Errorf("%d writes of %d messages", out.writes, writers*messages)
	}
	frame := appendHeader(nil, header{headerBits: headerBits{fin: true, opcode: opBinary}, length: int64(len(msg))})
	if want := bytes.Repeat(append(frame, msg...), writers*messages); !bytes.Equal(out.data, want) {
		t.Errorf("%d bytes are out, want %d of whole frames", len(out.data), len(want))
	}
}

// A peer that never reads. TestWriteGivenUp and TestWriteBufferLimit try each
// kind of write then, and TestCloseIsBounded tries Close.
// TestStalledPeerTakesNoMemory measures the memory of one connection.

// Many write to a peer that takes nothing: each waits for its own context, to
// the moment, whatever the others do.
func TestHostileStalledWriters(t *testing.T) {
	prepared, err := NewPreparedMessage(MessageText, []byte("prepared"))
	if err != nil {
		t.Fatal(err)
	}
	msg := []byte(strings.Repeat("x", 900))
	long := make([]byte, 20_000)
	writes := map[string]func(ctx context.Context, c *Conn) error{
		"Write":             func(ctx context.Context, c *Conn) error { return c.Write(ctx, MessageText, msg) },
		"Write of much":     func(ctx context.Context, c *Conn) error { return c.Write(ctx, MessageBinary, long) },
		"WriteUncompressed": func(ctx context.Context, c *Conn) error { return c.WriteUncompressed(ctx, MessageText, msg) },
		"WritePrepared":     func(ctx context.Context, c *Conn) error { return c.WritePrepared(ctx, prepared, prepared) },
		"Ping":              func(ctx context.Context, c *Conn) error { return c.Ping(ctx) },
		"Writer": func(ctx context.Context, c *Conn) error {
			w, err := c.Writer(ctx, MessageText)
			if err == nil {
				w.Write(msg)
				err = w.Close()
			}
			return err
		},
	}
	for _, deflate := range []*deflateParams{nil, &withTakeover} {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{writeBufferLimit: 500, deflate: deflate, deflateThreshold: -1, pingInterval: -1},
				netfake.Options{A: netfake.End{Buffer: 9}})
			first := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("the first one")) })
			if !running(first) {
				t.Fatal("a Write into a full transport returns")
			}
			// Fills what may gather, so that all others have to wait.
			last := start(func() error {
				for {
					if err := p.c.WriteUncompressed(context.Background(), MessageBinary, long[:10]); err != nil {
						return err
					}
				}
			})
			synctest.Wait()
			begin := time.Now()
			var wg sync.WaitGroup
			i := 0
			for name, write := range writes {
				for range 5 {
					i++
					patience := time.Duration(i) * time.Second
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(context.Background(), patience)
						defer cancel()
						err := write(ctx, p.c)
						if d := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || d != patience {
							t.Errorf("%s: %v after %v, want %v", name, err, d, patience)
						}
					})
				}
			}
			wg.Wait()
			if !running(first) {
				t.Errorf("the first write has ended: %v", <-first)
			}
			p.c.CloseNow()
			if err := <-first; err == nil {
				t.Error("the first write succeeds")
			}
			<-last
		})
	}
}

// A group is connections to peers of which some never read.
type group struct {
	conns   []*Conn
	stalled int             // how many, the first ones
	got     []chan struct{} // closed when the peer has got all that it waits for
}

// newGroup returns n connections whose peers read messages frames of size bytes
// each, except some that read nothing.
func newGroup(t *testing.T, n, stalled, messages, size int, deflate *deflateParams) *group {
	g := &group{stalled: stalled}
	for i := range n {
		p := newPair(t, false, connConfig{pingInterval: -1, deflate: deflate}, netfake.Options{Buffer: 10_000})
		g.conns = append(g.conns, p.c)
		got := make(chan struct{})
		g.got = append(g.got, got)
		if i < stalled {
			continue
		}
		go func() {
			for range messages {
				if f, err := wstest.ReadFrame(p.theirs); err != nil || len(f.Payload) != size {
					t.Errorf("peer %d: %v, %v", i, f, err)
					return
				}
			}
			close(got)
		}()
	}
	return g
}

// stall begins a write on each of the first n connections, which does not end:
// what others write gathers behind it.
func (g *group) stall(n int) {
	for _, c := range g.conns[:n] {
		go c.WriteUncompressed(context.Background(), MessageBinary, make([]byte, 20_000))
	}
	synctest.Wait()
}

// Peers that never read do not hold up what is sent to others, if each has a
// goroutine that writes to it. One goroutine may write to all, and give up
// those that take nothing. Then they hold up the others for no longer than the
// context of one write.
func TestHostileStalledBroadcast(t *testing.T) {
	const n, stalled, messages, size = 30, 10, 200, 1000
	m, err := NewPreparedMessage(MessageBinary, make([]byte, size))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a goroutine each", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, n, stalled, messages, size, nil)
			g.stall(stalled / 2)
			begin := time.Now()
			var wg sync.WaitGroup
			for i, c := range g.conns {
				wg.Go(func() {
					for range messages {
						if err := c.WritePrepared(context.Background(), m); err != nil {
							if i >= stalled {
								t.Errorf("connection %d: %v", i, err)
							}
							return
						}
					}
				})
			}
			for _, got := range g.got[stalled:] {
				<-got
			}
			if d := time.Since(begin); d != 0 {
				t.Errorf("those that read were held up for %v", d)
			}
			for _, c := range g.conns {
				c.CloseNow()
			}
			wg.Wait()
		})
	})
	t.Run("one goroutine", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const patience = 10 * time.Millisecond
			g := newGroup(t, n, stalled, messages, size, nil)
			g.stall(stalled / 2)
			gone := make([]bool, n)
			begin := time.Now()
			for range messages {
				for i, c := range g.conns {
					if gone[i] {
						continue
					}
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					if err := c.WritePrepared(ctx, m); err != nil {
						gone[i] = true
						c.CloseNow()
					}
					cancel()
				}
			}
			for _, got := range g.got[stalled:] {
				<-got
			}
			if d := time.Since(begin); d > stalled*patience {
				t.Errorf("those that read were held up for %v", d)
			}
			for i := range gone {
				if gone[i] != (i < stalled) {
					t.Errorf("connection %d: given up %v", i, gone[i])
				}
			}
		})
	})
}

// Together they take no more memory than the bound of each, however much is
// sent, and it is free when they end.
func TestHostileStalledMemory(t *testing.T) {
	const n, messages, size = 40, 300, 4000
	noise := make([]byte, size)
	for x, i := uint32(1), 0; i < size; i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	m, err := NewPreparedMessage(MessageBinary, noise)
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"prepared", "written", "compressed"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var deflate *deflateParams
				if how == "compressed" {
					deflate = &withTakeover
				}
				g := newGroup(t, n, n, messages, size, deflate)
				g.stall(n)
				took := allocated(func() {
					var wg sync.WaitGroup
					for _, c := range g.conns {
						wg.Go(func() {
							ctx, cancel := context.WithTimeout(context.Background(), time.Second)
							defer cancel()
							for range messages {
								var err error
								switch how {
								case "prepared":
									err = c.WritePrepared(ctx, m)
								case "written":
									err = c.Write(ctx, MessageBinary, noise)
								case "compressed":
									err = c.Write(ctx, MessageBinary, noise)
								}
								if err != nil {
									return
								}
							}
							t.Error("all messages were taken")
						})
					}
					wg.Wait()
				})
				if most := uint64(n * (128<<10 + 32<<10)); took > most {
					t.Errorf("%d KiB were allocated for %d connections", took>>10, n)
				}
				for _, c := range g.conns {
					c.CloseNow()
				}
			})
		})
	}
}

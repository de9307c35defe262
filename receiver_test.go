package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A socket is read first with 16 bytes, and with a buffer when they do not
// suffice. Frames come together in any way, are read in any way, and reads are
// cut short at any moment. Nothing is lost and nothing comes twice. When the
// peer ends its direction behind any of it, the reply goes out.
func TestFirstReadSockets(t *testing.T) {
	rounds := 60
	if testing.Short() || raceEnabled {
		rounds = 20
	}
	for _, client := range []bool{false, true} {
		for round := range rounds {
			seed := uint64(2*round) + 1
			if client {
				seed--
			}
			t.Run(fmt.Sprint(seed), func(t *testing.T) { firstRead(t, client, rand.New(rand.NewPCG(seed, 16))) })
		}
	}
}

func firstRead(t *testing.T, client bool, rng *rand.Rand) {
	ours, theirs := tcpLink(t)
	role := wstest.Client
	if client {
		role = wstest.Server
	}
	var want [][]byte
	var bursts [][]byte
	for len(want) < 60 {
		// Most writes have around 16 bytes: in one piece, or the end of one and
		// the begin of the next.
		size := rng.IntN(24)
		switch rng.IntN(12) {
		case 0:
			size = rng.IntN(300)
		case 1:
			size = 4070 + rng.IntN(40)
		case 2:
			size = rng.IntN(100_000)
		}
		msg := make([]byte, size)
		for i := range msg {
			msg[i] = byte(rng.Uint32())
		}
		want = append(want, msg)
		var parts []string
		for n := rng.IntN(3); n > 0; n-- {
			at := rng.IntN(len(msg) + 1)
			parts = append(parts, string(msg[:at]))
			msg = msg[at:]
		}
		fs := wstest.Fragments(wstest.Binary, append(parts, string(msg))...)
		if rng.IntN(3) == 0 {
			fs = append([]wstest.Frame{ping(string(make([]byte, rng.IntN(126))))}, fs...)
		}
		bursts = append(bursts, wstest.Encode(role, fs...))
	}
	stream := bytes.Join(bursts, nil)
	writeSeed := rng.Uint64()
	go func() {
		rng := rand.New(rand.NewPCG(writeSeed, 1))
		for len(stream) > 0 {
			n := 16
			switch rng.IntN(6) {
			case 0:
				n = 1 + rng.IntN(40)
			case 1:
				n = 1 + rng.IntN(1+len(stream)/4)
			}
			n = min(n, len(stream))
			if _, err := theirs.Write(stream[:n]); err != nil {
				return
			}
			stream = stream[n:]
			if rng.IntN(8) == 0 {
				time.Sleep(time.Duration(rng.IntN(100)) * time.Microsecond)
			}
		}
		theirs.(*net.TCPConn).CloseWrite()
	}()
	drained := make(chan struct{})
	go func() { io.Copy(io.Discard, theirs); close(drained) }()

	c := newConn(connConfig{transport: ours, client: client})
	defer func() { c.CloseNow(); theirs.Close(); <-drained }()
	check := func(typ MessageType, got []byte) {
		if len(want) == 0 || typ != MessageBinary || !bytes.Equal(got, want[0]) {
			t.Fatalf("%d messages before the end: got %v of %d bytes, want %d", len(want), typ, len(got), len(want[0]))
		}
		want = want[1:]
	}
	cut := func(err error) bool {
		return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
	}
	buf := make([]byte, 0, 100)
	for {
		ctx, cancel := context.Background(), func() {}
		switch rng.IntN(4) {
		case 0:
			ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(60))*time.Microsecond)
		case 1:
			c.SetReadDeadline(time.Now().Add(time.Duration(rng.IntN(60)) * time.Microsecond))
		}
		var err error
		switch rng.IntN(4) {
		case 0:
			var typ MessageType
			var msg []byte
			if typ, msg, err = c.Read(ctx); err == nil {
				check(typ, msg)
			}
		case 1:
			var typ MessageType
			var msg []byte
			if typ, msg, err = c.ReadInto(ctx, buf); err == nil {
				check(typ, msg)
			}
		case 2:
			steps := 1 + rng.IntN(3)
			var m Message
			for m, err = range c.Messages(ctx) {
				if err != nil {
					break
				}
				inner := m.Data
				if rng.IntN(4) == 0 { // the body reads: its own message stays
					held := bytes.Clone(inner)
					ctx, cancel := context.WithTimeout(context.Background(), 50*time.Microsecond)
					typ, msg, err := c.Read(ctx)
					cancel()
					if !bytes.Equal(held, inner) {
						t.Fatal("the body's message has changed under it")
					}
					check(m.Type, inner)
					if err == nil {
						check(typ, msg)
					} else if !cut(err) {
						break
					}
				} else {
					check(m.Type, inner)
				}
				if steps--; steps == 0 {
					break
				}
			}
		case 3:
			var typ MessageType
			var r io.Reader
			if typ, r, err = c.Reader(context.Background()); err == nil {
				var msg []byte
				p := make([]byte, 1+rng.IntN(50))
				for err == nil {
					var n int
					n, err = r.Read(p)
					msg = append(msg, p[:n]...)
					if cut(err) {
						c.SetReadDeadline(time.Time{})
						err = nil
					}
				}
				if err == io.EOF {
					check(typ, msg)
					err = nil
				}
			}
		}
		cancel()
		c.SetReadDeadline(time.Time{})
		if err != nil && !cut(err) {
			if len(want) > 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%d messages before the end: %v", len(want), err)
			}
			return
		}
	}
}

// Floods of control frames. TestPingFlood shows that pings whose pongs no peer
// reads take no memory.

// flood writes b over and over, on a goroutine, until the transport ends. The
// channel is closed then.
func (p *pair) flood(b []byte) <-chan struct{} {
	done := make(chan struct{})
	conn := p.Conn
	go func() {
		defer close(done)
		for {
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}()
	return done
}

// A peer pings without end and reads nothing, so that there is always something
// to do. A read ends with its context and at its deadline, and so does a write.
// Close ends within its timeout. No goroutines pile up.
func TestHostilePingsNeverRead(t *testing.T) {
	var pinged atomic.Int64
	var atPing atomic.Pointer[func()]
	cfg := connConfig{closeTimeout: 20 * time.Millisecond, onPing: func(context.Context, []byte) bool {
		if pinged.Add(1)%1000 == 0 {
			if f := atPing.Load(); f != nil {
				(*f)()
			}
		}
		return true
	}}
	onSockets(t, cfg, func(t *testing.T, p *pair) {
		var once sync.Once
		on := func(f func()) {
			once = sync.Once{}
			g := func() { once.Do(f) }
			atPing.Store(&g)
		}
		flooded := p.flood(bytes.Repeat(p.Encode(ping(strings.Repeat("x", 125))), 100))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		on(cancel)
		if _, _, err := p.c.Read(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Read = %v, want context.Canceled", err)
		}
		on(func() { p.c.SetReadDeadline(time.Unix(1, 0)) })
		if _, _, err := p.c.Read(context.Background()); !isTimeout(err) {
			t.Errorf("Read = %v, want a timeout", err)
		}
		p.c.SetReadDeadline(time.Time{})

		goroutines := runtime.NumGoroutine()
		on(func() {})
		read := start(p.readError)
		write := start(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			for {
				if err := p.c.Write(ctx, MessageBinary, make([]byte, 100_000)); err != nil {
					return err
				}
			}
		})
		if err := <-write; err == nil {
			t.Error("a write that nobody reads ends without an error")
		}
		if n := runtime.NumGoroutine(); n > goroutines+5 {
			t.Errorf("%d goroutines, before the flood's writes %d", n, goroutines)
		}
		p.c.Close(StatusNormalClosure, "")
		if err := <-read; err == nil || pinged.Load() == 0 {
			t.Errorf("Read = %v", err)
		}
		<-flooded
	})
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// Unsolicited pongs take no memory, and none is taken for the answer to a ping
// that waits. That holds for numbers that may come later, and for any other
// payload.
func TestHostilePongFlood(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		read := start(p.readError)
		waiting := start(func() error { return p.c.Ping(context.Background()) })
		asked := string(p.ReadFrame().Payload)
		var flood []byte
		for i := range 1000 {
			for _, payload := range []string{
				"", asked + "x", asked[1:], strings.Repeat("x", 125), asked[:7] + string([]byte{asked[7] + 1 + byte(i%200)}),
				fmt.Sprintf("%08d", i),
			} {
				flood = append(flood, p.Encode(pong(payload))...)
			}
		}
		took := allocated(func() {
			for range 20 {
				p.WriteRaw(flood)
			}
			if !running(waiting) {
				t.Errorf("a pong that answers nothing has answered: %v", <-waiting)
			}
		})
		if took > 256<<10 {
			t.Errorf("120,000 pongs took %d KiB", took>>10)
		}
		p.WantIdle()
		p.WriteFrame(wstest.Pong, asked)
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		p.c.CloseNow()
		<-read
	})
}

// Of many close frames the first one counts. It is answered once, and the rest
// is not waited for.
func TestHostileCloseFlood(t *testing.T) {
	for _, reads := range []bool{true, false} {
		for _, local := range []bool{false, true} { // we have called Close
			t.Run(fmt.Sprintf("peer reads %v, Close %v", reads, local), func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					p := newPair(t, client, connConfig{}, netfake.Options{Buffer: 1})
					begin := time.Now()
					var ended <-chan error
					if local {
						ended = start(func() error { return p.c.Close(StatusGoingAway, "") })
					} else {
						ended = start(p.readError)
					}
					flooded := start(func() error {
						b := p.Encode(closing(4000, "first"), closing(4001, "second"), ping("late"), closing(1002, ""), text("late"))
						for range 10_000 {
							if _, err := p.theirs.Write(b); err != nil {
								return nil
							}
							time.Sleep(time.Millisecond)
						}
						return errors.New("10,000 more close frames were taken")
					})
					var got []byte
					if reads {
						got, _ = io.ReadAll(p.theirs)
					}
					err := <-ended
					if d := time.Since(begin); d > defaultCloseTimeout {
						t.Errorf("it took %v", d)
					}
					if !local && CloseStatus(err) != 4000 {
						t.Errorf("Read = %v, want the first close frame", err)
					}
					p.theirs.Close()
					if err := <-flooded; err != nil {
						t.Error(err)
					}
					if !reads {
						return
					}
					code := 4000
					if local {
						code = 1001
					}
					r := bytes.NewReader(got)
					f, err := wstest.ReadFrame(r)
					if err != nil || f.Op != wstest.Close || wstest.CloseCode(f.Payload) != code || r.Len() > 0 {
						t.Errorf("the peer got %v, %v and %d bytes more, want close %d", f, err, r.Len(), code)
					}
				})
			})
		}
	}
}

// A peer pings and reads nothing, and no message ever comes. Without heartbeats
// too, an application that bounds its reads and its Close is rid of it in time.
// It has taken no more memory than the bound of the send buffer.
func TestHostilePingsGivenUpInTime(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{pingInterval: -1}, netfake.Options{A: netfake.End{Buffer: 200}})
		begin := time.Now()
		b := p.Encode(ping(strings.Repeat("x", 125)))
		flooded := start(func() error {
			for {
				for range 100 {
					if _, err := p.theirs.Write(b); err != nil {
						return err
					}
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
		took := allocated(func() {
			p.c.SetReadDeadline(time.Now().Add(time.Minute))
			if err := p.readError(); !isTimeout(err) {
				t.Errorf("Read = %v, want a timeout", err)
			}
			if err := p.c.Close(StatusPolicyViolation, "silent"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Close = %v, want context.DeadlineExceeded", err)
			}
		})
		if d := time.Since(begin); d > time.Minute+defaultCloseTimeout {
			t.Errorf("it took %v", d)
		}
		if took > 2<<20 {
			t.Errorf("60,000 pings took %d KiB", took>>10)
		}
		<-flooded
		synctest.Wait()
	})
}

// A message in fragments of one byte is taken, because it costs no more than
// the same bytes in messages of one byte. It costs memory near the payload, and
// one call of the transport for a buffer of frames.
func TestHostileFragmentFlood(t *testing.T) {
	for _, test := range []struct{ fragments, size int }{
		{131_072, 1},
		{65_536, 64}, // 4 MiB, as the Autobahn suite sends it
	} {
		n := test.fragments
		if raceEnabled {
			n /= 16
		}
		for how := range reads {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{readLimit: int64(n * test.size)}, netfake.Options{Buffer: 256 << 10})
				part := strings.Repeat("x", test.size)
				stream := p.Encode(first(wstest.Binary, part))
				fragment := p.Encode(moreCont(part))
				for range n - 2 {
					stream = append(stream, fragment...)
				}
				stream = append(stream, p.Encode(cont(part))...)
				writing := start(func() error { p.WriteRaw(stream); return nil })
				var got []byte
				var err error
				took := allocated(func() { _, got, err = reads[how](p.c) })
				<-writing
				if err != nil || len(got) != n*test.size {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				// A buffer that doubles as it grows comes to a few times the
				// payload.
				if most := uint64(8*n*test.size + 1<<20); took > most {
					t.Errorf("reading way %d: %d KiB were allocated for %d KiB in %d fragments", how, took>>10, n*test.size>>10, n)
				}
				if calls := p.ours.Stats().Reads; calls > len(stream)/1000+100 {
					t.Errorf("reading way %d: %d calls of Read for %d bytes", how, calls, len(stream))
				}
			})
		}
	}
}

// Frames without payload never reach the read limit. Past their own bound they
// are refused, however they are read or discarded, compressed or not, and
// without a read limit too.
func TestHostileEmptyFragments(t *testing.T) {
	ctx := context.Background()
	ways := map[string]func(c *Conn) error{
		"Close": func(c *Conn) error { return c.Close(StatusNormalClosure, "") },
		"NetConn": func(c *Conn) error {
			_, err := io.Copy(io.Discard, NetConn(ctx, c, MessageBinary))
			return err
		},
		"left behind": func(c *Conn) error {
			_, _, err := c.Reader(ctx)
			if err == nil {
				_, _, err = c.Read(ctx)
			}
			return err
		},
	}
	for i, read := range reads {
		ways[fmt.Sprint("reading way ", i)] = func(c *Conn) error { _, _, err := read(c); return err }
	}
	for name, way := range ways {
		for _, deflate := range []*deflateParams{nil, &withTakeover} {
			t.Run(name, func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					p := newPair(t, client, connConfig{readLimit: -1, closeTimeout: -1, deflate: deflate}, netfake.Options{})
					begin := first(wstest.Binary, "")
					if deflate != nil {
						begin.RSV = rsv1
					}
					var err error
					took := allocated(func() {
						done := start(func() error { return way(p.c) })
						if name == "Close" {
							p.WantClose(1000)
						}
						p.WriteFrames(begin)
						empty := p.Encode(moreCont(""))
						p.WriteRaw(bytes.Repeat(empty, spareFrames-1))
						if !running(done) {
							t.Fatalf("refused early: %v", <-done)
						}
						p.WriteRaw(empty)
						if name != "Close" {
							p.WantClose(1008)
						}
						p.Close()
						err = <-done
					})
					if !errors.Is(err, errEmptyFrames) {
						t.Errorf("the application is told %v", err)
					}
					if took > 256<<10 {
						t.Errorf("%d KiB were allocated", took>>10)
					}
				})
			})
		}
	}
}

// Some writers flush often, and send a frame without payload behind each that
// has some. That is taken.
func TestEmptyFragmentsAmongOthers(t *testing.T) {
	const n = 20_000
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{Buffer: 1 << 20})
		stream := p.Encode(first(wstest.Text, ""))
		for range n {
			stream = append(stream, p.Encode(moreCont("x"), moreCont(""), ping(""))...)
		}
		p.WriteRaw(append(stream, p.Encode(cont(""))...))
		p.wantRead(t, MessageText, strings.Repeat("x", n))
	})
}

// CVE-2026-48779: in some libraries each fragment of a message, however small,
// makes an object of its own. So a few bytes on the wire hold many times as
// much memory. Here a message in fragments is one buffer.
func TestHostileCVE202648779(t *testing.T) {
	n := 65_536
	if raceEnabled {
		n /= 16
	}
	for how := range reads {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{readLimit: int64(n)}, netfake.Options{Buffer: 256 << 10})
			stream := p.Encode(first(wstest.Binary, "x"))
			fragment := p.Encode(moreCont("x"))
			for range n - 2 {
				stream = append(stream, fragment...)
			}
			stream = append(stream, p.Encode(cont("x"))...)
			writing := start(func() error { p.WriteRaw(stream); return nil })
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, got, err := reads[how](p.c)
			runtime.ReadMemStats(&after)
			<-writing
			if err != nil || len(got) != n {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if objects := after.Mallocs - before.Mallocs; objects > uint64(n/16) {
				t.Errorf("reading way %d: %d objects for %d fragments", how, objects, n)
			}
		})
	}
}

// The tests named TestHostile are named for the class of flaw that each is to
// find, where a peer means harm. The other files have the mistakes of a
// well-meant peer; where those settle a class, the comments here say so.

// Lengths at which an implementation with too short an integer, or a sum that
// overflows, goes wrong. They come on every opcode, in both roles, without a
// byte of the payload. Run it as a 32-bit program too (make cross).
func TestHostileLength(t *testing.T) {
	lengths := []uint64{1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 5, 1 << 62, 1<<63 - 1, 1 << 63, 1<<63 + 5, 1<<64 - 125, 1<<64 - 1}
	for op := range wstest.Opcode(16) {
		t.Run(op.String(), func(t *testing.T) {
			for _, length := range lengths {
				for _, limit := range []int64{0, -1} {
					bothRoles(t, func(t *testing.T, client bool) {
						for how := range reads {
							checkLength(t, op, length, limit, client, how)
						}
					})
				}
			}
		})
	}
}

// checkLength sends the header of a frame that declares length, as a
// continuation inside a message of 5 bytes.
func checkLength(t *testing.T, op wstest.Opcode, length uint64, limit int64, client bool, how int) {
	t.Helper()
	code := 0 // of our close frame; 0: the length is fine, and the payload waited for
	switch {
	case length >= 1<<63, op > wstest.Binary:
		code = 1002
	case limit == 0, op == wstest.Continuation && length > 1<<63-1-5:
		code = 1009
	}
	p := newPair(t, client, connConfig{readLimit: limit}, netfake.Options{})
	if op == wstest.Continuation {
		p.WriteFrames(first(wstest.Binary, "hello"))
	}
	f := fin(op, "")
	f.Declare = length
	what := fmt.Sprintf("%v of %d bytes, limit %d, client %v, reading way %d", op, length, limit, client, how)
	took := allocated(func() {
		p.WriteFrames(f)
		read := start(func() error { _, _, err := reads[how](p.c); return err })
		if code == 0 {
			if !running(read) {
				t.Fatalf("%s: %v, want that the payload is waited for", what, <-read)
			}
			p.theirs.CloseWrite()
			if err := <-read; !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %v, want io.ErrUnexpectedEOF", what, err)
			}
			return
		}
		p.WantClose(code)
		p.Close()
		if err := <-read; errors.Is(err, ErrMessageTooBig) != (code == 1009) || err == nil || CloseStatus(err) != -1 {
			t.Errorf("%s: %v, for the close code %d", what, err, code)
		}
	})
	if took > 256<<10 {
		t.Errorf("%s: took %d KiB", what, took>>10)
	}
}

// A frame that no peer may send is refused when its header is there, even if
// its payload comes in drops.
func TestHostileOpcodeHugePayload(t *testing.T) {
	for _, op := range []wstest.Opcode{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{readLimit: -1}, netfake.Options{Buffer: 1})
			f := fin(op, "")
			f.Declare = 1 << 40
			b := p.Encode(f)
			read := start(p.readError)
			for i := range b {
				if !running(read) {
					t.Fatalf("opcode %d: refused before its header was there: %v", op, <-read)
				}
				p.WriteRaw(b[i : i+1])
			}
			p.WantClose(1002)
			p.Close()
			<-read
		})
	}
}

// A length that the read limit refuses is refused on the header as well while a
// message is discarded. That is a message that was left to be skipped, or one
// that comes while the connection is being closed.
func TestHostileLengthOfDiscarded(t *testing.T) {
	f := cont("")
	f.Declare = 1 << 40
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		p.WriteFrames(first(wstest.Text, "left"), f)
		if _, _, err := p.c.Reader(context.Background()); err != nil {
			t.Fatal(err)
		}
		read := start(p.readError)
		p.WantClose(1009)
		p.Close()
		if err := <-read; !errors.Is(err, ErrMessageTooBig) {
			t.Errorf("Read = %v", err)
		}
	})
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		done := start(func() error { return p.c.Close(StatusNormalClosure, "") })
		p.WantClose(1000)
		p.WriteFrames(first(wstest.Text, "late"), f)
		synctest.Wait()
		if err := <-done; !errors.Is(err, ErrMessageTooBig) {
			t.Errorf("Close = %v", err)
		}
	})
}

// Peers that are slow on purpose. Those that are slow in a handshake are in
// internal/apitest. Those that refuse a handshake and stall, and those that are
// slow while the connection is being closed, are in TestDialRefusalStalls and
// TestCloseIsBounded.

// Frames that come byte by byte. A read ends at the moment that its context or
// its deadline says, wherever in a frame that is. The next read goes on from
// there.
func TestHostileSlowFrame(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	tests := []struct {
		name string
		send []wstest.Frame
		want int // bytes of the message
	}{
		{"header", frames(binaryF(long)), len(long)},
		{"payload", frames(text(strings.Repeat("\u20ac", 41))), 123},
		{"fragments", frames(first(wstest.Text, "a"), moreCont("b"), moreCont("c"), moreCont("d"), cont("e")), 5},
		{"control frame", frames(ping(strings.Repeat("p", 125)), text("at last")), 7},
		{"compressed", []wstest.Frame{compressedFrame(deflated(t, bytes.Repeat([]byte("compressible "), 100)))}, 1300},
	}
	const patience = 7 * time.Second
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				for _, by := range []string{"context", "deadline"} {
					p := newPair(t, client, connConfig{deflate: &alone}, netfake.Options{})
					stream := p.Encode(test.send...)
					slow := min(len(stream)-1, 200)
					dribbling := start(func() error {
						dribble(p.theirs, stream[:slow])
						_, err := p.theirs.Write(stream[slow:])
						return err
					})
					for gaveUp := 0; ; gaveUp++ {
						ctx, cancel := context.WithCancel(context.Background())
						if by == "context" {
							ctx, cancel = context.WithTimeout(context.Background(), patience)
						} else {
							p.c.SetReadDeadline(time.Now().Add(patience))
						}
						begin := time.Now()
						_, got, err := p.c.Read(ctx)
						cancel()
						if err == nil {
							if len(got) != test.want || gaveUp < slow/8 {
								t.Errorf("%d bytes of %d, after %d reads were given up", len(got), test.want, gaveUp)
							}
							break
						}
						if d := time.Since(begin); !isTimeout(err) || d != patience {
							t.Fatalf("by its %s: %v after %v", by, err, d)
						}
					}
					if err := <-dribbling; err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// A message that never ends: the application's bound on the whole of it holds,
// however steadily it grows.
func TestHostileSlowBody(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		for _, how := range []string{"Read", "Reader", "Messages", "NetConn"} {
			p := newPair(t, client, connConfig{readLimit: -1}, netfake.Options{})
			f := binaryF("")
			f.Declare = 1 << 60
			p.WriteRaw(p.Encode(f))
			dribbling := start(func() error { dribble(p.theirs, make([]byte, 1000)); return nil })
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			begin := time.Now()
			var err error
			switch how {
			case "Read":
				_, _, err = p.c.Read(ctx)
			case "Reader":
				var r io.Reader
				if _, r, err = p.c.Reader(ctx); err == nil {
					_, err = io.Copy(io.Discard, r)
				}
			case "Messages":
				for _, err = range p.c.Messages(ctx) {
				}
			case "NetConn":
				_, err = io.Copy(io.Discard, NetConn(ctx, p.c, MessageBinary))
			}
			cancel()
			if d := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || d != time.Minute {
				t.Errorf("%s: %v after %v", how, err, d)
			}
			p.c.CloseNow()
			<-dribbling
		}
	})
}

// A message that comes byte by byte is parsed, unmasked, validated and inflated
// once. Bytes that wait for others are not gone over again for each. That shows
// in one call of the transport for each byte, and in memory that does not
// depend on the cuts. It also shows in that the test ends. Work of the square
// of these sizes takes much longer.
func TestHostileSlowParsing(t *testing.T) {
	n := 210_000
	if raceEnabled {
		n = 21_000
	}
	noise := make([]byte, n)
	for x, i := uint32(1), 0; i < n; i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	var pings []wstest.Frame
	for range n / 200 {
		pings = append(pings, ping(strings.Repeat("p", 125)))
	}
	tests := []struct {
		name string
		send []wstest.Frame
		want int
	}{
		{"binary", frames(binaryF(string(noise))), n},
		{"text", frames(text(strings.Repeat("\u20ac", n/3))), n},
		{"fragments", wstest.Fragments(wstest.Text, strings.Split(strings.Repeat("x", n/5), "")...), n / 5},
		{"pings", append(pings, text("x")), 1},
		{"compressed", []wstest.Frame{{Fin: true, RSV: rsv1, Op: wstest.Binary, Payload: deflated(t, noise)}}, n},
		{"compressed, heads of blocks", []wstest.Frame{{Fin: true, RSV: rsv1, Op: wstest.Binary,
			Payload: append(bytes.Repeat(emptyDynamic, n/len(emptyDynamic)/10), deflated(t, noise)...)}}, n},
	}
	for _, test := range tests {
		for how := range reads {
			for _, client := range []bool{false, true} {
				sender := wstest.Client
				if client {
					sender = wstest.Server
				}
				stream := wstest.Encode(sender, test.send...)
				transport := &dropConn{data: stream}
				c := newConn(connConfig{transport: transport, client: client, deflate: &alone})
				var got []byte
				var err error
				took := allocated(func() { _, got, err = reads[how](c) })
				if err != nil || len(got) != test.want {
					t.Errorf("%s, way %d: %d bytes, %v", test.name, how, len(got), err)
				}
				if transport.calls > len(stream)+1 {
					t.Errorf("%s, way %d: %d calls of Read for %d bytes", test.name, how, transport.calls, len(stream))
				}
				if took > uint64(16*n) {
					t.Errorf("%s, way %d: %d KiB were allocated for %d", test.name, how, took>>10, n>>10)
				}
				c.CloseNow()
			}
		}
	}
}

// A dropConn hands out its data one byte at a time, and takes whatever is
// written.
type dropConn struct {
	loopConn
	data  []byte
	calls int
}

func (c *dropConn) Read(p []byte) (int, error) {
	c.calls++
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:1], c.data)
	c.data = c.data[n:]
	return n, nil
}

// streamSetup is how FuzzStream and TestRandomStreams set a Conn up.
type streamSetup struct {
	client, skipUTF8 bool
	pieces           []byte                                   // lengths of the writes, in turn; 0 means all that is left
	buffer           int                                      // of the transport towards the Conn
	how              byte                                     // of reading: see reads
	link             func(*testing.T) (ours, theirs net.Conn) // nil: a fake
}

const streamReadLimit = 2000

// checkStream feeds a stream to a Conn and compares what comes of it with what
// the twin makes of it.
func checkStream(t *testing.T, stream []byte, s streamSetup) {
	t.Helper()
	rules := wstest.Rules{Sender: wstest.Client, ReadLimit: streamReadLimit, SkipUTF8: s.skipUTF8}
	if s.client {
		rules.Sender = wstest.Server
	}
	want := wstest.Decode(stream, rules)
	describe := func() string {
		return fmt.Sprintf("stream % x\n%+v\nthe twin says %d %s, closed %v, rest %d, %v",
			stream[:min(len(stream), 300)], s, want.Code, want.Why, want.Closed, want.Rest, want.Events)
	}

	var ours, theirs net.Conn
	if s.link != nil {
		ours, theirs = s.link(t)
	} else {
		ours, theirs = netfake.Pipe(netfake.Options{A: netfake.End{Buffer: 1 << 20}, B: netfake.End{Buffer: s.buffer}})
	}
	var events []wstest.Event
	c := newConn(connConfig{transport: ours, client: s.client, skipUTF8: s.skipUTF8, readLimit: streamReadLimit,
		onPing: func(_ context.Context, p []byte) bool {
			events = append(events, wstest.Event{Op: wstest.Ping, Payload: string(p)})
			return true
		},
		onPong: func(_ context.Context, p []byte) {
			events = append(events, wstest.Event{Op: wstest.Pong, Payload: string(p)})
		},
	})

	// The peer's two halves.
	go func() {
		left := stream
		for i := 0; len(left) > 0; i++ {
			n := len(left)
			if len(s.pieces) > 0 {
				if k := int(s.pieces[i%len(s.pieces)]); k > 0 {
					n = min(n, k)
				}
			}
			if _, err := theirs.Write(left[:n]); err != nil {
				break // the Conn is done
			}
			left = left[n:]
		}
		theirs.(interface{ CloseWrite() error }).CloseWrite()
	}()
	var pongs []string
	var closes []wstest.Frame
	var frameErr error
	peerDone := make(chan struct{})
	go func() {
		defer close(peerDone)
		for {
			f, err := wstest.ReadFrame(theirs)
			if err == io.EOF || len(closes) > 0 && errors.Is(err, syscall.ECONNRESET) {
				return
			}
			if err == nil {
				err = f.Check(rules.Sender.Other())
			}
			if err == nil && len(closes) > 0 {
				err = fmt.Errorf("%v after the close frame", f)
			}
			switch {
			case err != nil:
			case f.Op == wstest.Pong:
				pongs = append(pongs, string(f.Payload))
			case f.Op == wstest.Close:
				closes = append(closes, f)
			default:
				err = fmt.Errorf("unasked for %v", f)
			}
			if err != nil {
				frameErr = err
				return
			}
		}
	}()

	var err error
	for err == nil {
		var typ MessageType
		var p []byte
		typ, p, err = reads[int(s.how)%len(reads)](c)
		if err == nil {
			events = append(events, wstest.Event{Op: wstest.Opcode(typ), Payload: string(p)})
		}
	}
	if _, _, again := c.Read(context.Background()); again == nil || again.Error() != err.Error() {
		t.Errorf("the first error was %v, the second %v\n%s", err, again, describe())
	}
	c.CloseNow()
	<-peerDone
	theirs.Close()

	// The reader's view.
	wantEvents := want.Events
	if want.Closed {
		wantEvents = wantEvents[:len(wantEvents)-1]
	}
	if len(events) != len(wantEvents) {
		t.Fatalf("got the events %v\n%s", events, describe())
	}
	var wantPongs []string
	for i, e := range wantEvents {
		if events[i] != e {
			t.Fatalf("event %d is %v, want %v\n%s", i, events[i], e, describe())
		}
		if e.Op == wstest.Ping {
			wantPongs = append(wantPongs, e.Payload)
		}
	}
	var ce CloseError
	switch isClose := errors.As(err, &ce); {
	case want.Closed:
		p := []byte(want.Events[len(want.Events)-1].Payload)
		reason := ""
		if len(p) > 2 {
			reason = string(p[2:])
		}
		if !isClose || int(ce.Code) != wstest.CloseCode(p) || ce.Reason != reason {
			t.Errorf("got the error %v, want close %d %q\n%s", err, wstest.CloseCode(p), reason, describe())
		}
	case isClose:
		t.Errorf("got the error %v without a close frame\n%s", err, describe())
	case want.Code == 1009 && !errors.Is(err, ErrMessageTooBig):
		t.Errorf("got the error %v, want ErrMessageTooBig\n%s", err, describe())
	case want.Code == 0 && !errors.Is(err, io.ErrUnexpectedEOF):
		t.Errorf("got the error %v, want io.ErrUnexpectedEOF\n%s", err, describe())
	case want.Code != 0 && errors.Is(err, io.ErrUnexpectedEOF):
		t.Errorf("got the error %v, want one that names the fault\n%s", err, describe())
	}

	// The peer's view.
	if frameErr != nil {
		t.Errorf("the peer got a bad frame: %v\n%s", frameErr, describe())
	}
	if s.link != nil && want.Code == 0 && !want.Closed && len(pongs) < len(wantPongs) {
		// At an abrupt end one attempt is made to send the last pongs. It does
		// not wait for a flusher that the operating system has stopped.
		wantPongs = wantPongs[:len(pongs)]
	}
	if strings.Join(pongs, "|") != strings.Join(wantPongs, "|") {
		t.Errorf("the peer got the pongs %q\n%s", pongs, describe())
	}
	wantCode := want.Code
	if want.Closed {
		wantCode = wstest.CloseCode([]byte(want.Events[len(want.Events)-1].Payload))
	}
	switch {
	case wantCode == 0 && len(closes) != 0:
		t.Errorf("the peer got %v\n%s", closes[0], describe())
	case wantCode != 0 && len(closes) != 1:
		t.Errorf("the peer got %d close frames, want one with %d\n%s", len(closes), wantCode, describe())
	case wantCode != 0 && wstest.CloseCode(closes[0].Payload) != wantCode:
		t.Errorf("the peer got %v, want the code %d\n%s", closes[0], wantCode, describe())
	}
}

// reads are the ways to read a message.
var reads = []func(*Conn) (MessageType, []byte, error){
	func(c *Conn) (MessageType, []byte, error) { return c.Read(context.Background()) },
	func(c *Conn) (MessageType, []byte, error) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		return c.ReadInto(ctx, make([]byte, 0, 64))
	},
	func(c *Conn) (MessageType, []byte, error) {
		typ, r, err := c.Reader(context.Background())
		if err != nil {
			return 0, nil, err
		}
		p, err := io.ReadAll(r)
		return typ, p, err
	},
	func(c *Conn) (MessageType, []byte, error) {
		typ, r, err := c.Reader(context.Background())
		if err != nil {
			return 0, nil, err
		}
		var p []byte
		for b := make([]byte, 3); ; {
			n, err := r.Read(b[:1+len(p)%3])
			p = append(p, b[:n]...)
			if err == io.EOF {
				return typ, p, nil
			}
			if err != nil {
				return typ, p, err
			}
		}
	},
	func(c *Conn) (MessageType, []byte, error) {
		for m, err := range c.Messages(context.Background()) {
			return m.Type, bytes.Clone(m.Data), err // m.Data is lent for this step only
		}
		return 0, nil, ended(c)
	},
}

// FuzzStream: arbitrary bytes in arbitrary pieces.
func FuzzStream(f *testing.F) {
	for _, tc := range autobahnCases() {
		if s := wstest.Encode(wstest.Client, tc.send...); len(s) < 1000 {
			f.Add(s, false, false, []byte{byte(len(s)) % 7}, byte(len(s)))
			f.Add(wstest.Encode(wstest.Server, tc.send...), true, false, []byte{byte(len(s)) % 5, 2, 0}, byte(len(s)))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, client, skipUTF8 bool, pieces []byte, how byte) {
		if len(stream) > 1<<15 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			checkStream(t, stream, streamSetup{client: client, skipUTF8: skipUTF8, pieces: pieces, how: how, buffer: 1 + int(how)*4})
		})
	})
}

// The same with streams that are made of frames, most of them right: they get
// further than arbitrary bytes do.
func TestRandomStreams(t *testing.T) {
	n := 4000
	if testing.Short() {
		n = 400
	}
	for seed := range n {
		rnd := rand.New(rand.NewPCG(uint64(seed), 6455))
		setup := streamSetup{client: rnd.IntN(2) == 0, skipUTF8: rnd.IntN(4) == 0, how: byte(rnd.IntN(256)), buffer: 1 + rnd.IntN(5000)}
		for range rnd.IntN(4) {
			setup.pieces = append(setup.pieces, byte(rnd.IntN(40)*rnd.IntN(7)))
		}
		sender := wstest.Client
		if setup.client {
			sender = wstest.Server
		}
		stream := randomStream(rnd, sender)
		synctest.Test(t, func(t *testing.T) { checkStream(t, stream, setup) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// And over real sockets.
func TestRandomStreamsSockets(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 30
	}
	for _, l := range links {
		if l.bubble {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			for seed := range n {
				rnd := rand.New(rand.NewPCG(uint64(seed), 7692))
				setup := streamSetup{client: rnd.IntN(2) == 0, skipUTF8: rnd.IntN(4) == 0, how: byte(rnd.IntN(256)), link: l.make}
				for range rnd.IntN(4) {
					setup.pieces = append(setup.pieces, byte(rnd.IntN(40)*rnd.IntN(7)))
				}
				sender := wstest.Client
				if setup.client {
					sender = wstest.Server
				}
				checkStream(t, randomStream(rnd, sender), setup)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// randomStream returns some frames; about one in thirty breaks a rule, and
// sometimes the end is cut off.
func randomStream(rnd *rand.Rand, sender wstest.Role) []byte {
	oneIn := func(n int) bool { return rnd.IntN(n) == 0 }
	payload := func() []byte {
		if oneIn(4) {
			return nil
		}
		p := []byte(strings.Repeat([]string{"a", "é", "€", "😀", "mixed é€😀 "}[rnd.IntN(5)], rnd.IntN(40)))
		if oneIn(12) {
			p = append(p, strings.Repeat("long ", rnd.IntN(500))...)
		}
		if oneIn(20) && len(p) > 0 {
			p = p[:rnd.IntN(len(p))] // perhaps inside a code point
		}
		if oneIn(60) && len(p) > 0 {
			p[rnd.IntN(len(p))] = byte(rnd.IntN(256))
		}
		return p
	}
	var stream []byte
	open := false
	for range 1 + rnd.IntN(20) {
		f := wstest.Frame{Fin: true, Payload: payload()}
		for i := range f.Key {
			f.Key[i] = byte(rnd.IntN(256))
		}
		switch k := rnd.IntN(10); {
		case k < 2:
			f.Op = []wstest.Opcode{wstest.Ping, wstest.Pong}[k]
			f.Payload = f.Payload[:min(len(f.Payload), 125)]
		case k == 2 && oneIn(4):
			f.Op = wstest.Close
			if oneIn(4) {
				f.Payload = f.Payload[:min(len(f.Payload), 125)]
			} else {
				codes := []int{1000, 1001, 1005, 1006, 1011, 1015, 1016, 2999, 3000, 4999, 5000}
				reason := f.Payload[:min(len(f.Payload), 123)]
				f.Payload = []byte(wstest.ClosePayload(codes[rnd.IntN(len(codes))], string(reason)))
			}
		default:
			f.Op = []wstest.Opcode{wstest.Text, wstest.Text, wstest.Binary}[rnd.IntN(3)]
			if open {
				f.Op = wstest.Continuation
			}
			f.Fin = oneIn(2)
			open = !f.Fin
		}
		if oneIn(30) {
			switch rnd.IntN(7) {
			case 0:
				f.RSV = byte(1 + rnd.IntN(7))
			case 1:
				f.Op = wstest.Opcode(rnd.IntN(16))
			case 2:
				f.Fin = !f.Fin
			case 3:
				f.Mask = wstest.Masked
				if sender == wstest.Client {
					f.Mask = wstest.Unmasked
				}
			case 4:
				f.LenForm = 16
			case 5:
				f.LenForm = 64
			case 6:
				f.Declare = 1 << rnd.IntN(64)
			}
		}
		stream = f.Append(stream, sender)
	}
	if oneIn(3) {
		stream = stream[:rnd.IntN(len(stream)+1)]
	}
	return stream
}

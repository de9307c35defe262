package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Floods of control frames. That pings which nobody's pongs are read for take no memory is TestPingFlood's.

// flood writes b over and over, on a goroutine, until the transport ends. The channel is closed then.
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

// A peer that pings without end and reads nothing, so that there is always something to do: a read ends with its
// context and at its deadline, a write too, Close within its timeout, and no goroutines pile up.
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

// Pongs that nobody asked for take no memory, and none is taken for the answer to a ping that waits: not those with
// numbers that may come later, nor any other payload.
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

// Of many close frames the first one counts. It is answered once, and the rest is not waited for.
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

// A peer that pings and reads nothing, and no message ever comes: without heartbeats too, an application that bounds
// its reads and its Close is rid of it in time, and has taken no more memory than the bound of the send buffer.
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

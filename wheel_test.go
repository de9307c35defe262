package websocket

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/httpfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// newWheel returns a set of connections whose wheel has slots of that length.
func newWheel(slot time.Duration) *connSet {
	l := new(connSet)
	l.wheel.slot = slot
	return l
}

// overConn returns a connection of l that is over: a look at it does nothing.
func overConn(l *connSet) *Conn {
	c := &Conn{agreement: &agreement{settings: &settings{set: l}}}
	c.life.over(errClosed)
	return c
}

// enter takes c in. Its first look is after d.
func (l *connSet) enter(c *Conn, d time.Duration) {
	c.beat.wait = d
	l.add(c)
}

// leave is release without the counts.
func (l *connSet) leave(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wheel.leaveLocked(c)
}

// waits reports whether c waits for a look.
func (l *connSet) waits(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.beat.list >= slotLists
}

// A look comes when it is due or up to a slot later, no matter when it was
// asked for. A heartbeat has many looks, one after the other.
func TestWheelIsExact(t *testing.T) {
	const slot = time.Second
	synctest.Test(t, func(t *testing.T) {
		for _, phase := range []time.Duration{0, 1, slot / 3, slot - time.Millisecond, 5*slot + slot/2, 700 * slot} {
			for _, d := range []time.Duration{0, 1, slot / 2, slot, slot + 1, 10*slot - 1, 510 * slot} {
				time.Sleep(phase)
				l := newWheel(slot)
				c := overConn(l)
				l.enter(c, d)
				time.Sleep(d - 1)
				synctest.Wait()
				if d > 0 && !l.waits(c) {
					t.Errorf("%v into a slot: a look after %v came before that", phase, d)
				}
				time.Sleep(slot + min(d, 1))
				synctest.Wait()
				if l.waits(c) {
					t.Errorf("%v into a slot: a look after %v has not come a slot after that", phase, d)
				}
				l.leave(c)
			}
		}
	})
}

// Many connections come, are looked at, and go. The wheel agrees with a plain
// list of times, and sets its timer no more often than there are looks.
func TestWheelRandom(t *testing.T) {
	const slot = 50 * time.Millisecond
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			l := newWheel(slot)
			due := map[*Conn]time.Time{}
			for range 400 {
				switch rng.IntN(3) {
				case 0, 1:
					c, d := overConn(l), time.Duration(rng.Int64N(int64(l.wheel.longest())))
					due[c] = time.Now().Add(d)
					l.enter(c, d)
				default:
					for c := range due {
						if rng.IntN(2) == 0 {
							l.leave(c)
							delete(due, c)
						} else {
							d := time.Duration(rng.Int64N(int64(2 * time.Second)))
							due[c] = time.Now().Add(d)
							l.lookAgain(c, d)
						}
						break
					}
				}
				time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
				synctest.Wait()
				listed := map[*Conn]bool{}
				for c := range l.wheel.allLocked() {
					listed[c] = true
				}
				if len(listed) != len(due) || l.openLocked() != len(due) {
					t.Fatalf("the wheel has %d connections and says %d, want %d", len(listed), l.openLocked(), len(due))
				}
				for c, at := range due {
					switch left := time.Until(at); {
					case !listed[c]:
						t.Fatal("a connection is missing")
					case left > 0 && !l.waits(c):
						t.Fatalf("a look came %v early", left)
					case left < -slot && l.waits(c):
						t.Fatalf("a look is %v late", -left)
					}
				}
			}
			for c := range due {
				l.leave(c)
				l.lookAgain(c, 0) // has no effect
			}
			if l.wheel.timer != nil || l.wheel.n != 0 {
				t.Error("an empty wheel has a timer, or connections")
			}
		})
	}
}

// A process that was stopped for longer than a turn of the wheel makes each
// look that is due once. One that is asked for meanwhile does not come early.
func TestWheelStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWheel(time.Second)
		var all []*Conn
		for i := range slots - 1 {
			c := overConn(l)
			all = append(all, c)
			l.enter(c, time.Duration(i)*time.Second)
		}
		l.mu.Lock()
		l.wheel.timer.Stop()
		l.mu.Unlock()
		time.Sleep(3*slots*time.Second + time.Second/2)
		fresh := overConn(l)
		l.enter(fresh, time.Second)
		l.tick()
		for _, c := range all {
			if l.waits(c) {
				t.Fatal("a look that is due was not made")
			}
		}
		if !l.waits(fresh) {
			t.Error("a look came early")
		}
	})
}

// beatServer serves with opts, and returns the client's end of a connection.
func beatServer(t *testing.T, s *Server) *wstest.Peer {
	t.Helper()
	dial, stop := httpfake.ServeOn(t, &http.Server{Handler: s})
	t.Cleanup(stop)
	p := wstest.NewPeer(t, dial(), wstest.Client)
	p.Timeout = time.Minute
	p.ClientHandshake("/", "example.com")
	return p
}

// The heartbeat of a Server's connection is as exact as that of any other,
// except that each look may come a slot later.
func TestWheelHeartbeat(t *testing.T) {
	ends := make(chan error, 1)
	handler := Handler(func(c *Conn, r *http.Request) {
		_, _, err := c.Read(r.Context())
		ends <- err
	}, nil)
	for range 2 { // the wheel is used again, in another bubble
		synctest.Test(t, func(t *testing.T) {
			slot := handler.live.wheel.slot
			p := beatServer(t, handler)
			last := time.Now()
			for i := range 4 {
				f := p.ReadFrame()
				if f.Op != wstest.Ping {
					t.Fatalf("got %v, want a ping", f)
				}
				least, most := 30*time.Second, 30*time.Second+5*slot
				if i == 0 {
					least = 15 * time.Second
				}
				if d := time.Since(last); d < least || d > most {
					t.Errorf("ping %d came after %v", i, d)
				}
				last = time.Now()
				if i < 3 {
					p.WriteFrame(wstest.Pong, string(f.Payload))
				}
			}
			if reason := p.WantClose(int(StatusInternalError)); reason != "no pong in time" {
				t.Errorf("the reason is %q", reason)
			}
			if d := time.Since(last); d < 10*time.Second || d > 10*time.Second+5*slot {
				t.Errorf("given up after %v", d)
			}
			if err := <-ends; !errors.Is(err, ErrPongTimeout) {
				t.Errorf("Read = %v, want ErrPongTimeout", err)
			}
		})
		if handler.live.wheel.timer != nil {
			t.Fatal("a server without connections has a timer")
		}
	}
}

// A peer that is given up is told of in callbacks that may wait. They hold up
// no other connection's heartbeat.
func TestWheelDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked, goOn := make(chan bool, 9), make(chan bool)
		s := Handler(func(c *Conn, r *http.Request) { c.Read(r.Context()) }, &AcceptOptions{Trace: &Trace{
			HeartbeatLost: func(_ context.Context, c *Conn) { blocked <- true; <-goOn },
		}})
		silent, lively := beatServer(t, s), beatServer(t, s)
		answered := start(func() error {
			for range 5 {
				lively.WriteFrame(wstest.Pong, string(lively.ReadFrame().Payload))
			}
			return nil
		})
		silent.ReadFrame()
		<-blocked
		if !running(answered) {
			t.Error("the other connection had its pings before: that tests nothing")
		}
		<-answered
		close(goOn)
	})
}

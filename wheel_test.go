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

// overConn returns a connection of w that is over: a look at it does nothing.
func overConn(w *wheel) *Conn {
	c := &Conn{agreement: &agreement{settings: &settings{wheel: w}}}
	c.life.over(errClosed)
	return c
}

// enterFor has w take c in. Its first look is after d.
func (w *wheel) enterFor(c *Conn, d time.Duration) {
	c.beat.wait = d
	w.enter(c)
}

// waits reports whether c waits for a look.
func (w *wheel) waits(c *Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
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
				w := &wheel{slot: slot}
				c := overConn(w)
				w.enterFor(c, d)
				time.Sleep(d - 1)
				synctest.Wait()
				if d > 0 && !w.waits(c) {
					t.Errorf("%v into a slot: a look after %v came before that", phase, d)
				}
				time.Sleep(slot + min(d, 1))
				synctest.Wait()
				if w.waits(c) {
					t.Errorf("%v into a slot: a look after %v has not come a slot after that", phase, d)
				}
				w.leave(c)
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
			w := &wheel{slot: slot}
			due := map[*Conn]time.Time{}
			for range 400 {
				switch rng.IntN(3) {
				case 0, 1:
					c, d := overConn(w), time.Duration(rng.Int64N(int64(w.longest())))
					due[c] = time.Now().Add(d)
					w.enterFor(c, d)
				default:
					for c := range due {
						if rng.IntN(2) == 0 {
							w.leave(c)
							delete(due, c)
						} else {
							d := time.Duration(rng.Int64N(int64(2 * time.Second)))
							due[c] = time.Now().Add(d)
							w.look(c, d)
						}
						break
					}
				}
				time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
				synctest.Wait()
				listed := map[*Conn]bool{}
				for _, c := range w.appendTo(nil) {
					listed[c] = true
				}
				if len(listed) != len(due) || w.count() != len(due) {
					t.Fatalf("the wheel has %d connections and says %d, want %d", len(listed), w.count(), len(due))
				}
				for c, at := range due {
					switch left := time.Until(at); {
					case !listed[c]:
						t.Fatal("a connection is missing")
					case left > 0 && !w.waits(c):
						t.Fatalf("a look came %v early", left)
					case left < -slot && w.waits(c):
						t.Fatalf("a look is %v late", -left)
					}
				}
			}
			for c := range due {
				w.leave(c)
				w.look(c, 0) // has no effect
			}
			if w.timer != nil || w.n != 0 {
				t.Error("an empty wheel has a timer, or connections")
			}
		})
	}
}

// A process that was stopped for longer than a turn of the wheel makes each
// look that is due once. One that is asked for meanwhile does not come early.
func TestWheelStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wheel{slot: time.Second}
		var all []*Conn
		for i := range slots - 1 {
			c := overConn(w)
			all = append(all, c)
			w.enterFor(c, time.Duration(i)*time.Second)
		}
		w.mu.Lock()
		w.timer.Stop()
		w.mu.Unlock()
		time.Sleep(3*slots*time.Second + time.Second/2)
		fresh := overConn(w)
		w.enterFor(fresh, time.Second)
		w.tick()
		for _, c := range all {
			if w.waits(c) {
				t.Fatal("a look that is due was not made")
			}
		}
		if !w.waits(fresh) {
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

// Looks that come late by a part of a slot do not add up, however many there
// are until a peer is given up.
func TestWheelManyLooks(t *testing.T) {
	for _, opts := range []AcceptOptions{
		{PingInterval: 2 * time.Millisecond, PongTimeout: time.Second},
		{PingInterval: time.Second - 1, PongTimeout: 30 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan time.Time, 1)
			s := Handler(func(c *Conn, r *http.Request) {
				c.Read(r.Context())
				ended <- time.Now()
			}, &opts)
			p := beatServer(t, s)
			if f := p.ReadFrame(); f.Op != wstest.Ping {
				t.Fatalf("got %v, want a ping", f)
			}
			pinged := time.Now()
			p.WantClose(int(StatusInternalError))
			d, slot := (<-ended).Sub(pinged), s.live.wheel.slot
			if d < opts.PongTimeout || d > opts.PongTimeout+5*slot {
				t.Errorf("given up after %v, want %v", d, opts.PongTimeout)
			}
		})
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

// A connection that Trace.Accepted has the Server adopt is in the wheel once,
// and leaves nothing there.
func TestWheelAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *Server
		s = Handler(func(c *Conn, r *http.Request) { c.Read(r.Context()) }, &AcceptOptions{Trace: &Trace{
			Accepted: func(_ context.Context, c *Conn) {
				if err := s.Adopt(c); err != nil {
					t.Error(err)
				}
			},
		}})
		p := beatServer(t, s)
		if n := s.Stats().Open; n != 1 {
			t.Errorf("%d connections are open, want 1", n)
		}
		p.Close()
		synctest.Wait()
		if n := s.live.wheel.count(); n != 0 || s.live.wheel.timer != nil {
			t.Errorf("an empty wheel has a timer, or says that it has %d connections", n)
		}
		if n := s.Connections(); n != 0 {
			t.Errorf("the server has %d connections", n)
		}
	})
}

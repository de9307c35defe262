//go:build unix

package brokertest

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
)

const (
	presenceTopic = "who is here"
	// gone is how long the members of a process that is not heard of may stay.
	gone = 15 * time.Second
)

// visit connects a user, and returns when it is a member of presenceTopic.
func visit(t *testing.T, s *server, user string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, s.url+"?topic="+strings.ReplaceAll(presenceTopic, " ", "+")+"&user="+user, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	if _, _, err := c.Read(ctx); err != nil {
		t.Fatal(err)
	}
	c.CloseRead(t.Context()) // answers pings
	return c
}

// here returns the users that a server in this process knows, and whether they
// are all.
func (s *server) here(t *testing.T) (users string, complete bool) {
	t.Helper()
	v, err := s.hub.Presence(t.Context(), presenceTopic)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range v.Members {
		ids = append(ids, m.ID)
	}
	return strings.Join(ids, " "), v.Complete
}

// wantHere waits until a server knows these users.
func (s *server) wantHere(t *testing.T, want string, within time.Duration) {
	t.Helper()
	begin := time.Now()
	for {
		users, complete := s.here(t)
		if users == want && complete {
			t.Logf("%q after %v", want, time.Since(begin).Round(100*time.Millisecond))
			return
		}
		if time.Since(begin) > within {
			t.Fatalf("after %v %q is there (complete: %t), want %q", within, users, complete, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// stays fails the test if a server does not know these users all the time.
func (s *server) stays(t *testing.T, want string, d time.Duration) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < d; time.Sleep(100 * time.Millisecond) {
		if users, _ := s.here(t); users != want {
			t.Fatalf("after %v %q is there, want %q", time.Since(begin), users, want)
		}
	}
}

// Presence tests who is known to be there while processes and the engine fail.
// It takes a minute and a half.
func Presence(t *testing.T, kind Kind) {
	e := Start(t, kind)
	here, there, third := startServer(t, e), startProcess(t, e), startProcess(t, e)
	visit(t, here, "ada")
	bob := visit(t, there, "bob")
	visit(t, third, "eve")
	here.wantHere(t, "ada bob eve", patience)

	late := startServer(t, e)
	late.wantHere(t, "ada bob eve", patience)

	// A reconnect to another process is none.
	bob.CloseNow()
	time.Sleep(time.Second) // or both are there until the first process has noticed
	visit(t, here, "bob")
	here.stays(t, "ada bob eve", 7*time.Second)
	visit(t, there, "zoe")
	here.wantHere(t, "ada bob eve zoe", patience)

	// A process that is killed.
	if err := third.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	here.wantHere(t, "ada bob zoe", gone)
	late.wantHere(t, "ada bob zoe", patience)

	// The engine is killed, and comes back without what it knew.
	e.Kill()
	here.wantEvent(t, hub.BrokerLost)
	here.stays(t, "ada bob zoe", 16*time.Second)
	if _, complete := here.here(t); complete {
		t.Error("complete without an engine")
	}
	visit(t, there, "kim") // does not wait for the engine
	e.Run(t)
	here.wantEvent(t, hub.BrokerRecovered)
	here.wantHere(t, "ada bob kim zoe", patience)
	here.stays(t, "ada bob kim zoe", 14*time.Second)

	// A process that stands still is gone, and back when it goes on.
	if err := there.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	here.wantHere(t, "ada bob", gone)
	if err := there.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	here.wantHere(t, "ada bob kim zoe", patience)
}

// PresenceClocks tests who is known to be there while the clocks of the
// processes differ, and are set.
func PresenceClocks(t *testing.T, kind Kind) {
	behind, ahead := NewClock(t, -3*time.Hour), NewClock(t, 3*time.Hour)
	e := StartWithClock(t, kind, ahead)
	here := startServer(t, e)
	there, third := startProcessWithClock(t, e, behind), startProcessWithClock(t, e, ahead)
	visit(t, here, "ada")
	bob := visit(t, there, "bob")
	visit(t, third, "eve")
	here.wantHere(t, "ada bob eve", patience)
	behind.Set(t, time.Hour)
	ahead.Set(t, -time.Hour)
	here.stays(t, "ada bob eve", gone+time.Second)
	bob.CloseNow()
	here.stays(t, "ada bob eve", 3*time.Second) // it may come back
	here.wantHere(t, "ada eve", patience)
	if err := third.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	here.wantHere(t, "ada", gone)
}

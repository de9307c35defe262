package poller

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A stepper calls its functions.
type stepper struct {
	step func() bool
}

func (s *stepper) Step() bool { return s.step() }

// pair returns a socket of g whose steps step makes, and its peer.
func pair(t *testing.T, g *Group, work Stepper) (*Socket, net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "peer")
	peer, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	s := new(Socket)
	if err := s.Init(g, fds[0], work); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return s, peer
}

// Many sockets echo what comes in pieces of any size, and end when their peers
// do.
func TestSteps(t *testing.T) {
	g := new(Group)
	var all sync.WaitGroup
	for range 50 {
		var s *Socket
		var steps atomic.Int32
		ended := make(chan struct{})
		ready := make(chan struct{})
		work := &stepper{step: func() bool {
			<-ready
			if steps.Add(1) != 1 {
				t.Error("two steps at once")
			}
			defer steps.Add(-1)
			buf := make([]byte, 1000)
			for range 3 {
				n, err := s.TryRead(buf)
				switch {
				case err == ErrNotNow, errors.Is(err, net.ErrClosed): // Close wakes it once more
					return false
				case err == io.EOF:
					s.CloseWrite()
					s.Close()
					close(ended)
					return false
				case err != nil:
					t.Error(err)
					return false
				}
				if _, err := s.Write(buf[:n]); err != nil {
					t.Error(err)
				}
			}
			return true
		}}
		var peer net.Conn
		s, peer = pair(t, g, work)
		close(ready)
		all.Go(func() {
			sent := make([]byte, 300_000)
			rand.Read(sent)
			go func() {
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+len(rest)/3)
					if _, err := peer.Write(rest[:n]); err != nil {
						t.Error(err)
						return
					}
					rest = rest[n:]
					runtime.Gosched()
				}
				peer.(*net.UnixConn).CloseWrite()
			}()
			got, err := io.ReadAll(peer)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes of %d, %v", len(got), len(sent), err)
			}
			<-ended
		})
	}
	all.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n != 0 || g.pollers != nil {
		t.Errorf("%d sockets left, pollers %v", g.n, g.pollers)
	}
}

// Steps that block hold up no other socket, be they as many as there are.
func TestStepsBlock(t *testing.T) {
	g := new(Group)
	release := make(chan struct{})
	var blocked sync.WaitGroup
	for range 2 * batch {
		blocked.Add(1)
		var once sync.Once
		_, peer := pair(t, g, &stepper{step: func() bool {
			once.Do(func() {
				blocked.Done()
				<-release
			})
			return false
		}})
		peer.Write([]byte("x"))
	}
	blocked.Wait()
	stepped := make(chan struct{}, 100)
	_, peer := pair(t, g, &stepper{step: func() bool { stepped <- struct{}{}; return false }})
	peer.Write([]byte("x"))
	<-stepped
	close(release)
}

// Wake makes a step, also on a socket that is closed and the last one.
func TestWake(t *testing.T) {
	g := new(Group)
	stepped := make(chan struct{}, 100)
	s, _ := pair(t, g, &stepper{step: func() bool { stepped <- struct{}{}; return false }})
	for range 100 {
		s.Wake()
		<-stepped
	}
	s.Close()
	s.Wake()
	<-stepped
}

// Calls that wait end by their deadlines, and by Close.
func TestDeadlines(t *testing.T) {
	g := new(Group)
	s, peer := pair(t, g, &stepper{step: func() bool { return false }})
	buf := make([]byte, 1<<20)
	for _, call := range []struct {
		name string
		set  func(time.Time) error
		do   func() error
	}{
		{"read", s.SetReadDeadline, func() error { _, err := s.Read(buf); return err }},
		{"write", s.SetWriteDeadline, func() error { _, err := s.Write(buf); return err }},
	} {
		call.set(time.Now().Add(time.Millisecond))
		if err := call.do(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", call.name, err)
		}
		if err := call.do(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s again: %v", call.name, err)
		}
		call.set(time.Time{})
		result := make(chan error)
		go func() { result <- call.do() }()
		call.set(time.Unix(1, 0)) // of a call in progress, or about to be
		if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s in progress: %v", call.name, err)
		}
		call.set(time.Time{})
	}
	go io.Copy(io.Discard, peer)
	if n, err := s.Write(buf); n != len(buf) || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	peer.Write([]byte("here"))
	if n, err := s.Read(buf); string(buf[:n]) != "here" || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
	result := make(chan error)
	go func() { _, err := s.Read(buf); result <- err }()
	s.Close()
	if err := <-result; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	for name, err := range map[string]error{"Close": s.Close(), "SetReadDeadline": s.SetReadDeadline(time.Now()), "CloseWrite": s.CloseWrite()} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A descriptor that is closed under calls in progress is not that of another
// socket while they run.
func TestCloseRace(t *testing.T) {
	g := new(Group)
	for range 200 {
		s, peer := pair(t, g, &stepper{step: func() bool { return false }})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for {
					if _, err := s.TryWrite([]byte("x")); err != nil {
						return
					}
				}
			})
		}
		all.Go(func() { io.Copy(io.Discard, peer) })
		runtime.Gosched()
		s.Close()
		all.Wait()
	}
}

// WriteBoth makes one system call where the socket takes all: a peer that keeps
// the bounds of writes sees one.
func TestWriteBothIsOneCall(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[1])
	s := new(Socket)
	if err := s.Init(new(Group), fds[0], &stepper{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, parts := range [][2]string{{"head", "payload"}, {"head", ""}, {"", "payload"}} {
		if n, err := s.WriteBoth([]byte(parts[0]), []byte(parts[1])); err != nil || n != len(parts[0]+parts[1]) {
			t.Fatalf("WriteBoth of %q = %d, %v", parts, n, err)
		}
		buf := make([]byte, 100)
		if n, err := syscall.Read(fds[1], buf); err != nil || string(buf[:n]) != parts[0]+parts[1] {
			t.Errorf("the peer of %q reads %q, %v", parts, buf[:max(n, 0)], err)
		}
	}
}

// WriteBoth loses nothing where the socket takes a part of one slice, and waits
// for the rest.
func TestWriteBothInParts(t *testing.T) {
	s, peer := pair(t, new(Group), &stepper{step: func() bool { return false }})
	if err := syscall.SetsockoptInt(int(s.fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 8192); err != nil {
		t.Fatal(err)
	}
	for _, sizes := range [][2]int{{10, 300_000}, {300_000, 10}, {200_000, 100_010}} {
		sent := make([]byte, sizes[0]+sizes[1])
		rand.Read(sent)
		go func() {
			if n, err := s.WriteBoth(sent[:sizes[0]], sent[sizes[0]:]); err != nil || n != len(sent) {
				t.Errorf("WriteBoth of %v = %d, %v", sizes, n, err)
			}
		}()
		got := make([]byte, len(sent))
		if n, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("of %v the peer reads %d bytes, %v", sizes, n, err)
		}
	}
}

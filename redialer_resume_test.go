package websocket

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A resumeStore is what survives the server: the feed that it sends, and what clients have uploaded to it.
type resumeStore struct {
	feed int // it has the messages 1 to feed

	mu       sync.Mutex
	uploaded []int
}

func (s *resumeStore) has() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploaded)
}

// store stores the upload n, unless it is one that is sent again, and returns the last that is stored.
func (s *resumeStore) store(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == len(s.uploaded)+1 {
		s.uploaded = append(s.uploaded, n)
	}
	return len(s.uploaded)
}

// A resumeServer is one life of the server. When its work is done it hangs, until it is killed.
type resumeServer struct {
	*resumeStore
	work atomic.Int64  // messages that it still sends or stores; negative: no bound
	done chan struct{} // closed when it has done that
}

func newResumeServer(s *resumeStore, work int) *resumeServer {
	life := &resumeServer{resumeStore: s, done: make(chan struct{})}
	life.work.Store(int64(work))
	return life
}

// step reports whether there is work left, and does one step of it.
func (s *resumeServer) step() bool {
	for {
		n := s.work.Load()
		switch {
		case n < 0:
			return true
		case n == 0:
			return false
		case !s.work.CompareAndSwap(n, n-1):
			continue
		}
		if n == 1 {
			close(s.done)
		}
		return true
	}
}

// serve sends the feed from behind the offset in the URL on, and stores the uploads, each of which it acknowledges
// when it is stored. The first acknowledgement tells the client where to go on.
func (s *resumeServer) serve(c *Conn, r *http.Request) {
	ctx := r.Context()
	from, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil {
		c.Close(StatusPolicyViolation, "no offset")
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer c.CloseNow()
	wg.Go(func() {
		for n := from + 1; n <= s.feed; n++ {
			if !s.step() || c.Write(ctx, MessageText, fmt.Appendf(nil, "feed %d", n)) != nil {
				return
			}
		}
	})
	if c.Write(ctx, MessageText, fmt.Appendf(nil, "have %d", s.has())) != nil {
		return
	}
	for m, err := range c.Messages(ctx) {
		var n int
		if err != nil {
			return
		}
		fmt.Sscanf(string(m.Data), "upload %d", &n)
		if !s.step() {
			continue // hung
		}
		if c.Write(ctx, MessageText, fmt.Appendf(nil, "have %d", s.store(n))) != nil {
			return
		}
	}
}

// A resumeClient keeps its place in both directions across connections.
type resumeClient struct {
	upload   int // it uploads the messages 1 to upload
	received []int
	acked    int
	offered  int // uploads that were sent, those that were sent again too

	check func(acked int) // called with each acknowledgement
	feed  int
}

// use is the function of a Redialer. It returns nil when both directions are at their end.
func (rc *resumeClient) use(ctx context.Context, c *Conn) error {
	writer := make(chan error, 1)
	first := true
	defer func() {
		c.CloseNow()
		if !first {
			<-writer
		}
	}()
	for len(rc.received) < rc.feed || rc.acked < rc.upload {
		_, data, err := c.Read(ctx)
		if err != nil {
			return err
		}
		var kind string
		var n int
		fmt.Sscan(string(data), &kind, &n)
		switch kind {
		case "feed":
			rc.received = append(rc.received, n) // the offset of the next connection is its length
		case "have":
			rc.acked = n
			rc.check(n)
			if first { // send the rest: what was sent before without an acknowledgement too
				first = false
				go func() {
					var err error
					for i := n + 1; i <= rc.upload && err == nil; i++ {
						rc.offered++
						err = c.Write(ctx, MessageText, fmt.Appendf(nil, "upload %d", i))
					}
					writer <- err
				}()
			}
		}
	}
	return nil
}

// A server that is killed and restarted 20 times: what the client has taken note of is not sent again and has no gaps,
// and what the server has acknowledged is there.
func TestRedialerResumes(t *testing.T) {
	const kills, messages = 20, 1000
	for seed := range uint64(4) {
		redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
			random := rand.New(rand.NewPCG(seed, 0))
			r.random = rand.New(rand.NewPCG(seed, 1)).Uint64
			store := &resumeStore{feed: messages}
			client := &resumeClient{upload: messages, feed: messages}
			client.check = func(acked int) {
				if has := store.has(); acked > has {
					t.Errorf("%d uploads are acknowledged, %d are stored", acked, has)
				}
			}
			killed := 0
			killer := make(chan struct{})
			go func() {
				defer close(killer)
				for range kills {
					life := newResumeServer(store, 1+random.IntN(80))
					h.start(Handler(life.serve, nil))
					<-life.done
					time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond) // what is on its way may arrive, or not
					h.kill()
					killed++
					time.Sleep(time.Duration(random.IntN(5000)) * time.Millisecond)
				}
				h.start(Handler(newResumeServer(store, -1).serve, nil))
			}()
			connections := 0
			r.OnState = func(s RedialStatus) {
				if s.State == RedialConnected {
					connections++
				}
			}
			r.BeforeDial = func(_ context.Context, a *RedialAttempt) error {
				a.URL = fmt.Sprintf("ws://fake/?from=%d", len(client.received))
				return nil
			}
			if err := r.Run(t.Context(), client.use); err != nil {
				t.Fatal(err)
			}
			<-killer
			all := make([]int, messages)
			for i := range all {
				all[i] = i + 1
			}
			if !slices.Equal(client.received, all) {
				t.Errorf("seed %d: the feed has come as %v", seed, client.received)
			}
			if !slices.Equal(store.uploaded, all) {
				t.Errorf("seed %d: the uploads are stored as %v", seed, store.uploaded)
			}
			// A server may be killed before the client has its response: that makes no connection.
			if killed != kills || connections < kills/2 || client.offered <= messages {
				t.Errorf("seed %d: %d kills, %d connections, %d uploads offered: the test does not test what it should",
					seed, killed, connections, client.offered)
			}
		})
	}
}

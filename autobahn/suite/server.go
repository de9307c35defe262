package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Options say how cases are run.
type Options struct {
	// Cases are those to run. nil: the 517 of the original.
	Cases []*Case
	// Jobs is how many cases run at the same time. 0: eight of those that
	// mostly wait, and two for each processor of those that do not.
	Jobs int
	// TLS is for wss. For a server under test nil means the system's roots.
	// For a client under test it holds the suite's certificate; nil means ws.
	TLS *tls.Config
	// Done, if set, is called after each case, from one goroutine at a time.
	Done func(*Result)
}

// TestServer runs cases against the server at u, which must echo each data
// message, with its type. It returns a result for each case, in the order of
// the cases. An error says why no case could be run, or that ctx was done. In
// the second case nil stands for each case that has not run to its end.
func TestServer(ctx context.Context, u string, o Options) ([]*Result, error) {
	target, err := url.Parse(u)
	if err != nil && strings.Contains(u, "://") {
		return nil, err
	}
	if err != nil || target.Scheme != "ws" && target.Scheme != "wss" || target.Host == "" {
		return nil, fmt.Errorf("%q is not the URL of a WebSocket server, which begins with ws:// or wss://", u)
	}
	if target.User != nil || strings.Contains(u, "#") {
		return nil, fmt.Errorf("the URL %s has a user or a fragment, which those of WebSocket servers have not (RFC 6455, section 3)", target.Redacted())
	}
	cases := o.Cases
	if cases == nil {
		cases = Cases()
	}
	conn, err := dial(ctx, target, o.TLS)
	if err != nil {
		return nil, err
	}
	conn.Close()
	results := make([]*Result, len(cases))
	var mu sync.Mutex
	var dialErr error
	answers := patience{left: 2 * timedJobs}
	one := func(i int) {
		var r *Result
		err := answers.err()
		if err == nil {
			r, err = testServer(ctx, target, cases[i], o.TLS)
		}
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return // the case was cut short
		}
		if err != nil {
			dialErr = err
			r = &Result{ID: cases[i].ID, Behavior: Failed, BehaviorClose: Failed, Explanation: err.Error(), CloseNote: "There was no connection."}
			if cases[i].informational && errors.Is(err, errNoAnswers) {
				r.Behavior, r.BehaviorClose = Informational, Informational // as of a request that was tried
			}
		}
		answers.note(cases[i], r)
		results[i] = r
		if o.Done != nil {
			o.Done(r)
		}
	}
	runAll(ctx, o, cases, one)
	if err := context.Cause(ctx); err != nil {
		return results, err
	}
	for _, r := range results {
		if r != nil && r.Detail != nil {
			return results, nil
		}
	}
	return results, dialErr
}

// A patience ends with a server that takes connections and answers no request.
// Each would wait for the limit of the opening handshake.
type patience struct {
	mu       sync.Mutex
	answered bool // owned by mu
	left     int  // owned by mu: the requests that may stay without an answer
}

func (p *patience) note(c *Case, r *Result) {
	if r.Detail == nil || c.beyond != nil && c.beyond.request != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Detail.OpenTimeout {
		p.left--
	} else {
		p.answered = true
	}
}

func (p *patience) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.answered && p.left <= 0 {
		return errNoAnswers
	}
	return nil
}

var errNoAnswers = errors.New("the server has answered none of the requests before")

// timedJobs is how many of the cases that mostly wait run at the same time.
const timedJobs = 8

// runAll calls one with each index of cases. Cases that mostly wait come first.
// The others take all processor time, and would make them late.
func runAll(ctx context.Context, o Options, cases []*Case, one func(int)) {
	jobs, untimedJobs := o.Jobs, o.Jobs
	if o.Jobs <= 0 {
		// An echo is the turn of one process only: two cases keep one processor
		// busy.
		jobs, untimedJobs = timedJobs, 2*runtime.GOMAXPROCS(0)
	}
	var timed, untimed []int
	for i, c := range cases {
		if c.untimed {
			untimed = append(untimed, i)
		} else {
			timed = append(timed, i)
		}
	}
	each(ctx, timed, jobs, one)
	each(ctx, untimed, untimedJobs, one)
}

// each calls f with each of items, in up to jobs goroutines.
func each(ctx context.Context, items []int, jobs int, f func(int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(jobs, len(items)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range next {
				f(i)
			}
		}()
	}
	for _, i := range items {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
}

func dial(ctx context.Context, u *url.URL, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, openingLimit)
	defer cancel()
	host := u.Host
	if u.Port() == "" {
		port := "80"
		if u.Scheme == "wss" {
			port = "443"
		}
		host = net.JoinHostPort(u.Hostname(), port)
	}
	if u.Scheme == "wss" {
		if config == nil {
			config = &tls.Config{}
		}
		config = config.Clone()
		config.NextProtos = nil
		d := &tls.Dialer{Config: config}
		return d.DialContext(ctx, "tcp", host)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", host)
}

// testServer plays one case.
func testServer(ctx context.Context, u *url.URL, c *Case, config *tls.Config) (*Result, error) {
	conn, err := dial(ctx, u, config)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s := newSession(c, conn, false)
	extensions := ""
	if c.deflate != nil {
		extensions = offerHeader(c.deflate.offers)
	}
	req, key := request(u, extensions)
	if b := c.beyond; b != nil {
		if b.notFor == "server" {
			return notFor(c, "server"), nil
		}
		if b.request != nil {
			req = b.request(req)
		}
	}
	early, reqText, respText, err := s.handshakeAsClient(req, key)
	if b := c.beyond; b != nil && b.request != nil && !s.judgeRequest(respText, err) {
		return s.result(reqText, respText), nil
	}
	if err != nil {
		s.handshakeError = err
		s.conn.Close()
	} else {
		s.run(early)
	}
	return s.result(reqText, respText), nil
}

// notFor is the result of a case that does not apply to this kind of peer.
func notFor(c *Case, peer string) *Result {
	note := "The case says nothing of a " + peer + "."
	return &Result{ID: c.ID, Behavior: Informational, BehaviorClose: Informational, Explanation: note, CloseNote: note}
}

// result judges the session, which has ended.
func (s *session) result(request, response string) *Result {
	duration := time.Since(s.started)
	if s.opened {
		duration = time.Since(s.opening)
	}
	if s.behaviorClose == "" {
		s.judge()
	}
	if s.comp != nil && s.comp.out.w != nil {
		writers.Put(s.comp.out.w)
	}
	return &Result{ID: s.c.ID, Behavior: s.behavior, BehaviorClose: s.behaviorClose, Explanation: s.explanation, CloseNote: s.closeNote,
		Duration: duration, Detail: s.detail(request, response)}
}

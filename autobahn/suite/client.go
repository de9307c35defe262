package suite

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Tester tests clients, by the protocol of the original. A client asks
// /getCaseCount, and runs /runCase?case=N&agent=A for each N from 1 on. It asks
// for /updateReports?agent=A at last. It is an http.Handler, to be served over
// HTTP/1.1. Also understood are /runCase?casetuple=7.1.6&agent=A,
// /getCaseInfo?case=N and /getCaseStatus?case=N&agent=A.
type Tester struct {
	// Cases are those to run. nil: the 517 of the original.
	Cases []*Case
	// Done, if set, is called after each case, from one goroutine at a time.
	Done func(agent string, r *Result)
	// Update, if set, is called when a client asks for its report, which the
	// client then takes to be written. One goroutine at a time calls it.
	Update func(agent string)

	mu      sync.Mutex
	results map[string]map[string]*Result // by agent and id; owned by mu
	running map[string]int                // cases without a verdict, by agent; owned by mu
	changed chan struct{}                 // owned by mu: closed when results or running changes

	updating sync.Mutex // held while Update runs
}

func (t *Tester) cases() []*Case {
	if t.Cases == nil {
		return Cases()
	}
	return t.Cases
}

// Results returns what is known of agent, in the order of the cases: nil stands
// for a case that it has not run.
func (t *Tester) Results(agent string) []*Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*Result, len(t.cases()))
	for i, c := range t.cases() {
		list[i] = t.results[agent][c.ID]
	}
	return list
}

// Agents returns the names of the clients that have run a case.
func (t *Tester) Agents() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var agents []string
	for a := range t.results {
		agents = append(agents, a)
	}
	return agents
}

// begin notes that agent runs a case. It must be followed by end.
func (t *Tester) begin(agent string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == nil {
		t.running = map[string]int{}
	}
	t.running[agent]++
}

// end notes the result of a case, unless ctx is done: then it is too late.
func (t *Tester) end(ctx context.Context, agent string, r *Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[agent]--; t.running[agent] == 0 {
		delete(t.running, agent)
	}
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
	if ctx.Err() != nil {
		return
	}
	if t.results == nil {
		t.results = map[string]map[string]*Result{}
	}
	if t.results[agent] == nil {
		t.results[agent] = map[string]*Result{}
	}
	t.results[agent][r.ID] = r
	if t.Done != nil {
		t.Done(agent, r)
	}
}

// await waits for the result of a case, which its client may ask for before the
// connection has ended.
func (t *Tester) await(ctx context.Context, agent, id string) (r *Result) {
	t.wait(ctx, func() bool {
		r = t.results[agent][id]
		return r != nil
	})
	return r
}

// verdict is await for a client that has ended. It does not wait for a case
// that the client has not begun.
func (t *Tester) verdict(ctx context.Context, agent, id string) (r *Result) {
	t.wait(ctx, func() bool {
		r = t.results[agent][id]
		return r != nil || t.running[agent] == 0
	})
	return r
}

// settle waits until agent runs no case, or any agent if agent is "". It does
// not wait for one that takes long.
func (t *Tester) settle(agent string) {
	ctx, cancel := context.WithTimeout(context.Background(), straggling)
	defer cancel()
	t.wait(ctx, func() bool {
		if agent == "" {
			return len(t.running) == 0
		}
		return t.running[agent] == 0
	})
}

// wait waits until ready, which is called with the lock, or until ctx is done.
func (t *Tester) wait(ctx context.Context, ready func() bool) {
	for {
		t.mu.Lock()
		if ready() {
			t.mu.Unlock()
			return
		}
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// caseOf returns the case that a request names.
func (t *Tester) caseOf(r *http.Request) (*Case, error) {
	q := r.URL.Query()
	if id := strings.TrimSpace(q.Get("casetuple")); id != "" {
		for _, c := range t.cases() {
			if c.ID == id {
				return c, nil
			}
		}
		return nil, fmt.Errorf("there is no case %q", id)
	}
	n, err := strconv.Atoi(q.Get("case"))
	if err != nil || n < 1 || n > len(t.cases()) {
		return nil, fmt.Errorf("there is no case number %q", q.Get("case"))
	}
	return t.cases()[n-1], nil
}

func (t *Tester) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.serve(context.Background(), w, r)
}

// serve answers a request. Once ctx is done it notes no more results, and calls
// Update no more.
func (t *Tester) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	if !hasToken(r.Header, "Upgrade", "websocket") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "A WebSocket conformance suite with %d cases.\nA client asks for /getCaseCount, /runCase?case=N&agent=A and /updateReports?agent=A.\n", len(t.cases()))
		return
	}
	agent := r.URL.Query().Get("agent")
	c, caseErr := t.caseOf(r)
	var reply func() string
	switch r.URL.Path {
	case "/runCase":
		if caseErr == nil && agent == "" {
			caseErr = errors.New("the agent is missing")
		}
		if caseErr != nil {
			http.Error(w, caseErr.Error(), http.StatusBadRequest)
			return
		}
		t.begin(agent)
		t.end(ctx, agent, t.runCase(w, r, c))
		return
	case "/getCaseCount":
		reply = func() string { return strconv.Itoa(len(t.cases())) }
	case "/updateReports":
		if agent == "" {
			http.Error(w, "the agent is missing", http.StatusBadRequest)
			return
		}
		reply = func() string {
			t.settle(agent)
			t.updating.Lock()
			defer t.updating.Unlock()
			if t.Update != nil && ctx.Err() == nil {
				t.Update(agent)
			}
			return ""
		}
	case "/getCaseInfo", "/getCaseStatus":
		if caseErr != nil {
			http.Error(w, caseErr.Error(), http.StatusBadRequest)
			return
		}
		answer := func() map[string]string { return map[string]string{"id": c.ID, "description": c.Sends} }
		if r.URL.Path == "/getCaseStatus" {
			answer = func() map[string]string { return t.status(agent, c.ID) }
		}
		reply = func() string {
			b, _ := json.Marshal(answer())
			return string(b)
		}
	default:
		http.NotFound(w, r)
		return
	}
	// The suite answers questions about itself as a case that no report has.
	plain := &Case{ID: "0", closing: closeNormally, limit: 10 * time.Second, play: func() player { return &tell{reply} }}
	if s, early, _, _ := t.open(w, r, plain); s != nil {
		s.run(early)
	}
}

// status is what is known of a case that agent has run.
func (t *Tester) status(agent, id string) map[string]string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if r := t.await(ctx, agent, id); r != nil {
		return map[string]string{"behavior": r.Behavior}
	}
	return map[string]string{"behavior": "MISSING"}
}

// tell sends one text message, unless it is empty, and closes.
type tell struct{ text func() string }

func (t *tell) keeps() bool { return false }
func (t *tell) open(s *session) {
	if msg := t.text(); msg != "" {
		f := text(msg)
		s.send(&f, 0, false)
	}
	s.closeWith(1000)
	s.setLimit()
}
func (t *tell) message(*session, []byte, int, bool) {}

// open answers the request. It returns nil if that failed.
func (t *Tester) open(w http.ResponseWriter, r *http.Request, c *Case) (s *session, early []byte, request, resp string) {
	dump, _ := httputil.DumpRequest(r, false)
	if err := checkRequest(r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil, nil, string(dump), ""
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil, nil, string(dump), ""
	}
	conn.SetDeadline(time.Time{})
	early = make([]byte, rw.Reader.Buffered())
	rw.Reader.Read(early)
	s = newSession(c, conn, true)
	extensions := ""
	if c.deflate != nil {
		offers, _ := parseDeflate(strings.Join(r.Header.Values("Sec-Websocket-Extensions"), ","), false)
		if p, ok := c.deflate.accept(offers); ok {
			extensions = p.String()
			s.comp = newDeflate(p, true)
		}
	}
	resp = response(r, extensions)
	if c.beyond != nil && c.beyond.response != nil {
		resp = c.beyond.response(resp)
	}
	s.log.octets(&s.log.rxOctets, "RO", dump)
	s.log.octets(&s.log.txOctets, "TO", []byte(resp))
	if _, err := conn.Write([]byte(resp)); err != nil {
		s.handshakeError = err
	}
	return s, early, string(dump), resp
}

func (t *Tester) runCase(w http.ResponseWriter, r *http.Request, c *Case) *Result {
	if c.beyond != nil && c.beyond.notFor == "client" {
		http.Error(w, "this case is for servers", http.StatusNotFound)
		return notFor(c, "client")
	}
	s, early, request, resp := t.open(w, r, c)
	if s == nil {
		return &Result{ID: c.ID, Behavior: Failed, BehaviorClose: Failed, Explanation: "The opening handshake failed."}
	}
	if b := c.beyond; b != nil && b.response != nil {
		s.judgeRefusal()
		s.conn.Close()
	} else {
		s.run(early)
	}
	return s.result(request, resp)
}

// Serve serves t on ln, over TLS if config is set, until ln is closed or ctx is
// done. It then waits for cases that are being judged, for a short time. A
// result that comes later is not noted.
func (t *Tester) Serve(ctx context.Context, ln net.Listener, config *tls.Config) error {
	if config != nil {
		config = config.Clone()
		config.NextProtos = []string{"http/1.1"}
		ln = tls.NewListener(ln, config)
	}
	serving, end := context.WithCancel(context.Background())
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.serve(serving, w, r) })
	server := &http.Server{Handler: handler, ReadHeaderTimeout: openingLimit, ErrorLog: log.New(discard{}, "", 0)}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	err := server.Serve(ln)
	t.settle("")
	t.updating.Lock()
	defer t.updating.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	end()
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

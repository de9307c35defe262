//go:build unix

package brokertest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
)

// Faults puts faults into engines, processes and the network between them while
// messages are published, and compares what was published with what each client
// saw. The short form publishes some thousand messages for each fault. The full
// one publishes 100,000, and its faults last as long as they do elsewhere.
func Faults(t *testing.T, kind Kind, full bool) {
	s := scaleOf(full)
	for _, f := range []fault{
		{"None", func(f *field) {}, true},
		{"ProcessKilled", (*field).killProcess, true},
		{"ProcessStopped", (*field).stopProcess, true},
		{"ConnectionsReset", (*field).resetConnections, true},
		{"NetworkCut", (*field).cutNetwork, !full},
		{"NetworkCutLong", (*field).cutNetworkLong, !full},
		{"PublishersCut", (*field).cutPublishers, true},
		{"EngineStopped", (*field).stopEngine, !full},
		{"EngineKilled", (*field).killEngine, false},
		{"EngineWithoutData", (*field).loseData, false},
	} {
		t.Run(f.name, func(t *testing.T) { runFault(t, kind, f, s) })
	}
}

// ClusterFault is Faults for one fault, and for engines that replace each
// other. The Kind connects to addr. The argument keeps says that the engines
// lose nothing, so that no client need be told.
func ClusterFault(t *testing.T, kind Kind, addr, name string, full, keeps bool, do func()) {
	f := fault{name, func(*field) { do() }, keeps}
	s := scaleOf(full)
	if !full {
		s.times = 2 // a failover takes seconds
	}
	v, _ := observe(t, &field{t: t, kind: kind, scale: s, addr: addr}, f)
	v.report(t, f, s)
}

// Clocks is Faults for clocks: those of the processes and that of the engine
// differ, and then they are set while messages are published. Meanwhile
// processes are killed, so that the next ones read the engine.
func Clocks(t *testing.T, kind Kind, full bool) {
	s := scaleOf(full)
	for _, engine := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		f := fault{fmt.Sprint("ClocksDiffer", engine), func(f *field) {
			f.proxies[processes].Reset() // messages are in doubt
			f.killProcess()
		}, true}
		t.Run(f.name, func(t *testing.T) {
			runClocks(t, kind, f, s, engine, -3*time.Hour, 0, 10*time.Minute)
		})
	}
	jumps := []time.Duration{time.Hour, -time.Hour, 3 * time.Hour, 0}
	n := 0
	f := fault{"ClocksJump", func(f *field) {
		f.clocks[0].Set(f.t, jumps[n%len(jumps)])
		f.clocks[1+f.any()].Set(f.t, jumps[n%len(jumps)])
		n++
		f.wait(f.scale.short / 2)
		f.killProcess()
	}, false} // messages are too old when the clock is beyond the age of the history
	t.Run(f.name, func(t *testing.T) { runClocks(t, kind, f, s, 0, 0, 0, 0) })
}

// runClocks runs a fault with an engine and processes whose clocks are ahead.
func runClocks(t *testing.T, kind Kind, f fault, s scale, ahead ...time.Duration) {
	program, err := ownProgram()
	if err != nil {
		t.Fatal(err)
	}
	fld := &field{t: t, kind: kind, scale: s, program: program}
	for _, d := range ahead {
		fld.clocks = append(fld.clocks, NewClock(t, d))
	}
	fld.engine = StartWithClock(t, kind, fld.clocks[0])
	fld.addr = fld.engine.Addr
	v, _ := observe(t, fld, f)
	fld.checkClocks()
	v.report(t, f, s)
}

func scaleOf(full bool) scale {
	if full {
		return scale{messages: 100_000, pace: 2000, times: 100, short: 5 * time.Second, long: 20 * time.Second}
	}
	return scale{messages: 3000, pace: 1500, times: 3, short: time.Second, long: 2 * time.Second}
}

// A scale is how large a run is.
type scale struct {
	messages    int // of all publishers
	pace        int // of all publishers, in a second
	times       int // of each fault, at most
	short, long time.Duration
}

// A fault is put in again and again while messages are published.
type fault struct {
	name string
	do   func(*field)
	// keeps: the engine loses nothing, and is away for less than a hub waits
	// for it. No client need be told that it missed something.
	keeps bool
}

const (
	processes  = 3
	publishers = 4
	topics     = Topics
	listeners  = 2 // clients of each topic
)

// Topics is how many topics Faults has. Their names are 0, 1, 2, and so on.
const Topics = 8

// A field is an engine, processes that serve clients, and what lies between
// them.
type field struct {
	t         *testing.T
	kind      Kind
	scale     scale
	engine    *Engine // nil: there are others, and nothing lies between them and the processes
	addr      string
	processes []*process
	proxies   []*Proxy // of the processes, and one for the publishers
	program   string   // of the processes, which have clocks; empty: the test's own
	clocks    []*Clock // of the engine, and of the processes; nil: the system's
	over      atomic.Bool
}

// wait waits, unless the publishers are done.
func (f *field) wait(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && !f.over.Load(); {
		time.Sleep(20 * time.Millisecond)
	}
}

func (f *field) any() int { return rand.N(processes) }

func (f *field) killProcess() {
	f.processes[f.any()].restart(f.t)
}

func (f *field) stopProcess() {
	p := f.processes[f.any()]
	p.cmd.Process.Signal(syscall.SIGSTOP)
	f.wait(f.scale.long)
	p.cmd.Process.Signal(syscall.SIGCONT)
}

func (f *field) resetConnections() { f.proxies[f.any()].Reset() }

func (f *field) cutNetwork() { f.cut(f.proxies[f.any()], f.scale.short) }

func (f *field) cutNetworkLong() { f.cut(f.proxies[f.any()], 3*f.scale.long) }

func (f *field) cutPublishers() { f.cut(f.proxies[processes], f.scale.short) }

func (f *field) cut(p *Proxy, d time.Duration) {
	p.Cut(true)
	f.wait(d)
	p.Cut(false)
}

func (f *field) stopEngine() {
	f.engine.Signal(syscall.SIGSTOP)
	f.wait(f.scale.short)
	f.engine.Signal(syscall.SIGCONT)
}

func (f *field) killEngine() {
	f.engine.Kill()
	f.engine.Run(f.t)
}

func (f *field) loseData() {
	f.engine.Kill()
	f.engine.Forget(f.t)
	f.engine.Run(f.t)
}

func runFault(t *testing.T, kind Kind, f fault, s scale) {
	e := Start(t, kind)
	v, logs := observe(t, &field{t: t, kind: kind, scale: s, engine: e, addr: e.Addr}, f)
	if f.name == "None" {
		spoil(t, logs)
	}
	v.report(t, f, s)
}

// checkClocks fails the test if the engine or a process does not have its
// clock.
func (f *field) checkClocks() {
	f.t.Helper()
	b, closeBroker := f.kind.Connect(f.addr)
	defer closeBroker()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	if err := b.Publish(ctx, hub.Publication{Topic: "clock", Payload: []byte("tick"), History: checkHistory}); err != nil {
		f.t.Fatal(err)
	}
	got, err := b.(hub.Historian).Missed(ctx, "clock", hub.Position{}, checkHistory)
	if err != nil || len(got.Messages) != 1 {
		f.t.Fatalf("%+v, %v", got, err)
	}
	f.clocks[0].check(f.t, "the engine", got.Messages[0].Time)
	f.clocks[0].check(f.t, "the engine, as the broker says", got.Now)
	for i, p := range f.processes {
		reply, err := http.Get("http" + strings.TrimPrefix(p.url(), "ws"))
		if err != nil {
			f.t.Fatal(err)
		}
		reply.Body.Close()
		at, err := http.ParseTime(reply.Header.Get("Date"))
		if err != nil {
			f.t.Fatal(err)
		}
		f.clocks[1+i].check(f.t, "a process", at)
	}
}

// report says what a checker found.
func (v verdict) report(t *testing.T, f fault, s scale) {
	t.Helper()
	t.Logf("%-18s %s", f.name, v)
	for _, text := range v.faults {
		t.Error(text)
	}
	if f.keeps && v.told > 0 {
		t.Errorf("clients were told %d times that they had missed something, and the engine lost nothing: %q", v.told, v.tells)
	}
	if want := s.messages * listeners; f.keeps && v.messages < want {
		t.Errorf("clients saw %d messages, want %d", v.messages, want)
	}
}

// spoil puts faults into what clients saw: the checker finds each.
func spoil(t *testing.T, logs []topicLog) {
	for name, change := range map[string]func(seen []sighting, i int) []sighting{
		"a loss":      func(seen []sighting, i int) []sighting { return slices.Delete(seen, i, i+1) },
		"a duplicate": func(seen []sighting, i int) []sighting { return slices.Insert(seen, i, seen[i]) },
		"a swap": func(seen []sighting, i int) []sighting {
			seen[i].id, seen[i+1].id = seen[i+1].id, seen[i].id
			return seen
		},
		"a hidden loss": func(seen []sighting, i int) []sighting {
			seen[i+1].previous = seen[i].previous
			return slices.Delete(seen, i, i+1)
		},
	} {
		for range 20 {
			log := logs[rand.N(topics)]
			before := check(log)
			spoilt := topicLog{confirmed: log.confirmed, clients: slices.Clone(log.clients)}
			client := rand.N(listeners)
			seen := slices.Clone(log.clients[client])
			i := 1 + rand.N(len(seen)-2)
			for seen[i].id == (id{}) || seen[i+1].id == (id{}) || startsUnknown(seen[i-1]) {
				i = 1 + rand.N(len(seen)-2)
			}
			spoilt.clients[client] = change(seen, i)
			if v := check(spoilt); v.count == before.count && v.told == before.told {
				t.Errorf("%s at %d of client %d was not found", name, i, client)
			}
		}
	}
}

// startsUnknown reports whether s is the start of a subscription to a topic
// that had no message. The checker cannot miss the first message behind it.
func startsUnknown(s sighting) bool { return s.id == (id{}) && s.at.IsZero() }

// observe runs a fault, and returns what the checker says, and what it was
// told.
func observe(t *testing.T, f *field, ft fault) (verdict, []topicLog) {
	s := f.scale
	addr := f.addr
	for i := range processes + 1 {
		if f.engine != nil {
			p := NewProxy(t, f.addr)
			f.proxies = append(f.proxies, p)
			addr = p.Addr
		}
		if i < processes {
			p := &process{t: t, kind: f.kind, addr: addr}
			if f.clocks != nil {
				p.program, p.clock = f.program, f.clocks[1+i]
			}
			f.processes = append(f.processes, p)
			p.begin()
		}
	}
	broker, closeBroker := f.kind.Connect(addr) // the publishers'
	h := hub.New(&hub.Options{Broker: broker, History: checkHistory})
	defer closeBroker()
	defer h.Close()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	logs := make([]topicLog, topics)
	var clients, writers sync.WaitGroup
	begun := make(chan struct{}, topics*listeners)
	var ends [topics][publishers]atomic.Int64 // messages from these numbers on are the end; 0: not yet known
	for topic := range topics {
		logs[topic].confirmed = make([]int, publishers)
		logs[topic].clients = make([][]sighting, listeners)
		for i := range listeners {
			l := &listener{field: f, topic: topic, patient: i%2 == 0, ends: &ends[topic]}
			clients.Go(func() {
				l.run(ctx, begun)
				logs[topic].clients[i] = l.seen
			})
		}
	}
	for range topics * listeners {
		select {
		case <-begun:
		case <-time.After(patience):
			t.Fatal("not all clients subscribed")
		}
	}
	each := s.messages / publishers
	for p := range publishers {
		writers.Go(func() {
			begin := time.Now()
			for n := range each {
				topic := rand.N(topics)
				logs[topic].confirmed[p]++
				if !f.publish(ctx, h, topic, id{p, logs[topic].confirmed[p]}) {
					cancel()
					return
				}
				if ahead := time.Duration(n)*time.Second*publishers/time.Duration(s.pace) - time.Since(begin); ahead > 0 {
					time.Sleep(ahead)
				}
			}
		})
	}
	faulty := make(chan struct{})
	go func() {
		defer close(faulty)
		isDone := false
		defer func() {
			if !isDone { // by Fatal: the engine may never be whole again
				cancel()
			}
		}()
		f.wait(s.short / 2)
		for n := 0; n < s.times && !f.over.Load(); n++ {
			ft.do(f)
			f.wait(s.short)
		}
		isDone = true
	}()
	writers.Wait()
	f.over.Store(true)
	<-faulty
	if ctx.Err() != nil {
		clients.Wait()
		t.FailNow()
	}
	var sent [topics][publishers]int
	publishAll := func() {
		for topic := range topics {
			for p := range publishers {
				sent[topic][p]++
				if !f.publish(ctx, h, topic, id{p, sent[topic][p]}) {
					cancel()
					return
				}
			}
		}
	}
	for topic := range topics {
		for p := range publishers {
			sent[topic][p] = logs[topic].confirmed[p]
			logs[topic].confirmed[p]++
			ends[topic][p].Store(int64(logs[topic].confirmed[p]))
		}
	}
	publishAll()
	// A message may have been lost behind the last: those that follow show it.
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	for round := 1; ; round++ {
		select {
		case <-done:
		case <-time.After(time.Second):
			if round < 60 {
				publishAll()
				continue
			}
			cancel() // the checker says what is missing
			<-done
		}
		break
	}
	var verdicts []verdict
	for topic := range logs {
		verdicts = append(verdicts, check(logs[topic]))
	}
	return sum(verdicts), logs
}

// publishPatience is how long an engine may refuse a message. Faults are
// shorter.
const publishPatience = 3 * time.Minute

// publish publishes a message until the engine has confirmed it, each time
// under its id. It reports whether the engine has.
func (f *field) publish(ctx context.Context, h *hub.Hub, topic int, m id) bool {
	name := fmt.Sprintf("%d-%d", m.publisher, m.n)
	for begin := time.Now(); ctx.Err() == nil; {
		once, cancel := context.WithTimeout(ctx, time.Second)
		err := h.PublishOnce(once, fmt.Sprint(topic), name, websocket.MessageText, []byte(name))
		cancel()
		if err == nil {
			return true
		}
		if time.Since(begin) > publishPatience {
			f.t.Errorf("message %s of topic %d was not confirmed: %v", name, topic, err)
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// checkHistory holds what a process misses in the longest fault.
var checkHistory = hub.History{Messages: 1 << 17, Bytes: -1, Age: time.Hour}

// A listener is a client that stays connected: it goes from process to process,
// and goes on where it was.
type listener struct {
	field   *field
	topic   int
	patient bool // stays with a process that is silent
	ends    *[publishers]atomic.Int64

	seen   []sighting
	last   hub.Position
	latest [publishers]int
}

func (l *listener) run(ctx context.Context, begun chan<- struct{}) {
	first := func() { begun <- struct{}{} }
	for ctx.Err() == nil && !l.done() {
		l.connect(ctx, &first)
		time.Sleep(time.Duration(10+rand.N(40)) * time.Millisecond)
	}
}

// done reports whether the client has the last message of each publisher.
func (l *listener) done() bool {
	for p := range l.ends {
		if n := l.ends[p].Load(); n == 0 || l.latest[p] < int(n) {
			return false
		}
	}
	return true
}

// connect is one connection.
func (l *listener) connect(ctx context.Context, first *func()) {
	dialing, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	p := l.field.processes[l.field.any()]
	q := url.Values{"topic": {fmt.Sprint(l.topic)}, "last": {l.last.String()}}
	c, _, err := websocket.Dial(dialing, p.url()+"?"+q.Encode(), nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for !l.done() {
		// The first answer waits for the engine, if that stands still. Later a
		// silent process is left.
		wait := time.Second
		if l.patient {
			wait = 5 * time.Second
		}
		reading, cancel := context.WithTimeout(ctx, wait)
		_, data, err := c.Read(reading)
		cancel()
		if err != nil {
			return
		}
		s, err := parseSighting(string(data))
		if err != nil {
			l.field.t.Error(err)
			return
		}
		l.seen = append(l.seen, s)
		if s.id == (id{}) {
			if !s.complete {
				l.last = s.at
			}
			if *first != nil {
				(*first)()
				*first = nil
			}
			continue
		}
		l.last = s.at
		l.latest[s.id.publisher] = max(l.latest[s.id.publisher], s.id.n)
	}
}

var errSighting = errors.New("a message that no process sends")

// parseSighting reads what a process sends: "begin", position, complete, or
// position, the offset before, publisher-number.
func parseSighting(text string) (s sighting, err error) {
	f := strings.Split(text, " ")
	if len(f) != 3 {
		return s, fmt.Errorf("%w: %.100q", errSighting, text)
	}
	if f[0] == "begin" {
		s.at, err = hub.ParsePosition(f[1])
		s.complete = f[2] == "true"
		return s, err
	}
	if s.at, err = hub.ParsePosition(f[0]); err == nil && s.at.IsZero() {
		err = errSighting
	}
	if err == nil {
		_, err = fmt.Sscan(f[1], &s.previous)
	}
	if err == nil {
		_, err = fmt.Sscanf(f[2], "%d-%d", &s.id.publisher, &s.id.n)
	}
	if err == nil && (s.id.n < 1 || s.id.publisher < 0 || s.id.publisher >= publishers) {
		err = errSighting
	}
	if err != nil {
		return s, fmt.Errorf("%.100q: %w", text, err)
	}
	return s, nil
}

// checkProcess is a process that serves listeners, until its standard input
// ends. It prints its URL.
func checkProcess(kind Kind, addr string) error {
	b, closeBroker := kind.Connect(addr)
	defer closeBroker()
	h := hub.New(&hub.Options{
		Broker:        b,
		QueueMessages: -1,
		QueueBytes:    -1,
		History:       checkHistory,
		OnBroker: func(ev hub.BrokerEvent) {
			if ev.Kind != hub.BrokerLost && ev.Kind != hub.BrokerRecovered {
				fmt.Fprintln(os.Stderr, ev.Kind, ev.Topic, ev.Err)
			}
		},
		Encode: func(dst []byte, m hub.Message) []byte {
			return fmt.Appendf(dst, "%s %d %s", m.Position, m.Previous, m.Data)
		},
	})
	defer h.Close()
	web := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		s := h.Join(c)
		defer s.Leave()
		after, err := hub.ParsePosition(r.FormValue("last"))
		if err != nil {
			return
		}
		ctx := c.CloseRead(context.Background())
		_, err = s.SubscribeFrom(ctx, r.FormValue("topic"), hub.SubscribeOptions{
			After: after,
			Greet: func(st hub.SubscribeResult) (websocket.MessageType, []byte) {
				return websocket.MessageText, fmt.Appendf(nil, "begin %s %t", st.Position, st.Complete)
			},
		})
		if err == nil {
			<-ctx.Done()
		}
	}, nil))
	defer web.Close()
	fmt.Println("ws" + strings.TrimPrefix(web.URL, "http"))
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// A process is one that serves listeners.
type process struct {
	t    *testing.T
	kind Kind
	addr string // of the engine

	program string // empty: the test's own
	clock   *Clock // of program; nil: the system's

	mu    sync.Mutex
	cmd   *exec.Cmd
	where string
}

// begin starts the process for the time of the test.
func (p *process) begin() {
	p.t.Helper()
	if err := p.start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
}

func (p *process) start() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if p.program != "" {
		program = p.program
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), addrVariable+"="+p.addr, kindVariable+"="+p.kind.Name, checkVariable+"=1")
	if p.clock != nil {
		cmd.Env = append(cmd.Env, p.clock.env()...)
	}
	cmd.Stderr = &raceFinder{p.t}
	if _, err := cmd.StdinPipe(); err != nil { // it ends with this process
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return fmt.Errorf("a process said nothing: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.where = cmd, strings.TrimSpace(line)
	return nil
}

func (p *process) url() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.where
}

// A raceFinder is what a process writes its errors to. The race detector tells
// of a race there, and the process goes on: the test fails for it.
type raceFinder struct{ t *testing.T }

func (f *raceFinder) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("DATA RACE")) {
		f.t.Error("a process has a data race")
	}
	return os.Stderr.Write(p)
}

// restart kills the process, and starts another.
func (p *process) restart(t *testing.T) {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	if err := p.start(); err != nil {
		t.Error(err)
	}
}

// A Proxy is the network between a process and an engine, or between engines.
type Proxy struct {
	Addr string

	mu      sync.Mutex
	engine  string // where new connections go
	conns   []net.Conn
	passing chan struct{} // closed while the network is whole
	held    []*held       // of the connections that are there
}

// A held says in which directions a connection is dead.
type held struct{ toEngine, fromEngine atomic.Bool }

// NewProxy returns the network to an engine, for the time of the test.
func NewProxy(t *testing.T, engine string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), engine: engine, passing: make(chan struct{})}
	close(p.passing)
	t.Cleanup(func() {
		l.Close()
		p.Cut(false)
		p.Reset()
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

// Cut makes the network swallow what is sent until it is whole again, when TCP
// sends it once more.
func (p *Proxy) Cut(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.passing:
		if on {
			p.passing = make(chan struct{})
		}
	default:
		if !on {
			close(p.passing)
		}
	}
}

// whole waits until the network is whole.
func (p *Proxy) whole() {
	p.mu.Lock()
	passing := p.passing
	p.mu.Unlock()
	<-passing
}

// Lead makes new connections go to another engine. Those that are there stay.
func (p *Proxy) Lead(engine string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.engine = engine
}

// Hold makes the connections that are there dead in some directions, as a
// broken proxy does. It takes what is sent, passes nothing on, and tells
// neither end. Connections that come later live.
func (p *Proxy) Hold(toEngine, fromEngine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.held {
		h.toEngine.Store(toEngine)
		h.fromEngine.Store(fromEngine)
	}
}

// Reset ends all connections.
func (p *Proxy) Reset() {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

func (p *Proxy) serve(c net.Conn) {
	defer c.Close()
	p.whole()
	p.mu.Lock()
	engine := p.engine
	p.mu.Unlock()
	e, err := net.Dial("tcp", engine)
	if err != nil {
		return
	}
	defer e.Close()
	p.mu.Lock()
	p.conns = append(p.conns, c, e)
	own := &held{}
	p.held = append(p.held, own)
	p.mu.Unlock()
	done := make(chan struct{}, 2)
	forward := func(to, from net.Conn, dead *atomic.Bool) {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			p.whole()
			if n > 0 && !dead.Load() {
				if _, err := to.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	go forward(c, e, &own.fromEngine)
	go forward(e, c, &own.toEngine)
	<-done
	c.Close()
	e.Close()
	<-done
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = slices.DeleteFunc(p.conns, func(x net.Conn) bool { return x == c || x == e })
	p.held = slices.DeleteFunc(p.held, func(x *held) bool { return x == own })
}

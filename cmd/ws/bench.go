package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed70bc5565/websocket"
)

// benchFlags are the options of "ws bench".
type benchFlags struct {
	dial        dialFlags
	connections int
	rate        int
	size        int
	duration    time.Duration
	inFlight    int
	wait        time.Duration
	mode        string
	binary      bool
	payload     string
	json        bool
	quiet       bool
}

func benchCommand() *command {
	f := &benchFlags{connections: 10, size: 128, duration: 10 * time.Second, wait: 2 * time.Second, mode: "echo"}
	cmd := &command{name: "bench", args: "URL", summary: "load a server, and show its throughput and round trips",
		details: `
The mode echo needs a server that sends each message back, such as ws listen -q.
With --rate, a round trip counts from the time at which the message was due, so
that a server that stalls does not hide it.`}
	f.dial.register(cmd)
	cmd.integer(&f.connections, 1, 100000, "c,connections", "N", "how many connections; default: 10")
	cmd.integer(&f.rate, 1, 1<<30, "rate", "N", "messages a second, of all connections together; default: as many as go")
	cmd.integer(&f.size, 0, 1<<30, "size", "BYTES", "the size of a message; default: 128")
	cmd.duration(&f.duration, "d,duration", "how long; default: 10s")
	cmd.integer(&f.inFlight, 1, 1<<20, "in-flight", "N", "echo: messages of a connection that wait for their echo; default: 1, with --rate 1024")
	cmd.duration(&f.wait, "w,wait", "how long to wait for echoes at the end; default: 2s")
	cmd.choice(&f.mode, "mode", "echo send receive", "send: nothing comes back; receive: count what the server sends; default: echo")
	cmd.boolean(&f.binary, "b,binary", "send random bytes in place of text that looks like JSON")
	cmd.text(&f.payload, "payload", "FILE", "file", "send the content of this file")
	cmd.boolean(&f.json, "json", "print the result as JSON")
	cmd.boolean(&f.quiet, "q,quiet", "show no progress")
	cmd.run = func(ctx context.Context, c *console, args []string) error {
		if len(args) != 1 {
			return usagef("one URL is needed, not %d", len(args))
		}
		return f.run(ctx, c, args[0])
	}
	return cmd
}

// A benchResult is what "ws bench --json" prints.
type benchResult struct {
	URL         string   `json:"url"`
	Mode        string   `json:"mode"`
	Connections int      `json:"connections"`
	Seconds     float64  `json:"seconds"`
	Size        int      `json:"size,omitempty"`
	Sent        int64    `json:"sent"`
	Received    int64    `json:"received"`
	Missing     int64    `json:"missing"`
	PerSecond   float64  `json:"messages_per_second"`
	SentBytes   int64    `json:"sent_bytes"`
	RecvBytes   int64    `json:"received_bytes"`
	WireSent    int64    `json:"wire_sent_bytes,omitempty"`
	WireRecv    int64    `json:"wire_received_bytes,omitempty"`
	Broken      int64    `json:"broken_connections"`
	Connect     *latency `json:"handshake,omitempty"`
	Latency     *latency `json:"latency,omitempty"`
}

// A bench is one run of "ws bench".
type bench struct {
	flags *benchFlags
	c     *console
	bound context.Context // of writes: it ends a while after the time

	sent, received           atomic.Int64
	sentBytes, receivedBytes atomic.Int64
	wireSent, wireReceived   atomic.Int64
	broken                   atomic.Int64
	firstBroken              atomic.Pointer[error]

	mu      sync.Mutex
	latency histogram // guarded by mu
}

// A countingConn counts what passes. It is put below connections with
// compression only, because it costs the client.
type countingConn struct {
	net.Conn
	b *bench
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.b.wireReceived.Add(int64(n))
	return n, err
}

func (c countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.b.wireSent.Add(int64(n))
	return n, err
}

func (f *benchFlags) run(ctx context.Context, c *console, target string) error {
	d, err := f.dial.dialer()
	if err != nil {
		return err
	}
	payload, err := f.message()
	if err != nil {
		return err
	}
	if f.inFlight == 0 {
		f.inFlight = 1
		if f.rate > 0 {
			f.inFlight = 1024
		}
	}
	b := &bench{flags: f, c: c}
	target = completeURL(target)
	conns, connect, err := b.connect(ctx, d, target)
	defer func() {
		for _, conn := range conns {
			conn.CloseNow()
		}
	}()
	if err != nil {
		return dialFailed(ctx, c, err)
	}
	if !f.quiet {
		c.dimmed(fmt.Sprintf("%d connections, handshakes: %s", len(conns), connect.summary()))
	}

	running, stop := context.WithTimeout(ctx, f.duration)
	defer stop()
	var release context.CancelFunc
	b.bound, release = context.WithTimeout(ctx, f.duration+f.wait)
	defer release()
	// The wire is counted from here on: before there were handshakes.
	wireSent, wireReceived := b.wireSent.Load(), b.wireReceived.Load()
	begin := time.Now()
	var work sync.WaitGroup
	for i, conn := range conns {
		work.Go(func() { b.load(running, conn, payload, i) })
	}
	go func() {
		work.Wait() // all connections may end before the time
		stop()
	}()
	progressDone := make(chan struct{})
	go func() {
		defer close(progressDone)
		b.progress(running, begin)
	}()
	<-running.Done()
	elapsed := time.Since(begin)
	inTime := b.received.Load()
	if f.mode == "send" {
		inTime = b.sent.Load()
	}
	work.Wait()
	<-progressDone
	b.close(conns)

	result := benchResult{URL: target, Mode: f.mode, Connections: len(conns), Seconds: elapsed.Seconds(), Size: len(payload),
		Sent: b.sent.Load(), Received: b.received.Load(), PerSecond: float64(inTime) / elapsed.Seconds(),
		SentBytes: b.sentBytes.Load(), RecvBytes: b.receivedBytes.Load(), Broken: b.broken.Load()}
	if f.dial.compression.mode() != websocket.CompressionDisabled {
		result.WireSent, result.WireRecv = b.wireSent.Load()-wireSent, b.wireReceived.Load()-wireReceived
	}
	l := connect.latency()
	result.Connect = &l
	if f.mode == "echo" {
		result.Missing = result.Sent - result.Received
		if b.latency.n > 0 {
			l := b.latency.latency()
			result.Latency = &l
		}
	}
	if f.mode == "receive" {
		result.Size = 0
	}
	if f.json {
		text, err := json.Marshal(result)
		if err != nil {
			return err
		}
		c.write(text, '\n')
	} else {
		c.print(b.text(result))
	}
	if first := b.firstBroken.Load(); first != nil {
		c.note(c.paint(red, sanitize(fmt.Sprintf("ws: %d connections ended before the time: %v", result.Broken, *first))))
	}
	switch {
	case ctx.Err() != nil:
		return exitError{exitInterrupted, nil}
	case result.Broken > 0:
		return exitError{exitBroken, nil}
	case result.Missing > 0, f.mode != "send" && result.Received == 0:
		return exitError{exitMissing, nil}
	}
	return nil
}

// message returns what is sent.
func (f *benchFlags) message() ([]byte, error) {
	if f.payload != "" {
		return os.ReadFile(f.payload)
	}
	random := rand.New(rand.NewPCG(1, 2)) // each run sends the same
	b := make([]byte, 0, f.size+64)
	if f.binary {
		for len(b) < f.size {
			b = append(b, byte(random.Uint32()))
		}
		return b, nil
	}
	b = append(b, '[')
	for len(b) < f.size {
		b = fmt.Appendf(b, `{"id":%d,"price":%d.%02d,"side":"%s"},`, random.IntN(1e6), random.IntN(1000), random.IntN(100),
			[]string{"buy", "sell"}[random.IntN(2)])
	}
	return b[:f.size], nil
}

// connect opens all connections, some at a time. The first that fails ends it.
func (b *bench) connect(ctx context.Context, d *dialer, target string) ([]*websocket.Conn, *histogram, error) {
	var through func(net.Conn) net.Conn
	if b.flags.dial.compression.mode() != websocket.CompressionDisabled {
		through = func(c net.Conn) net.Conn { return &countingConn{c, b} }
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		mu    sync.Mutex
		conns []*websocket.Conn
		h     histogram
		next  atomic.Int64
		work  sync.WaitGroup
	)
	for range min(b.flags.connections, 32) {
		work.Go(func() {
			for next.Add(1) <= int64(b.flags.connections) && ctx.Err() == nil {
				begin := time.Now()
				conn, _, err := d.dial(ctx, target, through)
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				h.add(time.Since(begin))
				conns = append(conns, conn)
				mu.Unlock()
			}
		})
	}
	work.Wait()
	return conns, &h, context.Cause(ctx)
}

// load runs one connection until ctx ends.
func (b *bench) load(ctx context.Context, conn *websocket.Conn, payload []byte, index int) {
	reading, stop := context.WithCancel(context.Background())
	defer stop()
	due := make(chan time.Time, b.flags.inFlight) // of each message that waits for its echo, in order
	over := make(chan error, 1)                   // the connection is
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		over <- b.read(reading, conn, due)
		cancel()
	}()
	if b.flags.mode == "receive" {
		<-sending.Done()
	} else {
		b.write(sending, conn, payload, due, index)
		for end := time.Now().Add(b.flags.wait); b.flags.mode == "echo" && len(due) > 0 && len(over) == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
	stop()
	if err := <-over; !errors.Is(err, context.Canceled) && ctx.Err() == nil {
		b.fail(err)
	}
}

func (b *bench) fail(err error) {
	b.broken.Add(1)
	b.firstBroken.CompareAndSwap(nil, &err)
}

// write sends messages until ctx ends. A message is begun only before the end,
// so that it goes out whole.
func (b *bench) write(ctx context.Context, conn *websocket.Conn, payload []byte, due chan time.Time, index int) {
	typ := websocket.MessageText
	if b.flags.binary {
		typ = websocket.MessageBinary
	}
	var interval time.Duration
	next := time.Now()
	if b.flags.rate > 0 {
		interval = time.Duration(float64(b.flags.connections) / float64(b.flags.rate) * float64(time.Second))
		next = next.Add(time.Duration(float64(interval) * float64(index) / float64(b.flags.connections)))
	}
	for ctx.Err() == nil {
		at := time.Now()
		if interval > 0 {
			if wait := next.Sub(at); wait > 0 {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return
				}
			}
			at, next = next, next.Add(interval)
		}
		if b.flags.mode == "echo" {
			select {
			case due <- at:
			case <-ctx.Done():
				return
			}
		}
		if err := conn.Write(b.bound, typ, payload); err != nil {
			return // the reader says why, or the time is over
		}
		b.sent.Add(1)
		b.sentBytes.Add(int64(len(payload)))
	}
}

// read takes messages until ctx or the connection ends.
func (b *bench) read(ctx context.Context, conn *websocket.Conn, due chan time.Time) error {
	var h histogram
	defer func() {
		b.mu.Lock()
		b.latency.merge(&h)
		b.mu.Unlock()
	}()
	var buf []byte
	for {
		_, data, err := conn.ReadInto(ctx, buf)
		if err != nil {
			return err
		}
		buf = data
		b.received.Add(1)
		b.receivedBytes.Add(int64(len(data)))
		if b.flags.mode != "echo" {
			continue
		}
		select {
		case at := <-due:
			h.add(time.Since(at))
		default:
			return fmt.Errorf("the server sent a message that is no echo: %.60q", data)
		}
	}
}

// progress shows a line each second.
func (b *bench) progress(ctx context.Context, begin time.Time) {
	if b.flags.quiet {
		return
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	count := &b.received
	if b.flags.mode == "send" {
		count = &b.sent
	}
	var before int64
	for {
		select {
		case <-ticker.C:
			now := count.Load()
			b.c.dimmed(fmt.Sprintf("%4.0fs  %s messages/s", time.Since(begin).Seconds(), thousands(now-before)))
			before = now
		case <-ctx.Done():
			return
		}
	}
}

// close closes all connections, some at a time.
func (b *bench) close(conns []*websocket.Conn) {
	var next atomic.Int64
	var work sync.WaitGroup
	for range min(len(conns), 256) {
		work.Go(func() {
			for i := next.Add(1); i <= int64(len(conns)); i = next.Add(1) {
				conns[i-1].Close(websocket.StatusNormalClosure, "")
			}
		})
	}
	work.Wait()
}

// text is the result for people.
func (b *bench) text(r benchResult) string {
	out := fmt.Sprintf("%s messages in %.1f s: %s/s", thousands(max(r.Received, r.Sent)), r.Seconds, thousands(int64(r.PerSecond)))
	if r.Mode != "echo" {
		out = fmt.Sprintf("%s: ", r.Mode) + out
	}
	out += fmt.Sprintf("\npayload: %s sent, %s received", quantity(float64(r.SentBytes)), quantity(float64(r.RecvBytes)))
	if r.WireSent+r.WireRecv > 0 {
		out += fmt.Sprintf("\nwire: %s sent, %s received", quantity(float64(r.WireSent)), quantity(float64(r.WireRecv)))
	}
	if r.Missing > 0 {
		out += fmt.Sprintf("\n%s echoes are missing", thousands(r.Missing))
	}
	if r.Latency != nil {
		out += "\nround trip: " + b.latency.summary() + "\n" + b.latency.String()
	}
	return out
}

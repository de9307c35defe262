package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An end is one side of a scenario's connection.
type end struct {
	conn
	peer peer
	wire *counter
}

// needs skips the scenario when e's library lacks an ability.
func (e end) needs(t *testing.T, abilities ...ability) {
	t.Helper()
	for _, a := range abilities {
		if why, lacking := e.peer.lacks[a]; lacking {
			t.Skip(why)
		}
	}
}

func (e end) lacks(a ability) bool {
	_, lacking := e.peer.lacks[a]
	return lacking
}

// A scenario is what the two ends do with one connection. Each runs with this
// library as the client, and again as the server.
type scenario struct {
	name    string
	options options
	run     func(t *testing.T, client, server end)
}

var scenarios = []scenario{
	{name: "text", run: exchange(message{true, []byte("Hello, 世界 🌍")})},
	{name: "binary", run: exchange(message{false, []byte{0, 1, 2, 0xfe, 0xff}})},
	{name: "empty/text", run: exchange(message{true, nil})},
	{name: "empty/binary", run: exchange(message{false, nil})},
	{name: "length/125", run: exchange(pattern(125))},
	{name: "length/126", run: exchange(pattern(126))},
	{name: "length/4096", run: exchange(pattern(4096))},
	{name: "length/65535", run: exchange(pattern(65535))},
	{name: "length/65536", run: exchange(pattern(65536))},
	{name: "length/1MiB", run: exchange(pattern(1 << 20))},
	{name: "sequence", run: exchange(sequence(100)...)},
	{name: "fragmented/text", run: fragmented(true, 3, 7000)},
	{name: "fragmented/binary", run: fragmented(false, 5, 300_000)},
	{name: "ping", run: pinging},
	{name: "subprotocol", options: options{subprotocols: []string{"v2.chat", "v1.chat"}}, run: negotiated("v2.chat")},
	{name: "subprotocol/none", run: negotiated("")},
	{name: "close/1000/client", run: closing(byClient, 1000, "done")},
	{name: "close/1000/server", run: closing(byServer, 1000, "done")},
	{name: "close/1001/client", run: closing(byClient, 1001, "")},
	{name: "close/1001/server", run: closing(byServer, 1001, "")},
	{name: "close/1011/client", run: closing(byClient, 1011, "naïve")},
	{name: "close/1011/server", run: closing(byServer, 1011, "naïve")},
	{name: "close/3000/client", run: closing(byClient, 3000, strings.Repeat("r", 123))},
	{name: "close/3000/server", run: closing(byServer, 3000, strings.Repeat("r", 123))},
	{name: "close/4999/client", run: closing(byClient, 4999, "x")},
	{name: "close/4999/server", run: closing(byServer, 4999, "x")},
	{name: "close/none/client", run: closing(byClient, 1005, "")},
	{name: "close/none/server", run: closing(byServer, 1005, "")},
}

// compressedScenarios returns those with permessage-deflate, in every mode.
func compressedScenarios() (all []scenario) {
	for _, mode := range []struct {
		name    string
		options options
	}{
		{"no takeover", options{compression: compressionNoContextTakeover}},
		{"takeover", options{compression: compressionContextTakeover}},
		{"takeover, windows of 2^9", options{compression: compressionContextTakeover, windowBits: 9}},
		{"takeover, windows of 2^12", options{compression: compressionContextTakeover, windowBits: 12}},
	} {
		for _, s := range []scenario{
			{name: "sequence", run: compressed(exchange(jsonTexts(200)...))},
			{name: "long", run: compressed(exchange(jsonText(1, 70_000), jsonText(2, 1<<20), jsonText(3, 100)))},
			{name: "incompressible", run: exchange(pattern(1000), pattern(70_000), jsonText(1, 1000), pattern(1000), jsonText(2, 1000))},
			{name: "empty", run: exchange(message{true, nil}, jsonText(1, 1000), message{false, nil}, jsonText(2, 1000))},
			{name: "fragmented", run: compressed(fragmented(true, 5, 30_000))},
			{name: "ping", run: pinging},
			{name: "close", run: closing(byClient, 1000, "done")},
		} {
			s.name, s.options = "compressed/"+mode.name+"/"+s.name, mode.options
			all = append(all, s)
		}
	}
	return all
}

// compressed runs a scenario whose messages all shrink to less than half.
func compressed(run func(*testing.T, end, end)) func(*testing.T, end, end) {
	return func(t *testing.T, client, server end) {
		run(t, client, server)
		if wire, data := client.wire.bytes.Load(), client.wire.data.Load(); wire > data/2 {
			t.Errorf("%d bytes on the wire for messages of %d: they were not compressed", wire, data)
		}
	}
}

// A counter counts what passes through the connections of a listener, in both
// directions.
type counter struct {
	net.Listener
	bytes atomic.Int64
	data  atomic.Int64 // bytes of the messages that were sent
}

func (c *counter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	return countedConn{conn, c}, err
}

type countedConn struct {
	net.Conn
	c *counter
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.c.bytes.Add(int64(n))
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.c.bytes.Add(int64(n))
	return n, err
}

func TestInterop(t *testing.T) {
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for _, scheme := range []string{"ws", "wss"} {
				t.Run(scheme, func(t *testing.T) {
					t.Run("client", func(t *testing.T) { runAll(t, scheme, ours, p) })
					t.Run("server", func(t *testing.T) { runAll(t, scheme, p, ours) })
				})
			}
		})
	}
}

func runAll(t *testing.T, scheme string, client, server peer) {
	for _, s := range slices.Concat(scenarios, compressedScenarios()) {
		t.Run(s.name, func(t *testing.T) {
			if s.options.compression != compressionOff {
				end{peer: client}.needs(t, compress)
				end{peer: server}.needs(t, compress)
			}
			c, s2 := connect(t, scheme, client, server, s.options)
			s.run(t, c, s2)
		})
	}
}

// connect opens one connection from client to server. Both ends are ended with
// the test.
func connect(t *testing.T, scheme string, client, server peer, o options) (end, end) {
	t.Helper()
	accepted := make(chan conn, 1)
	done := make(chan struct{})
	h := server.handler(o, func(c conn) {
		defer c.End()
		accepted <- c
		<-done
	})
	ts := httptest.NewUnstartedServer(h)
	wire := &counter{Listener: ts.Listener}
	ts.Listener = wire
	if scheme == "wss" {
		ts.StartTLS()
		o.tls = ts.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	} else {
		ts.Start()
	}
	t.Cleanup(ts.Close)
	t.Cleanup(func() { close(done) })

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	c, err := client.dial(ctx, scheme+ts.URL[strings.Index(ts.URL, ":"):]+"/", o)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(c.End)
	select {
	case s := <-accepted:
		return end{c, client, wire}, end{s, server, wire}
	case <-time.After(patience):
		t.Fatal("the server accepted nothing")
		panic("unreachable")
	}
}

// exchange sends messages from the client to the server, and then the other
// way.
func exchange(messages ...message) func(*testing.T, end, end) {
	return func(t *testing.T, client, server end) {
		for _, way := range []struct {
			name     string
			from, to end
		}{{"to the server", client, server}, {"to the client", server, client}} {
			sent := make(chan error, 1)
			go func() {
				for _, m := range messages {
					way.from.wire.data.Add(int64(len(m.data)))
					if err := way.from.Write(m); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			for i, want := range messages {
				got, err := way.to.Read()
				if err != nil {
					t.Fatalf("%s: message %d: %v", way.name, i, err)
				}
				if err := same(got, want); err != nil {
					t.Fatalf("%s: message %d: %v", way.name, i, err)
				}
			}
			if err := <-sent; err != nil {
				t.Fatalf("%s: %v", way.name, err)
			}
		}
	}
}

func fragmented(text bool, count, size int) func(*testing.T, end, end) {
	return func(t *testing.T, client, server end) {
		want := message{text: text}
		var parts [][]byte
		for i := range count {
			part := bytes.Repeat([]byte{byte('a' + i)}, size)
			parts = append(parts, part)
			want.data = append(want.data, part...)
		}
		ran := false
		for _, way := range []struct{ from, to end }{{client, server}, {server, client}} {
			if way.from.lacks(sendFragments) || way.to.lacks(receiveFragments) {
				continue
			}
			ran = true
			sent := make(chan error, 1)
			way.from.wire.data.Add(int64(len(want.data)))
			go func() { sent <- way.from.WriteFragments(text, parts) }()
			got, err := way.to.Read()
			if err != nil {
				t.Fatal(err)
			}
			if err := same(got, want); err != nil {
				t.Fatal(err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
		if !ran {
			client.needs(t, sendFragments, receiveFragments)
			server.needs(t, sendFragments, receiveFragments)
		}
	}
}

// pinging has both ends ping each other while both read, and sends a message
// each way behind the pings.
func pinging(t *testing.T, client, server end) {
	type result struct {
		m   message
		err error
	}
	ends := []end{client, server}
	var results [2]chan result
	for i, e := range ends {
		results[i] = make(chan result, 1)
		go func() {
			m, err := e.Read()
			results[i] <- result{m, err}
		}()
	}
	for i, e := range ends {
		if e.lacks(observePong) {
			continue
		}
		if err := e.Ping(); err != nil {
			t.Fatalf("ping of end %d: %v", i, err)
		}
	}
	for i, e := range ends {
		want := message{true, []byte("behind the pings")}
		if err := e.Write(want); err != nil {
			t.Fatal(err)
		}
		r := <-results[1-i]
		if r.err != nil {
			t.Fatal(r.err)
		}
		if err := same(r.m, want); err != nil {
			t.Fatal(err)
		}
	}
}

func negotiated(want string) func(*testing.T, end, end) {
	return func(t *testing.T, client, server end) {
		if got := client.Subprotocol(); got != want {
			t.Errorf("client has the subprotocol %q, want %q", got, want)
		}
		if got := server.Subprotocol(); got != want {
			t.Errorf("server has the subprotocol %q, want %q", got, want)
		}
		exchange(message{true, []byte("still speaking")})(t, client, server)
	}
}

type side int

const (
	byClient side = iota
	byServer
)

// closing has one end close while the other reads: the reader learns the code
// and the reason, and the closer's handshake completes.
func closing(by side, code int, reason string) func(*testing.T, end, end) {
	return func(t *testing.T, client, server end) {
		closer, reader := client, server
		if by == byServer {
			closer, reader = server, client
		}
		if code == 1005 {
			closer.needs(t, closeWithoutCode)
		}
		want := closed{code, reason}
		if closer.lacks(chooseCloseCode) {
			want = closed{code: 1000}
		}
		heard := make(chan error, 1)
		go func() {
			_, err := reader.Read()
			reader.End()
			heard <- err
		}()
		if err := closer.Close(code, reason); err != nil {
			t.Errorf("close: %v", err)
		}
		err := <-heard
		var got *closed
		if !errors.As(err, &got) {
			t.Fatalf("the other end got %v, want a close frame with %d %q", err, want.code, want.reason)
		}
		if !reader.lacks(reportCloseCode) && *got != want {
			t.Errorf("the other end got %d %q, want %d %q", got.code, got.reason, want.code, want.reason)
		}
	}
}

func same(got, want message) error {
	if got.text != want.text {
		return fmt.Errorf("text is %v, want %v", got.text, want.text)
	}
	if len(got.data) != len(want.data) {
		return fmt.Errorf("%d bytes, want %d", len(got.data), len(want.data))
	}
	for i := range got.data {
		if got.data[i] != want.data[i] {
			return fmt.Errorf("byte %d of %d is %#02x, want %#02x", i, len(want.data), got.data[i], want.data[i])
		}
	}
	return nil
}

// pattern is a binary message in which a shifted, dropped or wrongly masked
// byte shows.
func pattern(n int) message {
	data := make([]byte, n)
	x := uint32(n)
	for i := range data {
		x = x*1664525 + 1013904223
		data[i] = byte(x >> 24)
	}
	return message{false, data}
}

func sequence(n int) []message {
	m := make([]message, n)
	for i := range m {
		m[i] = message{i%2 == 0, []byte(fmt.Sprintf("message %d of %d", i, n))}
	}
	return m
}

// jsonText is a text of about n bytes that compresses well, like and unlike
// those with other seeds.
func jsonText(seed, n int) message {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":%d,"sensor":"Fühler %d","value":%d.%d,"unit":"°C"},`, seed*1000+i, i%7, (seed+i)%40, seed%10)
	}
	return message{true, b.Bytes()}
}

func jsonTexts(n int) []message {
	m := make([]message, n)
	for i := range m {
		m[i] = jsonText(i, 60+i*i%5000)
	}
	return m
}

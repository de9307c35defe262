package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// An end is one side of a scenario's connection.
type end struct {
	conn
	peer peer
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

// A scenario is what the two ends do with one connection. Each runs with this library as the client, and again as the server.
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
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			c, s2 := connect(t, scheme, client, server, s.options)
			s.run(t, c, s2)
		})
	}
}

// connect opens one connection from client to server. Both ends are ended with the test.
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
		return end{c, client}, end{s, server}
	case <-time.After(patience):
		t.Fatal("the server accepted nothing")
		panic("unreachable")
	}
}

// exchange sends messages from the client to the server, and then the other way.
func exchange(messages ...message) func(*testing.T, end, end) {
	return func(t *testing.T, client, server end) {
		for _, way := range []struct {
			name     string
			from, to end
		}{{"to the server", client, server}, {"to the client", server, client}} {
			sent := make(chan error, 1)
			go func() {
				for _, m := range messages {
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

// pinging has both ends ping each other while both read, and sends a message each way behind the pings.
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

// closing has one end close while the other reads: the reader learns the code and the reason, and the closer's handshake completes.
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

// pattern is a binary message in which a shifted, dropped or wrongly masked byte shows.
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

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed70bc5565/websocket/benchmarks/load"
)

// A library is a server under test: a folder of servers.
type library struct {
	name  string
	label string
	ours  bool
	bare  bool // takes part in nothing but handshakes without net/http
	floor bool // not a WebSocket library: what the machine allows
	quick bool // part of a quick run
	// blind and raw are for the load generator, see load.Job.
	blind, raw bool
	// validates says that the server checks text to be UTF-8 when it is asked
	// to.
	validates bool
	args      func(scenario) []string
}

var libraries = []library{
	{name: "ours", label: "this library", ours: true, quick: true, validates: true},
	{name: "ours-events", label: "this library, Events", ours: true, validates: true},
	{name: "ours-bare", label: "this library, AcceptConn", ours: true, bare: true},
	{name: "gorilla", label: "gorilla/websocket", quick: true},
	{name: "ours-gorilla", label: "this library, package gorilla", ours: true},
	{name: "coder", label: "coder/websocket", quick: true},
	{name: "gobwas", label: "gobwas/ws", quick: true, validates: true, args: func(s scenario) []string {
		if s.bare {
			return []string{"-bare"}
		}
		return nil
	}},
	{name: "gws", label: "lxzan/gws", quick: true, validates: true},
	{name: "xnet", label: "golang.org/x/net/websocket"},
	{name: "rawtcp", label: "rawtcp (floor)", floor: true, quick: true, blind: true},
	{name: "rawepoll", label: "rawepoll (floor of Events)", floor: true, blind: true},
	{name: "copyloop", label: "copy loop (floor)", floor: true, blind: true, raw: true},
}

// A scenario is a job for the load generator and what the servers must do for
// it.
type scenario struct {
	id     string
	title  string
	short  string // for the chart
	job    load.Job
	args   []string // for the servers
	memory bool     // the figure is bytes per connection, and less is better
	unit   string
	wire   bool // the figure is bytes of a compressed message, and less is better
	p99    bool // the figure is microseconds that an echo takes, and less is better
	http   bool // through net/http for everyone; the floors are left out
	bare   bool // without net/http for those that can; the floors are left out
	floors bool // the floors are not left out
	slow   bool // not a part of a quick run
	utf8   bool // the best peer is the best of those that validate
	own    bool // of this library's own server only
	// without names the servers that cannot take part.
	without []string
}

const (
	messages = "messages per second of server CPU"
	bytes    = "bytes of RSS per connection"
	wire     = "bytes on the wire per message"
	slowest  = "microseconds, 99th percentile"
)

// uncompressing lists those whose servers here have no compression, and those
// that have no context takeover. The list left has those that
// never stay in a handler: their documentation advises against it.
var (
	uncompressing = []string{"gobwas", "xnet", "rawtcp", "rawepoll", "copyloop"}
	forgetting    = append([]string{"gorilla", "ours-gorilla"}, uncompressing...)
	left          = []string{"ours-events", "gobwas", "gws", "rawtcp", "rawepoll", "copyloop"}
)

var scenarios = []scenario{
	{id: "a", title: "ping-pong, 64 connections, 128 B", short: "echo of 128 B, one message at a time", unit: messages,
		job: load.Job{Kind: load.Echo, Conns: 64, Outstanding: 1, Size: 128}},
	{id: "a-p99", title: "the same: how long 99 of 100 echoes take at most", short: "time of an echo, 99th percentile", unit: slowest, p99: true, slow: true,
		job: load.Job{Kind: load.Echo, Conns: 64, Outstanding: 1, Size: 128, Slowest: true}},
	{id: "b", title: "pipelined, 64 connections with 32 messages outstanding, 128 B", short: "echo of 128 B, 32 messages at a time", unit: messages,
		job: load.Job{Kind: load.Echo, Conns: 64, Outstanding: 32, Size: 128}},
	{id: "c", title: "16 KiB, 16 connections", short: "echo of 16 KiB", unit: messages,
		job: load.Job{Kind: load.Echo, Conns: 16, Outstanding: 1, Size: 16 << 10}},
	{id: "d", title: "1 MiB, 4 connections", short: "echo of 1 MiB", unit: messages,
		job: load.Job{Kind: load.Echo, Conns: 4, Outstanding: 1, Size: 1 << 20}},
	{id: "d2", title: "64 KiB of Chinese text, 16 connections, UTF-8 validated", short: "echo of 64 KiB of text, UTF-8 checked", unit: messages, utf8: true,
		job: load.Job{Kind: load.Echo, Conns: 16, Outstanding: 1, Size: 64 << 10, Text: true}, args: []string{"-validate"}},
	{id: "e", title: "idle connections, one echo of 128 B each", short: "memory of an idle connection", unit: bytes, memory: true,
		job: load.Job{Kind: load.Idle, Size: 128}},
	{id: "e-tls", title: "idle connections over TLS, one echo of 128 B each", short: "memory of an idle connection, TLS", unit: bytes, memory: true,
		job: load.Job{Kind: load.Idle, Size: 128, TLS: true}, args: []string{"-tls"},
		without: []string{"rawtcp", "rawepoll", "copyloop"}},
	typical("small", "the smallest loop over Messages"),
	typical("read", "a loop over Read with a logger"),
	typical("log", "errors are logged"),
	typical("hub", "a subscriber of a hub that also publishes"),
	typical("request", "the request is used in the loop"),
	{id: "e-stay", title: "idle connections whose handler stays, one echo of 128 B each", short: "memory of an idle connection, the handler stays", unit: bytes, memory: true, slow: true,
		job: load.Job{Kind: load.Idle, Size: 128}, args: []string{"-stay"}, without: left},
	{id: "f", title: "opening handshakes through net/http", short: "handshakes through net/http", unit: "handshakes per second of server CPU", http: true,
		job: load.Job{Kind: load.Handshake, Conns: 16}},
	{id: "f-bare", title: "opening handshakes, without net/http where a library can", short: "handshakes without net/http", unit: "handshakes per second of server CPU", bare: true, slow: true,
		job: load.Job{Kind: load.Handshake, Conns: 16}},
	{id: "f-busy", title: "the same in bursts of 64, so that the server never waits for the client", short: "handshakes without net/http, in bursts", unit: "handshakes per second of server CPU", bare: true, floors: true, slow: true,
		job: load.Job{Kind: load.Handshake, Conns: 64, Bursts: true}, without: []string{"copyloop"}},
	{id: "g", title: "broadcast of 512 B to 1000 connections", short: "broadcast to 1,000 connections", unit: "deliveries per second of server CPU",
		job:  load.Job{Kind: load.Receive, Conns: 1000, Size: 512, PerTrigger: 1000},
		args: []string{"-task", "broadcast", "-size", "512"}, without: []string{"copyloop"}},
	{id: "g8", title: "the same broadcast, 8 messages queued for each", short: "broadcast of 8 messages, queued", unit: "deliveries per second of server CPU",
		job:  load.Job{Kind: load.Receive, Conns: 1000, Size: 512, PerTrigger: 8000},
		args: []string{"-task", "broadcast", "-size", "512", "-queued", "8"}, without: []string{"copyloop"}},
	{id: "h", title: "64 goroutines write 128 B to one connection", short: "64 goroutines write to one connection", unit: messages,
		job:  load.Job{Kind: load.Receive, Conns: 1, Size: 128, PerTrigger: 64 * load.MessagesPerWriter},
		args: []string{"-task", "writers", "-writers", "64", "-size", "128"}, without: []string{"copyloop"}},
	{id: "z", title: "compressed 1 KB of JSON, 64 connections, no context takeover", short: "compressed JSON", unit: messages, without: uncompressing,
		job: load.Job{Kind: load.Echo, Conns: 64, Size: 1000, Deflate: load.NoTakeover}, args: []string{"-deflate", "no-takeover"}},
	{id: "z-wire", title: "the same: size", short: "compressed JSON: bytes sent", unit: wire, wire: true, slow: true, without: uncompressing,
		job: load.Job{Kind: load.Echo, Conns: 8, Size: 1000, Deflate: load.NoTakeover}, args: []string{"-deflate", "no-takeover"}},
	{id: "z-mem", title: "the same: memory, 10 messages on each connection", short: "compressed JSON: memory", unit: bytes, memory: true, slow: true, without: uncompressing,
		job: load.Job{Kind: load.Idle, Conns: 1000, Outstanding: 10, Size: 1000, Deflate: load.NoTakeover}, args: []string{"-deflate", "no-takeover"}},
	{id: "zt", title: "compressed 1 KB of JSON, 64 connections, context takeover", short: "compressed JSON, with history", unit: messages, without: forgetting,
		job: load.Job{Kind: load.Echo, Conns: 64, Size: 1000, Deflate: load.Takeover}, args: []string{"-deflate", "takeover"}},
	{id: "zt-wire", title: "the same: size", short: "compressed JSON, with history: bytes sent", unit: wire, wire: true, slow: true, without: forgetting,
		job: load.Job{Kind: load.Echo, Conns: 8, Size: 1000, Deflate: load.Takeover}, args: []string{"-deflate", "takeover"}},
	{id: "zt-mem", title: "the same: memory, 10 messages on each connection", short: "compressed JSON, with history: memory", unit: bytes, memory: true, slow: true, without: forgetting,
		job: load.Job{Kind: load.Idle, Conns: 1000, Outstanding: 10, Size: 1000, Deflate: load.Takeover}, args: []string{"-deflate", "takeover"}},
	{id: "zt12-mem", title: "the same: memory, windows of 2^12", short: "the same, with windows of 4 KB", unit: bytes, memory: true, slow: true, without: append([]string{"coder"}, forgetting...),
		job: load.Job{Kind: load.Idle, Conns: 1000, Outstanding: 10, Size: 1000, Deflate: load.Takeover}, args: []string{"-deflate", "takeover", "-window", "12"}},
}

// typical returns scenario e with another handler of servers/ours.
func typical(handler, what string) scenario {
	return scenario{id: "e-" + handler, title: "the same, " + what, short: "memory, " + what, unit: bytes, memory: true, slow: true, own: true,
		job: load.Job{Kind: load.Idle, Size: 128}, args: []string{"-typical", handler}}
}

// less reports whether a smaller figure is a better one.
func (s scenario) less() bool { return s.memory || s.wire || s.p99 }

// leaves reports whether l has no part in s.
func (s scenario) leaves(l library) bool {
	return slices.Contains(s.without, l.name) || s.own && l.name != "ours" && l.name != "before" || (s.http || s.bare) && l.floor && !s.floors || l.bare && !s.bare
}

func (s scenario) format(figure float64) string {
	if s.memory {
		return fmt.Sprintf("%.1f KB", figure/1e3)
	}
	if s.wire {
		return fmt.Sprintf("%.0f B", figure)
	}
	if s.p99 {
		return fmt.Sprintf("%.0f µs", figure)
	}
	if figure >= 1e5 {
		return fmt.Sprintf("%.0f k/s", figure/1e3)
	}
	return fmt.Sprintf("%.1f k/s", figure/1e3)
}

func scenarioIDs() string {
	var ids []string
	for _, s := range scenarios {
		ids = append(ids, s.id)
	}
	return strings.Join(ids, ", ")
}

func libraryNames() string {
	var names []string
	for _, l := range libraries {
		names = append(names, l.name)
	}
	return strings.Join(names, ", ")
}

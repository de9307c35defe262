package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// A client is a peer that connects to our server.
type client struct {
	name    string
	command func(e *env) []string // the program and its arguments, except the last: what it is to do
	groups  []string              // of cases
	without []string              // cases of the groups that it is not asked
	cannot  []string              // where the client differs from others, whatever the server; the cases look at it
}

// casesOf are the names of the cases by group. They are in js/*.mjs and
// py/client.py.
var casesOf = map[string][]string{
	"all": {
		"open", "text", "empty", "binary", "sizes", "mebibyte", "five-megabytes", "many-messages", "many-connections",
		"fragments-from-server", "ping-from-server", "subprotocol", "subprotocol-none", "close-from-client", "close-from-server",
		"close-behind-messages", "close-while-sending", "close-in-the-middle-of-a-download", "server-dies", "read-limit", "refused",
		"compression", "wss", "wss-unknown-certificate",
	},
	"javascript": {"blob"},
	"standard": {
		"buffered-amount", "create-bad-urls", "create-bad-protocols", "create-url", "create-defaults", "send-before-open", "send-values", "send-views",
		"send-after-close", "close-bad-arguments", "close-clamps-and-converts", "close-reason-surrogates", "close-while-connecting",
		"close-twice", "close-from-both-sides", "events", "constructor-and-interface",
	},
	"browser": {"create-blocked-port", "origin-refused", "in-a-worker", "frame-goes-away"},
	"ws":      {"ws-ping", "ws-fragments", "ws-fragments-uncompressed-and-not", "ws-terminate", "ws-invalid-utf8"},
	"python":  {"python-ping", "python-fragments", "python-abort"},
}

var clients = []client{
	{
		name:    "chromium",
		command: func(e *env) []string { return []string{"node", e.js("chromium.mjs"), "chromium"} },
		groups:  []string{"all", "javascript", "standard", "browser"},
	},
	{
		name:    "firefox",
		command: func(e *env) []string { return []string{"node", e.js("firefox.mjs"), "firefox"} },
		groups:  []string{"all", "javascript", "standard", "browser"},
		cannot:  []string{"tellParameters", "insistOnSubprotocol", "endCleanly", "hideTLS"},
	},
	{
		name:    "webkit",
		command: func(e *env) []string { return []string{"node", e.js("webkit.mjs"), "webkit"} },
		groups:  []string{"all", "javascript", "standard", "browser"},
		// It is told to accept all certificates, and has no event for a port
		// that it does not connect to.
		without: []string{"wss-unknown-certificate", "create-blocked-port"},
		cannot:  []string{"insistOnSubprotocol", "close1012", "close1014", "countUnsent"},
	},
	{
		name:    "ws",
		command: func(e *env) []string { return []string{"node", e.js("client.mjs"), "ws"} },
		groups:  []string{"all", "javascript", "ws"},
		cannot:  []string{"tellParameters"},
	},
	{
		name:    "undici",
		command: func(e *env) []string { return []string{"node", e.js("client.mjs"), "undici"} },
		groups:  []string{"all", "javascript", "standard"},
		cannot:  []string{"keepBOM", "compressSends", "countUnsent"},
	},
	{
		name: "bun",
		command: func(e *env) []string {
			return []string{e.module("@oven/bun-linux-x64/bin/bun"), e.js("client.mjs"), "own"}
		},
		groups: []string{"all", "javascript"},
	},
	{
		name: "deno",
		command: func(e *env) []string {
			return []string{e.module("@deno/linux-x64-glibc/deno"), "run", "--quiet", "--no-config", "--allow-net", "--allow-read", "--cert", e.certs.authority, e.js("client.mjs"), "own"}
		},
		groups: []string{"all", "javascript", "standard"},
		cannot: []string{"compress", "insistOnSubprotocol", "name1006", "close1014", "countUnsent", "fillEvents"},
	},
	{
		name:    "python",
		command: func(e *env) []string { return []string{e.python, e.py("client.py")} },
		groups:  []string{"all", "python"},
	},
}

// serverModes are the ways in which our server is used while a client runs its
// cases: parameters of the URLs.
var serverModes = []map[string]string{
	{"compression": "off", "api": "messages"},
	{"compression": "takeover", "api": "stream"},
	{"compression": "none", "api": "read"},
}

// result is a line that a client prints.
type result struct {
	Case        string
	Connections int
	Seconds     float64
	Error       string
	Version     string
	Done        bool
}

// test runs the client against our server, once for each mode.
func (c client) test(ctx context.Context, e *env) {
	for _, mode := range serverModes {
		run := c.name + ", server with compression " + mode["compression"]
		if e.wanted(run) {
			n, errs := c.run(ctx, e, run, mode)
			e.note(run, n, errs)
		}
	}
}

// run returns the number of cases, and what failed.
func (c client) run(ctx context.Context, e *env, run string, mode map[string]string) (int, []error) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	victim, err := e.startVictim(ctx)
	if err != nil {
		return 0, []error{err}
	}
	defer victim.stop()
	addr, err := victim.awaitLine(ctx, "listening on ")
	if err != nil {
		return 0, []error{err}
	}
	var names []string
	for _, g := range c.groups {
		names = append(names, casesOf[g]...)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(c.without, name) })
	if e.only != "" {
		names = slices.DeleteFunc(names, func(name string) bool { return !strings.Contains(name, e.only) })
	}
	cannot := make(map[string]bool)
	for _, what := range c.cannot {
		cannot[what] = true
	}
	config, err := json.Marshal(map[string]any{
		"plain":     "ws://" + e.server.plain + "/",
		"secure":    "wss://" + e.server.secure + "/",
		"unknown":   "wss://" + e.server.unknown + "/",
		"tapped":    "ws://" + e.server.tap.addr + "/",
		"victim":    "ws://" + addr + "/",
		"spki":      e.certs.spki,
		"authority": e.certs.authority,
		"chain":     e.certs.chain,
		"run":       run,
		"mode":      mode,
		"cannot":    cannot,
		"cases":     names,
	})
	if err != nil {
		return 0, []error{err}
	}
	args := append(c.command(e), string(config))
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = e.top
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+e.certs.authority, "SSL_CERT_FILE="+e.certs.authority, "CHROMIUM="+e.chromium)
	var stderr output
	cmd.Stderr = &stderr
	cmd.WaitDelay = 2 * time.Second
	out, err := cmd.Output()
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	done, connections := false, 0
	seen := make(map[string]int)
	for line := range strings.Lines(string(out)) {
		var r result
		if jsonErr := json.Unmarshal([]byte(line), &r); jsonErr != nil {
			fail("the client prints %q", line)
			continue
		}
		done = done || r.Done
		if r.Case == "" {
			continue
		}
		seen[r.Case]++
		connections += r.Connections
		if e.verbose {
			fmt.Printf("     %s, %s: %.1f s\n", c.name, r.Case, r.Seconds)
		}
		if r.Error != "" {
			fail("%s: the client: %s", r.Case, r.Error)
		}
		// Cases run one after the other, but the server's end of a connection
		// may outlast the client's. The client undici once kept a socket open
		// for more than 10 s after it had failed the connection.
		got := 0
		for _, rep := range e.server.await(run, connections, time.Minute) {
			if rep.name == r.Case {
				got++
			}
		}
		if got != r.Connections {
			fail("%s: the client made %d connections, the server saw the end of %d", r.Case, r.Connections, got)
			connections += got - r.Connections
		}
	}
	for _, rep := range e.server.await(run, connections, 0) {
		if rep.err != nil {
			fail("%s: the server: %s: %w", rep.name, rep.path, rep.err)
		}
	}
	for _, name := range names {
		if seen[name] != 1 {
			fail("%s: has %d results", name, seen[name])
		}
	}
	if err != nil || !done {
		fail("the client did not finish: %v\n%s", err, stderr.tail())
	}
	return len(names), errs
}

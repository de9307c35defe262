package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A host that vanishes: a server of ours in a network namespace of its own.
// From one moment on no packet comes from it, and none reaches it. Neither end
// of a connection is told of that by its kernel.

// A farHost is a network namespace and the link to it.
type farHost struct {
	name      string // of the namespace, and of this end of the link
	near, far string // addresses
}

// ip runs a command of ip(8).
func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func newFarHost(ctx context.Context) (h *farHost, err error) {
	if os.Getuid() != 0 {
		return nil, errors.New("a network namespace takes root")
	}
	pid := os.Getpid()
	// 198.18.0.0/15 is for tests of networks (RFC 2544).
	net := fmt.Sprintf("198.18.%d.", pid>>6&0xff)
	at := pid & 0x3f << 2
	h = &farHost{name: fmt.Sprintf("wsfar%d", pid), near: fmt.Sprint(net, at+1), far: fmt.Sprint(net, at+2)}
	if err := ip(ctx, "netns", "add", h.name); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"link", "add", h.name, "type", "veth", "peer", "name", "near", "netns", h.name},
		{"addr", "add", h.near + "/30", "dev", h.name},
		{"link", "set", h.name, "up"},
		{"-n", h.name, "addr", "add", h.far + "/30", "dev", "near"},
		{"-n", h.name, "link", "set", "near", "up"},
	} {
		if err := ip(ctx, args...); err != nil {
			h.remove()
			return nil, err
		}
	}
	return h, nil
}

// remove removes the namespace, and with it the link.
func (h *farHost) remove() {
	ip(context.Background(), "netns", "del", h.name)
	ip(context.Background(), "link", "del", h.name) // it may take its time to go with the namespace
}

// vanish makes all packets in both directions go to a network card that does
// not exist.
func (h *farHost) vanish(ctx context.Context) error {
	const nobody = "02:00:00:00:00:01"
	return errors.Join(
		ip(ctx, "neigh", "replace", h.far, "lladdr", nobody, "dev", h.name, "nud", "permanent"),
		ip(ctx, "-n", h.name, "neigh", "replace", h.near, "lladdr", nobody, "dev", "near", "nud", "permanent"),
	)
}

// farVariable is the address that a process is to serve on, in its network
// namespace.
const farVariable = "REALPEERS_FAR"

// runFar is that process: a server that answers pings, and each message with
// the same.
func runFar(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("listening on %s\n", ln.Addr())
	return http.Serve(ln, websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		for {
			typ, msg, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), typ, msg) != nil {
				return
			}
		}
	}, nil))
}

// The bounds that have to hold, and how much later than that a loaded machine
// may notice.
const (
	farInterval = 400 * time.Millisecond
	farTimeout  = 300 * time.Millisecond
	farClose    = 700 * time.Millisecond
	farSlack    = 5 * time.Second
)

// farCases are what notices that the host has vanished: not before least, and
// not after most and farSlack.
var farCases = []struct {
	name  string
	least time.Duration
	most  time.Duration
	want  error
	do    func(ctx context.Context, c *websocket.Conn) error
}{
	{"Read, heartbeat", farTimeout, farInterval + farInterval/2 + farTimeout, websocket.ErrPongTimeout,
		func(ctx context.Context, c *websocket.Conn) error { _, _, err := c.Read(ctx); return err }},
	{"Read, heartbeat, behind writes", 0, farInterval + farInterval/2 + farTimeout, websocket.ErrPongTimeout,
		func(ctx context.Context, c *websocket.Conn) error {
			go func() {
				for c.Write(ctx, websocket.MessageBinary, make([]byte, 4000)) == nil {
				}
			}()
			_, _, err := c.Read(ctx)
			return err
		}},
	{"Read, deadline", farClose, farClose, os.ErrDeadlineExceeded,
		func(ctx context.Context, c *websocket.Conn) error {
			c.SetReadDeadline(time.Now().Add(farClose))
			_, _, err := c.Read(ctx)
			return err
		}},
	{"Write, context", farClose, farClose, context.DeadlineExceeded,
		func(ctx context.Context, c *websocket.Conn) error {
			ctx, cancel := context.WithTimeout(ctx, farClose)
			defer cancel()
			for {
				if err := c.Write(ctx, websocket.MessageBinary, make([]byte, 1<<20)); err != nil {
					return err
				}
			}
		}},
	{"Close", farClose, farClose, context.DeadlineExceeded,
		func(_ context.Context, c *websocket.Conn) error { return c.Close(websocket.StatusNormalClosure, "") }},
}

// testVanish dials the far host for each case, lets it vanish, and runs all
// cases at once.
func testVanish(ctx context.Context, e *env) {
	const name = "a host that vanishes"
	if !e.wanted(name) {
		return
	}
	n, errs := runVanish(ctx, e)
	e.note(name, n, errs)
}

func runVanish(ctx context.Context, e *env) (int, []error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	h, err := newFarHost(ctx)
	if err != nil {
		return 0, []error{err}
	}
	defer h.remove()
	self, err := os.Executable()
	if err != nil {
		return 0, []error{err}
	}
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", h.name, self)
	cmd.Env = append(os.Environ(), farVariable+"="+h.far+":80")
	far, err := start("server in a network namespace", cmd)
	if err != nil {
		return 0, []error{err}
	}
	defer far.stop()
	addr, err := far.awaitLine(ctx, "listening on ")
	if err != nil {
		return 0, []error{err}
	}

	var conns []*websocket.Conn
	for i := range farCases {
		opts := &websocket.DialOptions{PingInterval: -1, CloseTimeout: farClose}
		if farCases[i].want == websocket.ErrPongTimeout {
			opts.PingInterval, opts.PongTimeout = farInterval, farTimeout
		}
		c, _, err := websocket.Dial(ctx, "ws://"+addr+"/", opts)
		if err != nil {
			return 0, []error{err}
		}
		defer c.CloseNow()
		conns = append(conns, c)
		if err := c.Write(ctx, websocket.MessageText, []byte("there?")); err != nil {
			return 0, []error{err}
		}
		if _, msg, err := c.Read(ctx); err != nil || string(msg) != "there?" {
			return 0, []error{fmt.Errorf("echo: %q, %w", msg, err)}
		}
	}
	if err := h.vanish(ctx); err != nil {
		return 0, []error{err}
	}
	results := make(chan error)
	n := 0
	for i, test := range farCases {
		if !strings.Contains(test.name, e.only) {
			continue
		}
		n++
		go func() {
			begin := time.Now()
			err := test.do(ctx, conns[i])
			took := time.Since(begin)
			switch {
			case !errors.Is(err, test.want):
				err = fmt.Errorf("%s: %v, want %v", test.name, err, test.want)
			case took < test.least || took > test.most+farSlack:
				err = fmt.Errorf("%s: noticed after %v", test.name, took)
			default:
				err = nil
			}
			results <- err
		}()
	}
	var errs []error
	for range n {
		if err := <-results; err != nil {
			errs = append(errs, err)
		}
	}
	return n, errs
}

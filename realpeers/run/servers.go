package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A server is a peer that our client connects to. js/ws-server.mjs and
// py/server.py say what their paths do.
type server struct {
	name    string
	command func(e *env) []string
}

var servers = []server{
	{"server of ws", func(e *env) []string { return []string{"node", e.js("ws-server.mjs")} }},
	{"server of python", func(e *env) []string { return []string{e.python, e.py("server.py")} }},
}

// dialModes are the ways in which our client asks for compression.
var dialModes = []string{"off", "takeover", "none"}

// A dialer is what the cases of our client use.
type dialer struct {
	process       *process
	plain, secure string
	tap           *tap
	client        *http.Client
	mode          string
	ids           int
}

func (s server) test(ctx context.Context, e *env) {
	if !e.wanted(s.name) {
		return
	}
	for _, mode := range dialModes {
		n, errs := s.run(ctx, e, mode)
		e.note("our client with compression "+mode+", "+s.name, n, errs)
	}
}

func (s server) run(ctx context.Context, e *env, mode string) (int, []error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	args := append(s.command(e), e.certs.chain, e.certs.key)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	p, err := start(s.name, cmd)
	if err != nil {
		return 0, []error{err}
	}
	defer p.stop()
	d := &dialer{process: p, mode: mode}
	if d.plain, err = p.awaitLine(ctx, "plain on "); err != nil {
		return 0, []error{err}
	}
	if d.secure, err = p.awaitLine(ctx, "secure on "); err != nil {
		return 0, []error{err}
	}
	if d.tap, err = newTap(d.plain); err != nil {
		return 0, []error{err}
	}
	defer d.tap.close()
	d.client = e.trusting()
	defer d.client.CloseIdleConnections()
	var errs []error
	n := 0
	for _, c := range dialCases {
		if !strings.Contains(c.name, e.only) {
			continue
		}
		n++
		ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("not done after 20 s"))
		if err := c.run(ctx, d); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
		}
		cancel()
	}
	return n, errs
}

// trusting returns an HTTP client that trusts the authority of this run.
func (e *env) trusting() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: e.certs.pool}}}
}

// dial connects to a path of the server. It also returns the ID that the server
// knows the connection by.
func (d *dialer) dial(ctx context.Context, base, path string, opts *websocket.DialOptions) (*websocket.Conn, *http.Response, string, error) {
	d.ids++
	id := strconv.Itoa(d.ids)
	u := base + "/" + path
	if strings.Contains(path, "?") {
		u += "&id=" + id
	} else {
		u += "?id=" + id
	}
	o := websocket.DialOptions{CompressionMode: modes[d.mode], ReadLimit: 16 << 20, CompressionSendWindowBits: 15}
	if opts != nil {
		o = *opts
	}
	o.HTTPClient = d.client
	c, resp, err := websocket.Dial(ctx, u, &o)
	return c, resp, id, err
}

// with dials and calls f, which leaves the connection open; it then closes, and
// compares what both sides say.
func (d *dialer) with(ctx context.Context, base, path string, opts *websocket.DialOptions, f func(c *websocket.Conn) error) error {
	c, _, id, err := d.dial(ctx, base, path, opts)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	if err := f(c); err != nil {
		return err
	}
	if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		return err
	}
	return d.ended(ctx, id, "1000 bye")
}

// ended waits until the server says how the connection ended.
func (d *dialer) ended(ctx context.Context, id, want string) error {
	got, err := d.process.awaitLine(ctx, "ended "+id+" ")
	if err == nil && got != want {
		err = fmt.Errorf("the server says that the connection ended with %q, want %q", got, want)
	}
	return err
}

func expect(ctx context.Context, c *websocket.Conn, typ websocket.MessageType, want string) error {
	gotType, got, err := c.Read(ctx)
	if err != nil {
		return err
	}
	if gotType != typ || sha256.Sum256(got) != sha256.Sum256([]byte(want)) {
		return fmt.Errorf("got a %v of %d bytes (%.40q), want a %v of %d bytes (%.40q)", gotType, len(got), got, typ, len(want), want)
	}
	return nil
}

func exchange(ctx context.Context, c *websocket.Conn, typ websocket.MessageType, data string) error {
	sent := make(chan error, 1)
	go func() { sent <- c.Write(ctx, typ, []byte(data)) }()
	if err := expect(ctx, c, typ, data); err != nil {
		return err
	}
	return <-sent
}

// prose returns text of n bytes that compresses well.
func prose(n int) string {
	unit := "The quick brown fox, der flinke Fuchs über Gärten, 狐は速い, 🦊🏃 jumps. "
	return strings.Repeat(unit, n/len(unit)) + strings.Repeat("x", n%len(unit))
}

type dialCase struct {
	name string
	run  func(ctx context.Context, d *dialer) error
}

var dialCases = []dialCase{
	{"echo", func(ctx context.Context, d *dialer) error {
		return d.with(ctx, "ws://"+d.plain, "echo", nil, func(c *websocket.Conn) error {
			for _, s := range []string{"", "a", "Grüße", "👋🏽👨‍👩‍👧‍👦", "\x00\x01\x7f", "\ufeffBOM", "\uffff\U0010ffff", ""} {
				if err := exchange(ctx, c, websocket.MessageText, s); err != nil {
					return err
				}
			}
			for _, n := range []int{0, 1, 125, 126, 127, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20, 5_000_000} {
				if err := exchange(ctx, c, websocket.MessageBinary, string(noise(n))); err != nil {
					return fmt.Errorf("%d bytes: %w", n, err)
				}
				if err := exchange(ctx, c, websocket.MessageText, prose(n)); err != nil {
					return fmt.Errorf("%d bytes of text: %w", n, err)
				}
			}
			return nil
		})
	}},
	{"fragments", func(ctx context.Context, d *dialer) error {
		err := d.with(ctx, "ws://"+d.plain, "echo", nil, func(c *websocket.Conn) error {
			for _, data := range []string{prose(100_000), string(noise(100_000)), strings.Repeat("🦊", 3000)} {
				typ := websocket.MessageText
				if data[0] != 'T' && data[0] != 0xf0 {
					typ = websocket.MessageBinary
				}
				sent := make(chan error, 1)
				go func() { sent <- inPieces(ctx, c, typ, []byte(data), 9973) }()
				if err := expect(ctx, c, typ, data); err != nil {
					return err
				}
				if err := <-sent; err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return d.with(ctx, "ws://"+d.plain, "fragments", nil, func(c *websocket.Conn) error {
			if err := expect(ctx, c, websocket.MessageText, strings.Repeat("🦊", 5000)); err != nil {
				return err
			}
			_, data, err := c.Read(ctx)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(data)
			return expect(ctx, c, websocket.MessageText, hex.EncodeToString(sum[:]))
		})
	}},
	{"pings", func(ctx context.Context, d *dialer) error {
		err := d.with(ctx, "ws://"+d.plain, "ping", nil, func(c *websocket.Conn) error {
			return expect(ctx, c, websocket.MessageText, "pong: are you there")
		})
		if err != nil {
			return err
		}
		return d.with(ctx, "ws://"+d.plain, "echo", nil, func(c *websocket.Conn) error {
			c.CloseRead(ctx)
			var all sync.WaitGroup
			errs := make([]error, 50)
			for i := range errs {
				all.Go(func() { errs[i] = c.Ping(ctx) })
			}
			all.Wait()
			return errors.Join(errs...)
		})
	}},
	{"many messages, many writers", func(ctx context.Context, d *dialer) error {
		return d.with(ctx, "ws://"+d.plain, "echo", nil, func(c *websocket.Conn) error {
			const writers, each = 8, 200
			for w := range writers {
				go func() {
					for i := range each {
						if c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "%d %d %s", w, i, strings.Repeat(".", i))) != nil {
							return
						}
					}
				}()
			}
			var next [writers]int
			for range writers * each {
				_, data, err := c.Read(ctx)
				if err != nil {
					return err
				}
				var w, i int
				var dots string
				if fmt.Sscan(string(data)+" $", &w, &i, &dots); i != next[w] || strings.TrimSuffix(dots, "$") != strings.Repeat(".", i) {
					return fmt.Errorf("writer %d: got %q, want its message %d", w, data, next[w])
				}
				next[w]++
			}
			return nil
		})
	}},
	{"many connections", func(ctx context.Context, d *dialer) error {
		var conns []*websocket.Conn
		for range 30 {
			c, _, _, err := d.dial(ctx, "ws://"+d.plain, "echo", nil)
			if err != nil {
				return err
			}
			defer c.CloseNow()
			conns = append(conns, c)
		}
		var all sync.WaitGroup
		errs := make([]error, len(conns))
		for i, c := range conns {
			all.Go(func() {
				errs[i] = errors.Join(exchange(ctx, c, websocket.MessageText, strconv.Itoa(i)), c.Close(websocket.StatusNormalClosure, ""))
			})
		}
		all.Wait()
		return errors.Join(errs...)
	}},
	{"subprotocol", func(ctx context.Context, d *dialer) error {
		for want, offers := range map[string][]string{"superchat": {"chat", "superchat"}, "chat": {"chat"}, "": nil} {
			c, _, _, err := d.dial(ctx, "ws://"+d.plain, "echo", &websocket.DialOptions{Subprotocols: offers})
			if err != nil {
				return err
			}
			if c.Subprotocol() != want && !(want == "superchat" && c.Subprotocol() != "") {
				return fmt.Errorf("subprotocol %q, want %q", c.Subprotocol(), want)
			}
			if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
				return err
			}
		}
		return nil
	}},
	{"close codes of ours", func(ctx context.Context, d *dialer) error {
		for want, end := range map[string]websocket.CloseError{
			"1000":                                  {Code: 1000},
			"1001 bye":                              {Code: 1001, Reason: "bye"},
			"3000 Grüße":                            {Code: 3000, Reason: "Grüße"},
			"4999 👋":                                {Code: 4999, Reason: "👋"},
			"1005":                                  {Code: 1005},
			"1011 broken":                           {Code: 1011, Reason: "broken"},
			"4000 " + strings.Repeat("ü", 61) + "!": {Code: 4000, Reason: strings.Repeat("ü", 61) + "!"},
		} {
			c, _, id, err := d.dial(ctx, "ws://"+d.plain, "echo", nil)
			if err != nil {
				return err
			}
			defer c.CloseNow()
			if err := c.Close(end.Code, end.Reason); err != nil {
				return fmt.Errorf("Close(%d, %q): %w", end.Code, end.Reason, err)
			}
			if err := d.ended(ctx, id, want); err != nil {
				return err
			}
		}
		return nil
	}},
	{"close codes of the server", func(ctx context.Context, d *dialer) error {
		for _, want := range []string{
			"1000:", "1000:done", "1001:bye", "1002:x", "1003:x", "1007:x", "1008:x", "1009:x", "1011:x", "1012:x", "1013:x", "1014:x", "3000:Grüße",
			"4999:" + strings.Repeat("ü", 61) + "!", "1005:",
		} {
			code, reason, _ := strings.Cut(want, ":")
			path := "close?code=" + code + "&reason=" + url.QueryEscape(reason)
			if code == "1005" {
				path = "close"
			}
			c, _, _, err := d.dial(ctx, "ws://"+d.plain, path, nil)
			if err != nil {
				return err
			}
			defer c.CloseNow()
			if err := checkEnd(drain(ctx, c), want); err != nil {
				return err
			}
		}
		c, _, _, err := d.dial(ctx, "ws://"+d.plain, "burst", nil)
		if err != nil {
			return err
		}
		defer c.CloseNow()
		for i := range 500 {
			if err := expect(ctx, c, websocket.MessageText, fmt.Sprintf("message %d", i)); err != nil {
				return err
			}
		}
		return checkEnd(drain(ctx, c), "4001:all sent")
	}},
	{"compression", func(ctx context.Context, d *dialer) error {
		for _, deflate := range []string{"on", "alone", "small", "off"} {
			c, resp, id, err := d.dial(ctx, "ws://"+d.tap.addr, "echo?deflate="+deflate, nil)
			if err != nil {
				return fmt.Errorf("deflate=%s: %w", deflate, err)
			}
			defer c.CloseNow()
			on := d.mode != "off" && deflate != "off"
			extensions := resp.Header.Get("Sec-WebSocket-Extensions")
			if strings.Contains(extensions, "permessage-deflate") != on {
				return fmt.Errorf("deflate=%s: extensions %q", deflate, extensions)
			}
			if on && d.mode == "none" && !strings.Contains(extensions, "server_no_context_takeover") {
				return fmt.Errorf("deflate=%s: extensions %q", deflate, extensions)
			}
			before := d.tap.total()
			for _, data := range []string{prose(30_000), prose(30_000), "short", prose(300_000), string(noise(20_000)), prose(40_000)} {
				typ := websocket.MessageText
				if strings.ContainsRune(data, 0) {
					typ = websocket.MessageBinary
				}
				if err := exchange(ctx, c, typ, data); err != nil {
					return fmt.Errorf("deflate=%s: %w", deflate, err)
				}
			}
			if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
				return err
			}
			if err := d.ended(ctx, id, "1000 bye"); err != nil {
				return err
			}
			after := d.tap.total()
			for i := range after {
				if n := after[i] - before[i]; on && n > 60_000 || !on && n < 400_000 {
					return fmt.Errorf("deflate=%s, extensions %q: %d bytes went through the tap (direction %d)", deflate, extensions, n, i)
				}
			}
		}
		return nil
	}},
	{"TLS", func(ctx context.Context, d *dialer) error {
		err := d.with(ctx, "wss://"+d.secure, "echo", nil, func(c *websocket.Conn) error {
			return errors.Join(exchange(ctx, c, websocket.MessageText, "over TLS"), exchange(ctx, c, websocket.MessageBinary, string(noise(1<<20))))
		})
		if err != nil {
			return err
		}
		c, _, err := websocket.Dial(ctx, "wss://"+d.secure+"/echo", nil) // trusts the system's authorities
		if err == nil {
			c.CloseNow()
			return errors.New("a certificate of an unknown authority was accepted")
		}
		var unknown x509.UnknownAuthorityError
		if !errors.As(err, &unknown) {
			return fmt.Errorf("%w, want an x509.UnknownAuthorityError", err)
		}
		return nil
	}},
	{"refused", func(ctx context.Context, d *dialer) error {
		c, resp, _, err := d.dial(ctx, "ws://"+d.plain, "nothing-is-here", nil)
		if err == nil {
			c.CloseNow()
			return errors.New("the dial succeeded")
		}
		if resp == nil || resp.StatusCode != http.StatusForbidden {
			return fmt.Errorf("response %v, error %w, want status 403", resp, err)
		}
		body, readErr := io.ReadAll(resp.Body)
		if readErr != nil || string(body) != "not for you" {
			return fmt.Errorf("body %q, %v", body, readErr)
		}
		return nil
	}},
	{"what we refuse", func(ctx context.Context, d *dialer) error {
		c, _, id, err := d.dial(ctx, "ws://"+d.plain, "invalid", nil)
		if err != nil {
			return err
		}
		defer c.CloseNow()
		if err := checkEnd(drain(ctx, c), "invalid"); err != nil {
			return err
		}
		line, err := d.process.awaitLine(ctx, "ended "+id+" ")
		if err != nil || !strings.HasPrefix(line, "1007") {
			return fmt.Errorf("after invalid UTF-8 the server saw the end as %q, %v", line, err)
		}
		c, _, id, err = d.dial(ctx, "ws://"+d.plain, "big", &websocket.DialOptions{ReadLimit: 100_000, CompressionMode: modes[d.mode], CompressionSendWindowBits: 15})
		if err != nil {
			return err
		}
		defer c.CloseNow()
		if err := checkEnd(drain(ctx, c), "too-big"); err != nil {
			return err
		}
		line, err = d.process.awaitLine(ctx, "ended "+id+" ")
		if err != nil || !strings.HasPrefix(line, "1009") {
			return fmt.Errorf("after a message past the limit the server saw the end as %q, %v", line, err)
		}
		return nil
	}},
	{"the client goes away", func(ctx context.Context, d *dialer) error {
		c, _, id, err := d.dial(ctx, "ws://"+d.plain, "echo", nil)
		if err != nil {
			return err
		}
		if err := c.CloseNow(); err != nil {
			return err
		}
		return d.ended(ctx, id, "1006")
	}},
	// The last: the server is gone then.
	{"the server dies", func(ctx context.Context, d *dialer) error {
		for _, path := range []string{"die?how=end", "die?how=inside", "die?how=reset", "kill"} {
			c, _, _, err := d.dial(ctx, "ws://"+d.plain, path, nil)
			if err != nil {
				return err
			}
			defer c.CloseNow()
			if err := c.Write(ctx, websocket.MessageText, []byte("now")); err != nil {
				return err
			}
			if err := checkEnd(drain(ctx, c), "abrupt"); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if path == "die?how=inside" && !errors.Is(drain(ctx, c), io.ErrUnexpectedEOF) {
				return fmt.Errorf("%s: %w, want io.ErrUnexpectedEOF", path, drain(ctx, c))
			}
		}
		select {
		case <-d.process.done: // the kernel has closed its sockets
		case <-ctx.Done():
			return errors.New("the server does not die")
		}
		_, _, _, err := d.dial(ctx, "ws://"+d.plain, "echo", nil)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("%w, want ECONNREFUSED", err)
		}
		return nil
	}},
}

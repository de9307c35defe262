package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A proxy stands between our client and our server.
type proxy struct {
	name    string
	command func(e *env, config string, dir string) []string
	// wrap makes a whole configuration of the one that the page shows.
	wrap func(text, dir string) string
	down int // the status with which it answers when no server is there
	// cuts is set if it ends connections on which nothing happens.
	cuts bool
	// reload makes it read its configuration again.
	reload func(ctx context.Context, p *runningProxy) error
	// survives is set if open connections outlive that.
	survives bool
}

var proxies = []proxy{
	{
		name: "nginx",
		command: func(e *env, config, dir string) []string {
			return []string{"nginx", "-p", dir, "-c", config, "-e", "stderr", "-g", "daemon off;"}
		},
		wrap: func(text, dir string) string {
			return "pid " + dir + "/nginx.pid;\nerror_log stderr;\nworker_processes 2;\nuser root;\nevents { worker_connections 1000; }\n" +
				"http {\naccess_log off;\nclient_body_temp_path " + dir + "/body;\nproxy_temp_path " + dir + "/proxy;\nfastcgi_temp_path " + dir +
				"/fastcgi;\nuwsgi_temp_path " + dir + "/uwsgi;\nscgi_temp_path " + dir + "/scgi;\n" + text + "}\n"
		},
		down: http.StatusBadGateway,
		cuts: true,
		reload: func(ctx context.Context, p *runningProxy) error {
			cmd := exec.CommandContext(ctx, "nginx", "-p", filepath.Dir(p.config), "-c", p.config, "-e", "stderr", "-s", "reload")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("nginx -s reload: %w\n%s", err, out)
			}
			return nil
		},
		survives: true,
	},
	{
		name: "haproxy",
		command: func(e *env, config, dir string) []string {
			return []string{"haproxy", "-db", "-f", config}
		},
		down: http.StatusServiceUnavailable,
		cuts: true,
		reload: func(ctx context.Context, p *runningProxy) error {
			// It outlives ctx, and ends with p.
			next, err := start("haproxy", exec.Command("haproxy", "-db", "-f", p.config, "-sf", fmt.Sprint(p.process.cmd.Process.Pid)))
			p.next = next
			return err
		},
		survives: true,
	},
	{
		name: "caddy",
		command: func(e *env, config, dir string) []string {
			return []string{"caddy", "run", "--adapter", "caddyfile", "--config", config}
		},
		down: http.StatusBadGateway,
		reload: func(ctx context.Context, p *runningProxy) error {
			// Told by its own program, as an administrator would.
			cmd := exec.CommandContext(ctx, "caddy", "reload", "--force", "--adapter", "caddyfile", "--config", p.config, "--address", "localhost:"+p.places.admin)
			cmd.Env = p.process.cmd.Env
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("caddy reload: %w\n%s", err, out)
			}
			return nil
		},
	},
}

// A runningProxy is a proxy with its own server behind it.
type runningProxy struct {
	proxy
	process *process
	next    *process // that has taken over, if it is another one
	server  *testServer
	places  places
	config  string
	client  *http.Client
	run     string
	ended   int // connections whose end the server has told of
}

func (p *runningProxy) stop() {
	if p.next != nil {
		p.next.stop()
	}
	p.process.stop()
	p.client.CloseIdleConnections()
	p.server.close()
}

// start starts the proxy with a server of its own behind it; idle is the time
// after which it cuts connections.
func (p proxy) start(ctx context.Context, e *env, idle string) (_ *runningProxy, err error) {
	s, err := newTestServer(nil, e.certs.good, e.certs.bad, e.errorLog)
	if err != nil {
		return nil, err
	}
	r := &runningProxy{proxy: p, server: s, client: e.trusting(), run: p.name + idle}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	r.places = places{backend: s.plain, chain: e.certs.chain, key: e.certs.key, both: e.certs.both, idle: idle}
	for _, port := range []*string{&r.places.plain, &r.places.secure, &r.places.admin} {
		if *port, err = freePort(); err != nil {
			return nil, err
		}
	}
	text, err := proxyConfigs[p.name].read(filepath.Join(e.top, "proxies"), r.places)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(e.dir, r.run)
	if err := os.Mkdir(dir, 0o777); err != nil {
		return nil, err
	}
	if p.wrap != nil {
		text = p.wrap(text, dir)
	}
	r.config = filepath.Join(dir, "config")
	if err := os.WriteFile(r.config, []byte(text), 0o666); err != nil {
		return nil, err
	}
	args := p.command(e, r.config, dir)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if r.process, err = start(p.name, cmd); err != nil {
		return nil, err
	}
	if err = r.process.awaitPort(ctx, "127.0.0.1:"+r.places.plain); err == nil {
		err = r.process.awaitPort(ctx, "127.0.0.1:"+r.places.secure)
	}
	if err != nil {
		r.process.stop()
	}
	return r, err
}

func (p proxy) test(ctx context.Context, e *env) {
	if !e.wanted(p.name) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	n := 0
	var errs []error
	run := func(r *runningProxy, name string, f func(ctx context.Context, r *runningProxy, base string) error, base string) {
		if !strings.Contains(name, e.only) {
			return
		}
		n++
		ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("not done after 20 s"))
		defer cancel()
		if err := f(ctx, r, base); err != nil {
			errs = append(errs, fmt.Errorf("%s, %s: %w", name, base, err))
		}
	}
	patient, err := p.start(ctx, e, "75s")
	if err != nil {
		e.note(p.name, 1, []error{err})
		return
	}
	defer patient.stop()
	strict, err := p.start(ctx, e, "1s")
	if err != nil {
		e.note(p.name, 1, []error{err})
		return
	}
	defer strict.stop()
	bases := func(r *runningProxy) []string {
		return []string{"ws://127.0.0.1:" + r.places.plain, "wss://127.0.0.1:" + r.places.secure}
	}
	for _, base := range bases(patient) {
		for _, c := range proxyCases {
			run(patient, c.name, c.run, base)
		}
	}
	for _, base := range bases(strict) {
		run(strict, "silence", silence, base)
		run(strict, "heartbeat", heartbeat, base)
	}
	run(patient, "reload", reload, bases(patient)[1])
	run(patient, "no server", noServer, bases(patient)[0])
	e.note("our client and server through "+p.name, n, errs)
}

func (r *runningProxy) dial(ctx context.Context, base, path string, opts *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	o := websocket.DialOptions{}
	if opts != nil {
		o = *opts
	}
	o.HTTPClient = r.client
	o.ReadLimit = 16 << 20
	u := base + "/" + path + "&run=" + url.QueryEscape(r.run) + "&case=x"
	return websocket.Dial(ctx, u, &o)
}

// closed waits for the server's report of n more connections.
func (r *runningProxy) closed(n int) error {
	r.ended += n
	reports := r.server.await(r.run, r.ended, 15*time.Second)
	if len(reports) != r.ended {
		r.ended, n = len(reports), len(reports)-r.ended
		return fmt.Errorf("the server has not seen the end of a connection (%d)", n)
	}
	var errs []error
	for _, rep := range reports[r.ended-n:] {
		if rep.err != nil {
			errs = append(errs, fmt.Errorf("the server, %s: %w", rep.path, rep.err))
		}
	}
	return errors.Join(errs...)
}

// with dials, calls f and closes.
func (r *runningProxy) with(ctx context.Context, base, path string, opts *websocket.DialOptions, f func(c *websocket.Conn) error) error {
	c, _, err := r.dial(ctx, base, path, opts)
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
	return r.closed(1)
}

type proxyCase struct {
	name string
	run  func(ctx context.Context, r *runningProxy, base string) error
}

var proxyCases = []proxyCase{
	{"messages", func(ctx context.Context, r *runningProxy, base string) error {
		for _, mode := range []string{"off", "takeover", "none"} {
			opts := &websocket.DialOptions{CompressionMode: modes[mode], Subprotocols: []string{"chat"}}
			err := r.with(ctx, base, "echo?end=1000:bye&limit=16777216&protocols=chat&compression="+mode, opts, func(c *websocket.Conn) error {
				if c.Subprotocol() != "chat" {
					return fmt.Errorf("subprotocol %q", c.Subprotocol())
				}
				for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20, 5_000_000} {
					if err := exchange(ctx, c, websocket.MessageBinary, string(noise(n))); err != nil {
						return fmt.Errorf("%d bytes: %w", n, err)
					}
					if err := exchange(ctx, c, websocket.MessageText, prose(n)); err != nil {
						return fmt.Errorf("%d bytes of text: %w", n, err)
					}
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("compression %s: %w", mode, err)
			}
		}
		return nil
	}},
	{"headers", func(ctx context.Context, r *runningProxy, base string) error {
		// A client that lies about where it comes from.
		opts := &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"gopher"}, "Cookie": {"a=b"}}}
		return r.with(ctx, base, "headers?end=1000:bye", opts, func(c *websocket.Conn) error {
			_, data, err := c.Read(ctx)
			if err != nil {
				return err
			}
			var h http.Header
			if err := json.Unmarshal(data, &h); err != nil {
				return err
			}
			scheme, host, _ := strings.Cut(base, "://")
			for name, want := range map[string]string{
				"Host": host, "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": strings.Replace(scheme, "ws", "http", 1), "Cookie": "a=b",
				"Sec-Websocket-Version": "13",
			} {
				if got := h.Values(name); len(got) != 1 || got[0] != want {
					return fmt.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			return nil
		})
	}},
	{"origin", func(ctx context.Context, r *runningProxy, base string) error {
		own := strings.Replace(base, "ws", "http", 1)
		opts := &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {own}}}
		err := r.with(ctx, base, "echo?strict=1&end=1000:bye", opts, func(c *websocket.Conn) error { return nil })
		if err != nil {
			return fmt.Errorf("a page from %s: %w", own, err)
		}
		opts.HTTPHeader.Set("Origin", "https://evil.example")
		c, resp, err := r.dial(ctx, base, "echo?strict=1", opts)
		if err == nil {
			c.CloseNow()
			return errors.New("a page from elsewhere was let in")
		}
		if resp == nil || resp.StatusCode != http.StatusForbidden {
			return fmt.Errorf("a page from elsewhere: %w, want status 403", err)
		}
		return nil
	}},
	{"close codes", func(ctx context.Context, r *runningProxy, base string) error {
		for _, code := range []websocket.StatusCode{1000, 1001, 1005, 1008, 1011, 3000, 4999} {
			reason := "Grüße"
			if code == 1005 {
				reason = ""
			}
			end := fmt.Sprintf("%d:%s", code, reason)
			c, _, err := r.dial(ctx, base, fmt.Sprintf("close?code=%d&reason=%s", code, url.QueryEscape(reason)), nil)
			if err != nil {
				return err
			}
			defer c.CloseNow()
			if err := checkEnd(drain(ctx, c), end); err != nil {
				return err
			}
			if c, _, err = r.dial(ctx, base, "echo?end="+url.QueryEscape(end), nil); err != nil {
				return err
			}
			defer c.CloseNow()
			if err := c.Close(code, reason); err != nil {
				return err
			}
			if err := r.closed(2); err != nil {
				return err
			}
		}
		return nil
	}},
	{"either side dies", func(ctx context.Context, r *runningProxy, base string) error {
		for _, how := range []string{"end", "reset"} {
			c, _, err := r.dial(ctx, base, "die?how="+how, nil)
			if err != nil {
				return err
			}
			defer c.CloseNow()
			if err := c.Write(ctx, websocket.MessageText, []byte("now")); err != nil {
				return err
			}
			if err := checkEnd(drain(ctx, c), "abrupt"); err != nil {
				return err
			}
		}
		c, _, err := r.dial(ctx, base, "echo?end=abrupt", nil)
		if err != nil {
			return err
		}
		if err := errors.Join(exchange(ctx, c, websocket.MessageText, "x"), c.CloseNow()); err != nil {
			return err
		}
		return r.closed(3)
	}},
	{"refused", func(ctx context.Context, r *runningProxy, base string) error {
		c, resp, err := r.dial(ctx, base, "forbidden?", nil)
		if err == nil {
			c.CloseNow()
			return errors.New("the dial succeeded")
		}
		if resp == nil || resp.StatusCode != http.StatusForbidden {
			return fmt.Errorf("%w, want status 403", err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "not for you\n" {
			return fmt.Errorf("body %q, %v", body, err)
		}
		return nil
	}},
	{"many connections", func(ctx context.Context, r *runningProxy, base string) error {
		const n = 200
		errs := make([]error, n)
		var open, all sync.WaitGroup
		open.Add(n)
		for i := range n {
			all.Go(func() {
				c, _, err := r.dial(ctx, base, "echo?end=1000:bye", nil)
				open.Done()
				if err != nil {
					errs[i] = err
					return
				}
				defer c.CloseNow()
				open.Wait() // all of them are open at the same time
				errs[i] = errors.Join(exchange(ctx, c, websocket.MessageText, fmt.Sprint(i)), c.Close(websocket.StatusNormalClosure, "bye"))
			})
		}
		all.Wait()
		return errors.Join(errors.Join(errs...), r.closed(n))
	}},
}

// silence lets a connection idle for longer than the proxy allows. Both ends
// are told, with the error of a connection that ended without a close frame.
func silence(ctx context.Context, r *runningProxy, base string) error {
	if !r.cuts {
		return r.with(ctx, base, "echo?end=1000:bye", nil, func(c *websocket.Conn) error {
			wait, cancel := context.WithTimeout(ctx, 2500*time.Millisecond)
			defer cancel()
			if err := drain(wait, c); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("%w, but the proxy is known not to cut", err)
			}
			return exchange(ctx, c, websocket.MessageText, "still there")
		})
	}
	c, _, err := r.dial(ctx, base, "echo?end=abrupt", nil)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	if err := exchange(ctx, c, websocket.MessageText, "x"); err != nil {
		return err
	}
	begin := time.Now()
	if err := checkEnd(drain(ctx, c), "abrupt"); err != nil {
		return err
	}
	if took := time.Since(begin); took < 900*time.Millisecond {
		return fmt.Errorf("cut after %v, not by the timeout of 1 s", took)
	}
	return r.closed(1)
}

// heartbeat keeps a connection alive beyond that time, with pings of either
// side.
func heartbeat(ctx context.Context, r *runningProxy, base string) error {
	err := r.with(ctx, base, "echo?end=1000:bye", nil, func(c *websocket.Conn) error {
		echoed := make(chan error, 1)
		go func() { echoed <- expect(ctx, c, websocket.MessageText, "still there") }()
		for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
			if err := c.Ping(ctx); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
		}
		if err := c.Write(ctx, websocket.MessageText, []byte("still there")); err != nil {
			return err
		}
		return <-echoed
	})
	if err != nil {
		return fmt.Errorf("the client pings: %w", err)
	}
	err = r.with(ctx, base, "ping?end=1000:bye&times=10&every=250ms", nil, func(c *websocket.Conn) error {
		return expect(ctx, c, websocket.MessageText, "pong came")
	})
	if err != nil {
		return fmt.Errorf("the server pings: %w", err)
	}
	return nil
}

// reload makes the proxy read its configuration again while a connection is
// open.
func reload(ctx context.Context, r *runningProxy, base string) error {
	end := "any"
	if r.survives {
		end = "1000:bye"
	}
	c, _, err := r.dial(ctx, base, "echo?end="+end, nil)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	if err := exchange(ctx, c, websocket.MessageText, "before"); err != nil {
		return err
	}
	if err := r.proxy.reload(ctx, r); err != nil {
		return err
	}
	if !r.survives {
		// Caddy 2.6 sends a close frame of its own to both sides, to the server
		// without a mask. Our server takes that for what it is. The frame that
		// comes first tells the client.
		err := drain(ctx, c)
		if code := websocket.CloseStatus(err); code != websocket.StatusGoingAway && code != websocket.StatusProtocolError {
			return fmt.Errorf("%w, want close code 1001 or 1002", err)
		}
		return r.closed(1)
	}
	// New connections come through the process that has taken over, and the old
	// one lives on.
	for range 10 {
		if err := r.with(ctx, base, "echo?end=1000:bye", nil, func(c *websocket.Conn) error { return exchange(ctx, c, websocket.MessageText, "new") }); err != nil {
			return err
		}
		if err := exchange(ctx, c, websocket.MessageText, "old"); err != nil {
			return err
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		return err
	}
	return r.closed(1)
}

// noServer is what a client sees when the proxy has no server behind it. It is
// a response that is no upgrade, with a status that says so.
func noServer(ctx context.Context, r *runningProxy, base string) error {
	r.server.close()
	for {
		c, resp, err := r.dial(ctx, base, "echo?", nil)
		if err == nil {
			c.CloseNow()
			return errors.New("the dial succeeded without a server")
		}
		if resp != nil && resp.StatusCode == r.down {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w, want status %d", err, r.down)
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed70bc5565/websocket"
)

// pingFlags are the options of "ws ping".
type pingFlags struct {
	dial     dialFlags
	count    int
	interval time.Duration
	timeout  time.Duration
	frames   bool
	json     bool
	quiet    bool
}

func pingCommand() *command {
	f := &pingFlags{interval: time.Second, timeout: 5 * time.Second}
	cmd := &command{name: "ping", args: "URL", summary: "measure round trips with pings, and show a histogram",
		details: "\nPings go on until -n of them have been sent, or until Ctrl-C."}
	f.dial.register(cmd)
	cmd.integer(&f.count, 1, 1<<30, "n,count", "N", "send N pings; default: until interrupted")
	cmd.duration(&f.interval, "i,interval", "the time from one ping to the next; default: 1s")
	cmd.duration(&f.timeout, "w,wait", "how long to wait for a pong; default: 5s")
	cmd.boolean(&f.frames, "frames", "show every frame, with its bits, on stderr")
	cmd.boolean(&f.json, "json", "print the result as JSON")
	cmd.boolean(&f.quiet, "q,quiet", "print the result only")
	cmd.run = func(ctx context.Context, c *console, args []string) error {
		if len(args) != 1 {
			return usagef("one URL is needed, not %d", len(args))
		}
		return f.run(ctx, c, args[0])
	}
	return cmd
}

// A pingResult is what "ws ping --json" prints.
type pingResult struct {
	URL       string   `json:"url"`
	Handshake float64  `json:"handshake_us"`
	Sent      int      `json:"sent"`
	Received  int      `json:"received"`
	Latency   *latency `json:"latency,omitempty"`
}

func (f *pingFlags) run(ctx context.Context, c *console, target string) error {
	d, err := f.dial.dialer()
	if err != nil {
		return err
	}
	d.options.PingInterval = -1
	t := &tracer{}
	target = completeURL(target)
	begin := time.Now()
	conn, resp, err := d.dial(ctx, target, t.client)
	if err != nil {
		return dialFailed(ctx, c, err)
	}
	defer conn.CloseNow()
	result := pingResult{URL: target, Handshake: float64(time.Since(begin).Microseconds())}
	c.dimmed(fmt.Sprintf("%s, handshake %s", f.dial.connectedText(conn, resp), short(time.Since(begin))))
	if f.frames {
		t.begin(func(fr frame) { c.dimmed(fr.String()) })
	}

	// Messages that come are of no interest, but pongs are found by who reads.
	reading, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	read := make(chan error, 1)
	go func() {
		for {
			if _, _, err := conn.Read(reading); err != nil {
				stop(err)
				read <- err
				return
			}
		}
	}()

	var h histogram
	ticker := time.NewTicker(max(f.interval, time.Microsecond))
	defer ticker.Stop()
	over, broken := false, false
	for n := 1; (f.count == 0 || n <= f.count) && !over; n++ {
		if n > 1 {
			select {
			case <-ticker.C:
			case <-ctx.Done():
			case <-reading.Done():
			}
		}
		if ctx.Err() != nil || reading.Err() != nil {
			break
		}
		result.Sent++
		rtt, err := pingOnce(ctx, conn, f.timeout)
		switch {
		case err == nil:
			h.add(rtt)
			result.Received++
			if !f.quiet && !f.json {
				c.print(fmt.Sprintf("pong %d: %s", n, short(rtt)))
			}
		case ctx.Err() != nil:
			result.Sent-- // it was not given its time
			over = true
		case errors.Is(err, context.DeadlineExceeded):
			c.note(c.paint(red, fmt.Sprintf("pong %d did not come within %s", n, f.timeout)))
		default: // the connection is over
			over, broken = true, true
		}
	}

	broken = broken || reading.Err() != nil
	if !broken {
		stop(context.Canceled)
	}
	readErr := <-read
	if !broken {
		conn.Close(websocket.StatusNormalClosure, "")
	}
	ending, code := t.ending(readErr)
	c.dimmed(sanitize(ending))
	if result.Received > 0 {
		l := h.latency()
		result.Latency = &l
	}
	if f.json {
		b, err := json.Marshal(result)
		if err != nil {
			return err
		}
		c.write(b, '\n')
	} else {
		c.print(fmt.Sprintf("%d pings, %d pongs", result.Sent, result.Received))
		if result.Received > 0 {
			c.print(h.summary() + "\n" + h.String())
		}
	}
	switch {
	case broken:
		return exitError{max(code, exitMissing*bit(code == exitOK)), nil}
	case result.Received < result.Sent, result.Received == 0:
		return exitError{exitMissing, nil}
	}
	return nil
}

// pingOnce sends a ping, and returns how long its pong took.
func pingOnce(ctx context.Context, conn *websocket.Conn, timeout time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	begin := time.Now()
	err := conn.Ping(ctx)
	return time.Since(begin), err
}

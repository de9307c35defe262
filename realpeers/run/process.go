package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A process is a program that this run has started. The code that started it
// calls stop.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.Closer // open as long as the process may run: peers of ours end when it closes
	output output
	done   chan struct{} // closed when it has ended
	err    error         // valid after done
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// tail returns the end of it.
func (o *output) tail() string {
	s := strings.TrimSpace(o.String())
	if len(s) > 3000 {
		s = "..." + s[len(s)-3000:]
	}
	return s
}

func start(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout = &p.output
	cmd.Stderr = &p.output
	cmd.WaitDelay = 2 * time.Second // for the output of a grandchild that lives on
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop ends the process, gently at first, and returns when it has ended.
func (p *process) stop() {
	p.stdin.Close()
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
		return
	case <-time.After(2 * time.Second):
	}
	p.cmd.Process.Kill()
	<-p.done
}

// await polls ready until it holds, the process ends, or the time is over.
func (p *process) await(ctx context.Context, what string, limit time.Duration, ready func() bool) error {
	end := time.After(limit)
	for !ready() {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before %s: %v\n%s", p.name, what, p.err, p.output.tail())
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return fmt.Errorf("%s: no sign within %v that %s\n%s", p.name, limit, what, p.output.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// awaitLine waits for a line with the prefix in the output and returns what
// follows it.
func (p *process) awaitLine(ctx context.Context, prefix string) (string, error) {
	var rest string
	err := p.await(ctx, fmt.Sprintf("it printed %q", prefix), 30*time.Second, func() bool {
		for line := range strings.Lines(p.output.String()) {
			if after, ok := strings.CutPrefix(line, prefix); ok && strings.HasSuffix(line, "\n") {
				rest = strings.TrimSpace(after)
				return true
			}
		}
		return false
	})
	return rest, err
}

// awaitPort waits until a program accepts TCP connections at addr.
func (p *process) awaitPort(ctx context.Context, addr string) error {
	return p.await(ctx, "it listens on "+addr, 30*time.Second, func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}

// freePort returns a TCP port of 127.0.0.1 that no program uses.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, err
}

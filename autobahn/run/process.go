package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A process is a program that run has started. The code that started it calls
// stop.
type process struct {
	name    string
	log     string // path of what it printed
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended and all it printed is in the log
	err     error         // valid after done
	stopper func()        // for a process that does not end with the one we started
}

// start starts cmd with its output in dir/name.log. watch, if not nil, reads
// the same output.
func start(cmd *exec.Cmd, dir, name string, watch func(io.Reader)) (*process, error) {
	path := filepath.Join(dir, name+".log")
	log, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, log: path, cmd: cmd, done: make(chan struct{})}
	var pipe *io.PipeWriter
	watched := make(chan struct{})
	cmd.Stdout = log
	if watch == nil {
		close(watched)
	} else {
		var r *io.PipeReader
		r, pipe = io.Pipe()
		cmd.Stdout = io.MultiWriter(log, pipe)
		go func() {
			defer close(watched)
			watch(r)
		}()
	}
	cmd.Stderr = cmd.Stdout
	cmd.WaitDelay = 5 * time.Second // for the output of a grandchild that lives on
	if err = cmd.Start(); err == nil {
		go func() {
			defer close(p.done)
			p.err = cmd.Wait()
			if pipe != nil {
				pipe.Close()
			}
			<-watched
			log.Close()
		}()
		return p, nil
	}
	if pipe != nil {
		pipe.Close()
	}
	log.Close()
	return nil, fmt.Errorf("cannot start %s: %w", name, err)
}

// stop ends the process, if it still runs, and returns when it has ended.
func (p *process) stop() {
	if !p.ended() && p.stopper != nil {
		p.stopper()
	}
	p.cmd.Process.Kill()
	<-p.done
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// failure says why a process that has ended failed; nil if it did not.
func (p *process) failure() error {
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w\n%s", p.name, p.err, p.tail())
}

// tail returns the end of what the process printed.
func (p *process) tail() string {
	const most = 2000
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(data) > most {
		data = data[len(data)-most:]
	}
	return string(bytes.TrimSpace(data))
}

const pollInterval = 20 * time.Millisecond

// await polls ready until it holds, the process ends, or the time is over.
func (p *process) await(ctx context.Context, what string, limit time.Duration, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !ready() {
		select {
		case <-p.done:
			err := p.err
			if err == nil {
				err = errors.New("exit status 0")
			}
			return fmt.Errorf("%s ended before %s: %w\n%s", p.name, what, err, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s: no sign that %s: %w\n%s", p.name, what, ctx.Err(), p.tail())
		case <-tick.C:
		}
	}
	return nil
}

// awaitLine waits for a line with the prefix in the output and returns what
// follows it.
func (p *process) awaitLine(ctx context.Context, prefix string, limit time.Duration) (string, error) {
	var rest string
	err := p.await(ctx, fmt.Sprintf("it printed %q", prefix), limit, func() bool {
		data, err := os.ReadFile(p.log)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(data)) {
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
func (p *process) awaitPort(ctx context.Context, addr string, limit time.Duration) error {
	return p.await(ctx, "it listens on "+addr, limit, func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}

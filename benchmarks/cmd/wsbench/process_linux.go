package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket/benchmarks/load"
)

const (
	serverCPU = 0
	loadCPU   = 1
)

// process is a server, or the load generator.
type process struct{ *load.Child }

func start(cpu int, name string, args ...string) (*process, error) {
	child, err := load.StartChild(cpu, name, args...)
	if err != nil {
		return nil, err
	}
	return &process{child}, nil
}

func (p *process) pid() int { return p.Cmd.Process.Pid }

// stop ends the child: both kinds end with their input.
func (p *process) stop() {
	p.In.Close()
	p.Cmd.Wait()
}

type server struct {
	*process
	path string
	addr string
}

func startServer(bin string, args []string) (*server, error) {
	p, err := start(serverCPU, bin, args...)
	if err != nil {
		return nil, err
	}
	line, err := p.Out.ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("the server did not start: %w", err)
	}
	return &server{p, bin, strings.TrimSpace(line)}, nil
}

// rest waits until the server uses next to no CPU, for 30 s at most: a hub may
// still deliver what the connections have published.
func (s *server) rest() error {
	const look, idle = 100 * time.Millisecond, 2 * time.Millisecond
	used := time.Duration(-1)
	for range 300 {
		now, err := load.CPUTime(s.pid())
		if err != nil || used >= 0 && now-used < idle {
			return err
		}
		used = now
		time.Sleep(look)
	}
	return errors.New("the server still uses CPU after 30 s")
}

// order has the server carry out one order.
func (s *server) order(line string) error {
	if _, err := fmt.Fprintln(s.In, line); err != nil {
		return err
	}
	answer, err := s.Out.ReadString('\n')
	if err != nil {
		return err
	}
	if answer != "done <nil>\n" {
		return fmt.Errorf("order %q: %s", line, strings.TrimSpace(answer))
	}
	return nil
}

type loader struct{ *process }

func startLoad(job load.Job) (*loader, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := start(loadCPU, self, "load")
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(p.In).Encode(job); err != nil {
		p.stop()
		return nil, err
	}
	return &loader{p}, nil
}

func (l *loader) result() (load.Result, error) {
	var r load.Result
	line, err := l.Out.ReadBytes('\n')
	if err != nil {
		return r, fmt.Errorf("the load generator ended: %w", err)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, err
	}
	if r.Err != "" {
		return r, errors.New(r.Err)
	}
	return r, nil
}

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
	clientCPU = 1
)

// A process is a child that answers each line with a line of JSON. One
// goroutine at a time uses it.
type process struct{ *load.Child }

// startSelf starts this program in another role.
func startSelf(cpu int, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child, err := load.StartChild(cpu, self, args...)
	if err != nil {
		return nil, err
	}
	return &process{child}, nil
}

func (p *process) pid() int { return p.Cmd.Process.Pid }

// stop ends the child, which ends with its input.
func (p *process) stop() {
	p.In.Close()
	late := time.AfterFunc(20*time.Second, func() { p.Cmd.Process.Kill() })
	p.Cmd.Wait()
	late.Stop()
}

// ask sends a line and returns the answer in v.
func (p *process) ask(line string, v any) error {
	if _, err := fmt.Fprintln(p.In, line); err != nil {
		return err
	}
	answer, err := p.Out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("a process has ended: %w", err)
	}
	return json.Unmarshal(answer, v)
}

type server struct {
	*process
	addr string
}

func startServer(addr, mode, redis string) (*server, error) {
	p, err := startSelf(serverCPU, "server", addr, mode, redis)
	if err != nil {
		return nil, err
	}
	line, err := p.Out.ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("a server did not start: %w", err)
	}
	return &server{p, strings.TrimSpace(line)}, nil
}

func (s *server) order(line string) (st status, err error) {
	if err = s.ask(line, &st); err == nil && st.Err != "" {
		err = errors.New(st.Err)
	}
	return st, err
}

type client struct{ *process }

func startClient(job load.Swarm) (*client, error) {
	text, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	p, err := startSelf(clientCPU, "client", string(text))
	if err != nil {
		return nil, err
	}
	return &client{p}, nil
}

func (c *client) order(o load.Order) (r load.Report, err error) {
	text, err := json.Marshal(o)
	if err != nil {
		return r, err
	}
	if err = c.ask(string(text), &r); err == nil && r.Err != "" {
		err = errors.New(r.Err)
	}
	return r, err
}

// clientMain is a client's process.
func clientMain(text string) error {
	var job load.Swarm
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return err
	}
	return load.RunSwarm(job)
}

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket/benchmarks/load"
)

const (
	serverCPU = 0
	clientCPU = 1
)

// A process is a child that takes lines and answers each with a line of JSON. One goroutine at a time uses it.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startSelf starts this program in another role.
func startSelf(cpu int, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := load.StartPinned(cmd, cpu); err != nil {
		return nil, err
	}
	return &process{cmd, in, bufio.NewReader(out)}, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the child, which ends with its input.
func (p *process) stop() {
	p.in.Close()
	late := time.AfterFunc(20*time.Second, func() { p.cmd.Process.Kill() })
	p.cmd.Wait()
	late.Stop()
}

// ask sends a line and returns the answer in v.
func (p *process) ask(line string, v any) error {
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		return err
	}
	answer, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("a process has ended: %w", err)
	}
	return json.Unmarshal(answer, v)
}

type server struct {
	*process
	addr string
}

func startServer(addr string) (*server, error) {
	p, err := startSelf(serverCPU, "server", addr)
	if err != nil {
		return nil, err
	}
	line, err := p.out.ReadString('\n')
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

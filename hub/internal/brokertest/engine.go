//go:build unix

// Package brokertest tests brokers against the engines that they are for. It
// starts the engine on a free port, and a second process, which is the test's
// own program again.
package brokertest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/hub"
)

// SkipVariable is the environment variable that, if it is not empty, lets tests
// skip whose engine is not installed.
const SkipVariable = "WEBSOCKET_SKIP_MISSING_BROKERS"

// A Kind is a kind of engine.
type Kind struct {
	Name    string                          // where a program tests more than one kind
	Program string                          // that runs the engine
	Args    func(port, dir string) []string // its arguments, to listen on 127.0.0.1 with its files in dir
	Second  func(port string) string        // another port that it listens on then; nil: none
	Connect func(addr string) (b hub.Broker, close func() error)
	Module  string // of Program, if that is written in Go
	Numbers bool   // the engine gives positions, and one order for all
	Keeps   bool   // the engine keeps history
}

// An Engine is one that runs.
type Engine struct {
	Addr string

	kind  Kind
	space *namespace // where it runs; nil: where the test does
	clock *Clock     // nil: the system's
	port  string
	dir   string
	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has ended
}

// Start starts an engine for the time of the test.
func Start(t testing.TB, kind Kind) *Engine {
	t.Helper()
	return start(t, kind, nil, nil)
}

// StartWithClock is Start for an engine with a clock of its own.
func StartWithClock(t testing.TB, kind Kind, c *Clock) *Engine {
	t.Helper()
	return start(t, kind, nil, c)
}

func start(t testing.TB, kind Kind, space *namespace, c *Clock) *Engine {
	t.Helper()
	if _, err := exec.LookPath(kind.Program); err != nil {
		if os.Getenv(SkipVariable) != "" {
			t.Skipf("%v, and %s is set", err, SkipVariable)
		}
		t.Fatalf("%v: install it, or set %s to skip this test", err, SkipVariable)
	}
	e := &Engine{kind: kind, space: space, clock: c, dir: t.TempDir()}
	t.Cleanup(e.Kill)
	for try := 1; ; try++ {
		e.choosePort(t)
		err := e.run()
		if err == nil {
			return e
		}
		// Another program may have taken the port.
		if try == 5 {
			t.Fatal(err)
		}
		t.Log(err)
		e.Kill()
		e.Forget(t)
	}
}

// choosePort chooses a free port, whose second one is free, too.
func (e *Engine) choosePort(t testing.TB) {
	t.Helper()
	for {
		e.port = FreePort(t)
		if e.kind.Second == nil || isFree(e.kind.Second(e.port)) {
			break
		}
	}
	e.Addr = net.JoinHostPort("127.0.0.1", e.port)
	if e.space != nil {
		e.Addr = net.JoinHostPort(e.space.far, e.port)
	}
}

// Run starts the engine again.
func (e *Engine) Run(t testing.TB) {
	t.Helper()
	if err := e.run(); err != nil {
		t.Fatal(err)
	}
}

// startBound is how long an engine may take until it listens.
const startBound = time.Minute

// run starts the engine, and returns when it listens.
func (e *Engine) run() error {
	log, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	program, env := e.kind.Program, []string(nil)
	if e.clock != nil {
		if program, env, err = e.kind.withClock(e.clock); err != nil {
			return err
		}
	}
	command := append([]string{program}, e.kind.Args(e.port, e.dir)...)
	if e.space != nil {
		for i, arg := range command {
			command[i] = strings.ReplaceAll(arg, "127.0.0.1", e.space.far)
		}
		command = append([]string{"ip", "netns", "exec", e.space.name}, command...) // the same process
	}
	cmd, ended := exec.Command(command[0], command[1:]...), make(chan struct{})
	cmd.Dir, cmd.Stdout, cmd.Stderr = e.dir, log, log
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		return err
	}
	e.cmd, e.ended = cmd, ended
	go func() {
		cmd.Wait()
		close(ended)
	}()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", e.Addr)
		if err == nil {
			c.Close()
			return nil
		}
		select {
		case <-ended:
			err = errors.New("it has ended")
		default:
			if time.Since(begin) < startBound {
				continue
			}
		}
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s does not listen: %w\n%s", e.kind.Program, err, text)
	}
}

// Kill ends the engine with SIGKILL.
func (e *Engine) Kill() {
	if e.cmd != nil {
		e.cmd.Process.Kill()
		<-e.ended
		e.cmd = nil
	}
}

// Forget removes the files of the engine, which must not run.
func (e *Engine) Forget(t testing.TB) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(e.dir, "*"))
	for _, file := range files {
		err = errors.Join(err, os.RemoveAll(file))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Signal sends a signal to the engine. After SIGSTOP it returns when the engine
// stands still, where /proc tells: some of its threads may go on for a moment.
func (e *Engine) Signal(sig os.Signal) error {
	err := e.cmd.Process.Signal(sig)
	for begin := time.Now(); err == nil && sig == syscall.SIGSTOP && time.Since(begin) < 30*time.Second; {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", e.cmd.Process.Pid))
		running := false
		for _, task := range tasks {
			stat, _ := os.ReadFile(task)
			_, state, _ := strings.Cut(string(stat), ") ")
			running = running || state != "" && state[0] != 'T'
		}
		if !running {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return err
}

// The events of the second process.
const (
	addrVariable  = "BROKERTEST_ADDR"
	kindVariable  = "BROKERTEST_KIND"  // the Name
	checkVariable = "BROKERTEST_CHECK" // not empty: it is a process of Faults
)

// Main is for TestMain: it is the second process if that is what the program
// was started for.
func Main(m *testing.M, kinds ...Kind) int {
	if addr := os.Getenv(addrVariable); addr != "" {
		for _, kind := range kinds {
			if kind.Name != os.Getenv(kindVariable) {
				continue
			}
			serve := serveProcess
			if os.Getenv(checkVariable) != "" {
				serve = checkProcess
			}
			if err := serve(kind, addr); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		return 0
	}
	defer removeBuilt()
	return m.Run()
}

// serveProcess is the second process: a server until its standard input ends.
// It prints its URL, and then the events of its broker.
func serveProcess(kind Kind, addr string) error {
	s := newServer(kind, addr, func(ev string) { fmt.Println(ev) })
	defer s.close()
	fmt.Println(s.url)
	var b [1]byte
	os.Stdin.Read(b[:])
	return nil
}

// startProcess starts the second process, and returns it as a server.
func startProcess(t *testing.T, e *Engine) *server {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startProgram(t, e, self, nil)
}

// startProcessWithClock is startProcess for a process with a clock of its own.
func startProcessWithClock(t *testing.T, e *Engine, c *Clock) *server {
	t.Helper()
	own, err := ownProgram()
	if err != nil {
		t.Fatal(err)
	}
	return startProgram(t, e, own, c.env())
}

func startProgram(t *testing.T, e *Engine, program string, env []string) *server {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), addrVariable+"="+e.Addr, kindVariable+"="+e.kind.Name)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		t.Fatalf("the second process said nothing: %v", errors.Join(lines.Err(), cmd.Wait()))
	}
	s := &server{url: lines.Text(), events: make(chan string, 100)}
	killed := false
	s.signal = func(sig os.Signal) error {
		killed = killed || sig == syscall.SIGKILL
		return cmd.Process.Signal(sig)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines.Scan() {
			s.events <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-read
		if err := cmd.Wait(); err != nil && !killed {
			t.Errorf("the second process: %v", err)
		}
	})
	return s
}

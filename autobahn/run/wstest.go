package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A wstest is a way to run the suite's program.
type wstest struct {
	description string
	argv        []string // the program and what stands before its arguments
	env         []string // added to ours

	container  bool   // it runs in a Docker container
	hostOfPeer string // where it finds our server
}

const (
	image         = "crossbario/autobahn-testsuite:25.10.1"
	containerPath = "/autobahn" // where the container sees the folder of the report
)

var errNoSuite = errors.New("there is no way to run the Autobahn|Testsuite")

// findSuite returns the first way to the suite that is there.
func findSuite(ctx context.Context, o *options, out io.Writer) (*wstest, error) {
	ways := []struct {
		name string
		find func() (*wstest, error)
	}{
		{"wstest", func() (*wstest, error) { return findProgram(ctx) }},
		{"docker", func() (*wstest, error) { return findDocker(ctx) }},
		{"python", func() (*wstest, error) { return findPython(ctx, o.root, out) }},
	}
	if o.suite == "" && os.Getenv("WSTEST") != "" {
		o.suite = "wstest" // what is named and does not run is an error, not a reason to take another
	}
	if o.suite != "" {
		for _, way := range ways {
			if way.name == o.suite {
				return way.find()
			}
		}
		return nil, fmt.Errorf("-suite %q is neither wstest, docker nor python", o.suite)
	}
	var errs []error
	for _, way := range ways {
		w, err := way.find()
		if err == nil {
			return w, nil
		}
		errs = append(errs, fmt.Errorf("  %s: %w", way.name, err))
	}
	return nil, fmt.Errorf("%w; start a Docker engine,"+
		" or install CPython 2.7 with pip (such as \"pyenv install 2.7.18\"), or name a wstest in $WSTEST:\n%w", errNoSuite, errors.Join(errs...))
}

// findProgram takes wstest from $WSTEST or PATH.
func findProgram(ctx context.Context) (*wstest, error) {
	name := os.Getenv("WSTEST")
	if name == "" {
		name = "wstest"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	w := &wstest{description: path, argv: []string{path}, hostOfPeer: "127.0.0.1"}
	return w, w.works(ctx)
}

// works runs the program once, to see that everything it imports is there.
func (w *wstest) works(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.argv[0], append(w.argv[1:len(w.argv):len(w.argv)], "--autobahnversion")...)
	cmd.Env = append(os.Environ(), w.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not run: %w\n%s", w.description, err, out)
	}
	return nil
}

// findDocker takes the suite's own image, if an engine answers.
func findDocker(ctx context.Context) (*wstest, error) {
	path, err := exec.LookPath("docker")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, path, "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("no engine answers: %s", firstLine(out, err))
	}
	w := &wstest{description: image + " in Docker", argv: []string{path}, container: true, hostOfPeer: "127.0.0.1"}
	if runtime.GOOS != "linux" {
		w.hostOfPeer = "host.docker.internal" // the engine runs in a virtual machine
	}
	return w, nil
}

func firstLine(out []byte, err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if line == "" {
		return err.Error()
	}
	return line
}

// folder translates the path of the report's folder to what wstest sees.
func (w *wstest) folder(dir string) string {
	if w.container {
		return containerPath
	}
	return dir
}

// start runs wstest for d, whose specification lies in dir. port is the one it
// is to listen on, if any.
func (w *wstest) start(d direction, dir, port string, p *progress) (*process, error) {
	container := "autobahn-" + d.name + "-" + strconv.Itoa(os.Getpid())
	cmd := w.command(d, dir, port, container)
	cmd.Dir = dir
	// The caller reads what it prints as it comes.
	cmd.Env = append(append(os.Environ(), "PYTHONUNBUFFERED=1"), w.env...)
	tester, err := start(cmd, dir, "wstest", p.watch)
	if err == nil && w.container {
		tester.stopper = func() { exec.Command(w.argv[0], "kill", container).Run() }
	}
	return tester, err
}

func (w *wstest) command(d direction, dir, port, container string) *exec.Cmd {
	args := []string{"-m", d.mode, "-s", d.template}
	if port != "" {
		args = append(args, "-u", "0") // no web server next to it
	}
	if !w.container {
		return exec.Command(w.argv[0], append(w.argv[1:len(w.argv):len(w.argv)], args...)...)
	}
	docker := []string{"run", "--rm", "--name", container, "-e", "PYTHONUNBUFFERED=1", "-v", dir + ":" + containerPath, "-w", containerPath}
	switch {
	case runtime.GOOS == "linux":
		// The report is to belong to the user who runs this.
		docker = append(docker, "--network", "host", "--user", fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()))
	case port != "":
		docker = append(docker, "-p", "127.0.0.1:"+port+":"+port)
	}
	docker = append(append(docker, image, "wstest"), args...)
	return exec.Command(w.argv[0], docker...)
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket/autobahn/internal/suite"
)

// A direction is one of our two peers under test, and the mode of the suite
// that tests it.
type direction struct {
	name     string // also the name of the folder of its report
	agent    string // the name of the peer in the report
	mode     string // of wstest
	template string // the suite's specification
	peer     string // the folder of the echo peer
}

var (
	serverUnderTest = direction{"server", "websocket-server", "fuzzingclient", "fuzzingclient.json", "echoserver"}
	clientUnderTest = direction{"client", "websocket-client", "fuzzingserver", "fuzzingserver.json", "echoclient"}
)

func (d direction) reports(o *options) string { return filepath.Join(o.reports, d.name) }

// build returns the echo peer's binary.
func (d direction) build(ctx context.Context, o *options, bin string) (string, error) {
	given := o.echoServer
	if d == clientUnderTest {
		given = o.echoClient
	}
	if given != "" {
		return filepath.Abs(given)
	}
	path := filepath.Join(bin, d.peer)
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	args := []string{"build", "-o", path}
	if o.race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+d.peer)...)
	cmd.Dir = o.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build %s: %w\n%s", d.peer, err, out)
	}
	return path, nil
}

// run lets the suite test the peer and judges its report. All that it starts
// has ended when it returns.
func (d direction) run(ctx context.Context, o *options, w *wstest, peer string, out io.Writer) (*suite.Verdict, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not done after %s", o.timeout))
	defer cancel()
	dir := d.reports(o)
	// A report of an earlier run must not pass for one of this run.
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	progress := &progress{out: out, name: d.name, total: len(o.cases), start: time.Now()}
	var err error
	if d == serverUnderTest {
		err = d.testServer(ctx, o, w, peer, progress)
	} else {
		err = d.testClient(ctx, o, w, peer, progress)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w; logs in %s", context.Cause(ctx), dir)
	}
	if err != nil {
		return nil, err
	}
	report, err := suite.ReadReport(filepath.Join(dir, "index.json"), d.agent)
	if err != nil {
		return nil, err
	}
	return suite.Judge(o.cases, report), nil
}

func (d direction) testServer(ctx context.Context, o *options, w *wstest, peer string, p *progress) error {
	dir := d.reports(o)
	server, err := start(o.peerCommand(peer, "-addr", "127.0.0.1:0"), dir, d.peer, nil)
	if err != nil {
		return err
	}
	defer server.stop()
	addr, err := server.awaitLine(ctx, "listening on ", time.Minute)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%s prints a strange address: %w", d.peer, err)
	}
	url := "ws://" + net.JoinHostPort(w.hostOfPeer, port)
	if err := d.writeSpec(o, w, url); err != nil {
		return err
	}
	tester, err := w.start(d, dir, "", p)
	if err != nil {
		return err
	}
	defer tester.stop()
	select {
	case <-tester.done:
		if server.ended() {
			return fmt.Errorf("%s ended while it was tested: %w", d.peer, server.failure())
		}
		return tester.failure() // nil whatever the suite found
	case <-server.done:
		return fmt.Errorf("%s ended while it was tested: %w", d.peer, server.failure())
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d direction) testClient(ctx context.Context, o *options, w *wstest, peer string, p *progress) error {
	dir := d.reports(o)
	port, err := freePort()
	if err != nil {
		return err
	}
	url := "ws://127.0.0.1:" + port
	if err := d.writeSpec(o, w, url); err != nil {
		return err
	}
	tester, err := w.start(d, dir, port, p)
	if err != nil {
		return err
	}
	defer tester.stop()
	if err := tester.awaitPort(ctx, "127.0.0.1:"+port, 2*time.Minute); err != nil {
		return err
	}
	client, err := start(o.peerCommand(peer, "-url", url, "-agent", d.agent), dir, d.peer, nil)
	if err != nil {
		return err
	}
	defer client.stop()
	select {
	case <-client.done: // the report has been written
		return client.failure()
	case <-tester.done:
		return fmt.Errorf("wstest ended too early: %w", tester.failure())
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o *options) peerCommand(peer string, args ...string) *exec.Cmd {
	cmd := exec.Command(peer, append(args, o.peerArgs...)...)
	if o.race {
		// A race that is only logged would pass.
		cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	}
	return cmd
}

// writeSpec writes what wstest is to do: the template with the address, the
// folder and the cases of this run.
func (d direction) writeSpec(o *options, w *wstest, url string) error {
	data, err := os.ReadFile(filepath.Join(o.root, d.template))
	if err != nil {
		return err
	}
	var spec map[string]any
	if err := json.Unmarshal(data, &spec); err != nil {
		return fmt.Errorf("%s: %w", d.template, err)
	}
	spec["outdir"] = w.folder(d.reports(o))
	spec["cases"] = o.cases
	spec["exclude-cases"] = []string{}
	if d == serverUnderTest {
		spec["servers"] = []map[string]string{{"agent": d.agent, "url": url}}
	} else {
		spec["url"] = url
	}
	if data, err = json.MarshalIndent(spec, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.reports(o), d.template), append(data, '\n'), 0o666)
}

// freePort returns a port that was free a moment ago: wstest cannot be told to
// choose one.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, err
}

// A progress counts the cases in wstest's output and now and then says how far
// it is.
type progress struct {
	out   io.Writer
	name  string
	total int
	start time.Time
}

func (p *progress) watch(r io.Reader) {
	const every = 20 * time.Second
	next := every
	n := 0
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "Running test case ID ") {
			continue
		}
		n++
		if elapsed := time.Since(p.start); elapsed >= next {
			fmt.Fprintf(p.out, "%s: case %d of %d after %s\n", p.name, n, p.total, elapsed.Round(time.Second))
			next = elapsed + every
		}
	}
	io.Copy(io.Discard, r) // a line too long for the scanner must not block wstest
}

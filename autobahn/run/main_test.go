package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tests run this binary once more in each part that run starts: as wstest,
// as the echo server and as the echo client. The variable fakeEnv names the
// part, and its behaviour.
const fakeEnv = "AUTOBAHN_RUN_TEST_FAKE"

func TestMain(m *testing.M) {
	if how := os.Getenv(fakeEnv); how != "" {
		os.Exit(fake(how, os.Args[1:]))
	}
	os.Exit(m.Run())
}

func fake(how string, args []string) int {
	for i, arg := range args {
		switch arg {
		case "--autobahnversion":
			return 0
		case "-addr":
			return fakeServer(how)
		case "-url":
			return fakeClient(how, args[i+1])
		case "-s":
			return fakeSuite(how, args[i+1])
		}
	}
	return 3
}

func fakeServer(how string) int {
	if how == "server-fails" {
		fmt.Println("the port is taken")
		return 1
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	fmt.Println("listening on", ln.Addr())
	if _, err := ln.Accept(); err != nil || how == "server-dies" {
		return 1
	}
	hang()
	return 0
}

// hang waits to be killed. In a program without cgo, select {} would be found
// to be a deadlock.
func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

func fakeClient(how, url string) int {
	if how == "client-fails" {
		fmt.Println("no such host")
		return 1
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
	if err != nil {
		return 1
	}
	io.Copy(io.Discard, c) // until the suite has written its report
	return 0
}

func fakeSuite(how, path string) int {
	var spec struct {
		URL, Outdir string
		Cases       []string
		Servers     []struct{ Agent, URL string }
	}
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &spec) != nil {
		return 1
	}
	switch how {
	case "suite-fails":
		fmt.Println("no module named twisted")
		return 1
	case "suite-hangs":
		hang()
	}
	agent := "websocket-client"
	var conns []net.Conn
	if spec.Servers != nil {
		agent = spec.Servers[0].Agent
		c, err := net.Dial("tcp", strings.TrimPrefix(spec.Servers[0].URL, "ws://"))
		if err != nil {
			return 1
		}
		conns = append(conns, c)
		if how == "server-dies" {
			io.Copy(io.Discard, c)
			hang()
		}
	} else {
		ln, err := net.Listen("tcp", strings.TrimPrefix(spec.URL, "ws://"))
		if err != nil {
			return 1
		}
		for range 2 { // the one that asks whether the port is open, and the client
			c, err := ln.Accept()
			if err != nil {
				return 1
			}
			conns = append(conns, c)
		}
	}
	results := make(map[string]map[string]string)
	for _, id := range spec.Cases {
		fmt.Println("Running test case ID", id, "for agent", agent)
		results[id] = map[string]string{"behavior": "OK", "behaviorClose": "OK"}
	}
	switch how {
	case "nonstrict":
		results[spec.Cases[0]]["behavior"] = "NON-STRICT"
	case "missing":
		delete(results, spec.Cases[0])
	}
	report := map[string]any{agent: results}
	if how == "empty" {
		report = map[string]any{}
	}
	if data, err = json.Marshal(report); err != nil {
		return 1
	}
	if how != "no-report" && os.WriteFile(filepath.Join(spec.Outdir, "index.json"), data, 0o666) != nil {
		return 1
	}
	if spec.Servers == nil {
		conns[len(conns)-1].Close()
		hang()
	}
	return 0
}

// newRun returns the options of a run whose parts are all fakes, in a
// repository of its own.
func newRun(t *testing.T, how string, args ...string) *options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "autobahn")
	if err := os.Mkdir(root, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{serverUnderTest.template, clientUnderTest.template} {
		data, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(fakeEnv, how)
	t.Setenv("WSTEST", self)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // under the race detector each process would stay a second longer
	o, err := parseOptions(append([]string{"-echoserver", self, "-echoclient", self}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	o.root = root
	return o
}

func TestRun(t *testing.T) {
	tests := []struct {
		how  string
		args []string
		want []string // in the error, or in what a good run prints
		bad  bool
	}{
		{how: "green", want: []string{"server under test, 301 cases", "client under test, 301 cases", "passed"}},
		{how: "green", args: []string{"-full", "-serial"}, want: []string{"server under test, 517 cases", "client under test, 517 cases"}},
		{how: "green", args: []string{"-cases", "12.1.1-6, 13.*.1-4", "-direction", "client"}, want: []string{"client under test, 34 cases"}},
		{how: "nonstrict", bad: true, want: []string{"server: 1 findings", "client: 1 findings", "1.1.1: behavior NON-STRICT"}},
		{how: "missing", bad: true, want: []string{"server: 1 findings", "client: 1 findings", "1.1.1: missing"}},
		{how: "empty", bad: true, want: []string{"server: ", "client: ", "holds no results"}},
		{how: "no-report", bad: true, want: []string{"index.json"}},
		{how: "suite-fails", args: []string{"-direction", "client"}, bad: true, want: []string{"wstest ended before it listens", "no module named twisted"}},
		{how: "suite-fails", args: []string{"-direction", "server"}, bad: true, want: []string{"wstest: exit status 1", "no module named twisted"}},
		{how: "server-fails", args: []string{"-direction", "server"}, bad: true, want: []string{"echoserver ended before", "the port is taken"}},
		{how: "server-dies", args: []string{"-direction", "server"}, bad: true, want: []string{"echoserver ended while it was tested"}},
		{how: "client-fails", args: []string{"-direction", "client"}, bad: true, want: []string{"echoclient: exit status 1", "no such host"}},
		{how: "suite-hangs", args: []string{"-timeout", "200ms"}, bad: true, want: []string{"not done after 200ms"}},
	}
	for _, test := range tests {
		t.Run(test.how+" "+strings.Join(test.args, " "), func(t *testing.T) {
			o := newRun(t, test.how, test.args...)
			var out bytes.Buffer
			err := run(t.Context(), o, &out)
			if (err != nil) != test.bad {
				t.Errorf("error %v", err)
			}
			printed := fmt.Sprintf("%s%v", out.String(), err)
			for _, want := range test.want {
				if !strings.Contains(printed, want) {
					t.Errorf("nowhere says %q", want)
				}
			}
			if t.Failed() {
				t.Logf("printed:\n%s", printed)
			}
		})
	}
}

// TestRunForgetsOldReports has a run write a green report, and the next one
// none.
func TestRunForgetsOldReports(t *testing.T) {
	o := newRun(t, "green", "-direction", "server")
	if err := run(t.Context(), o, io.Discard); err != nil {
		t.Fatal(err)
	}
	t.Setenv(fakeEnv, "no-report")
	if err := run(t.Context(), o, io.Discard); err == nil {
		t.Error("the report of the first run passed for one of the second")
	}
}

func TestWriteSpec(t *testing.T) {
	for _, d := range []direction{serverUnderTest, clientUnderTest} {
		o := newRun(t, "green", "-cases", "13.1.1-2")
		if err := os.MkdirAll(d.reports(o), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := d.writeSpec(o, &wstest{}, "ws://127.0.0.1:1234"); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(d.reports(o), d.template))
		if err != nil {
			t.Fatal(err)
		}
		var spec struct {
			URL     string              `json:"url"`
			Servers []map[string]string `json:"servers"`
			Outdir  string              `json:"outdir"`
			Cases   []string            `json:"cases"`
			Exclude []string            `json:"exclude-cases"`
		}
		if err := json.Unmarshal(data, &spec); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(spec.Cases, []string{"13.1.1", "13.1.2"}) || len(spec.Exclude) != 0 || spec.Outdir != d.reports(o) {
			t.Errorf("%s: %s", d.name, data)
		}
		url := spec.URL
		if d == serverUnderTest {
			if len(spec.Servers) != 1 || spec.Servers[0]["agent"] != d.agent {
				t.Fatalf("%s: servers %v", d.name, spec.Servers)
			}
			url = spec.Servers[0]["url"]
		}
		if url != "ws://127.0.0.1:1234" {
			t.Errorf("%s: url %q", d.name, url)
		}
	}
}

func TestCommand(t *testing.T) {
	native := &wstest{argv: []string{"python", "wstest"}}
	if got, want := native.command(clientUnderTest, "/r", "99", "c").Args, "python wstest -m fuzzingserver -s fuzzingserver.json -u 0"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := native.command(serverUnderTest, "/r", "", "c").Args, "python wstest -m fuzzingclient -s fuzzingclient.json"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	docker := &wstest{argv: []string{"docker"}, container: true}
	got := strings.Join(docker.command(clientUnderTest, "/r", "99", "c").Args, " ")
	want := []string{
		"docker run --rm --name c ", " -v /r:/autobahn -w /autobahn ",
		" " + image + " wstest -m fuzzingserver -s fuzzingserver.json -u 0",
	}
	if runtime.GOOS == "linux" {
		want = append(want, " --network host ")
	} else {
		want = append(want, " -p 127.0.0.1:99:99 ")
	}
	for _, want := range want {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not contain %q", got, want)
		}
	}
}

// TestNoSuite looks for the suite on a machine that has nothing.
func TestNoSuite(t *testing.T) {
	empty := t.TempDir()
	for _, name := range []string{"PATH", "PYENV_ROOT", "HOME", "USERPROFILE"} {
		t.Setenv(name, empty)
	}
	t.Setenv("WSTEST", "")
	_, err := findSuite(t.Context(), &options{root: empty}, io.Discard)
	if err == nil {
		t.Fatal("found a suite")
	}
	for _, want := range []string{"wstest: ", "docker: ", "python: ", "start a Docker engine", "install CPython 2.7"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %q", err, want)
		}
	}
	var out strings.Builder
	if err := run(t.Context(), &options{root: empty, optional: true}, &out); err != nil || !strings.Contains(out.String(), "NOT RUN") {
		t.Errorf("with -optional: %v, printed %q", err, out.String())
	}
	if err := run(t.Context(), &options{root: empty}, io.Discard); !errors.Is(err, errNoSuite) {
		t.Errorf("without -optional: %v", err)
	}
	t.Setenv("WSTEST", filepath.Join(empty, "wstest"))
	if _, err := findSuite(t.Context(), &options{root: empty}, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("$WSTEST names no file: %v", err)
	}
}

func TestParseOptions(t *testing.T) {
	for _, test := range []struct {
		args        string
		cases       int
		directions  int
		compression string
		timeout     time.Duration
	}{
		{"", 301, 2, "disabled", 10 * time.Minute},
		{"-full", 517, 2, "context-takeover", 40 * time.Minute},
		{"-cases 7.* -direction server", 37, 1, "disabled", 10 * time.Minute},
		{"-cases 1,13.1.1 -count 17", 17, 2, "context-takeover", 40 * time.Minute},
		{"-full -compression no-context-takeover -timeout 1h", 517, 2, "no-context-takeover", time.Hour},
	} {
		o, err := parseOptions(strings.Fields(test.args), io.Discard)
		if err != nil {
			t.Errorf("%q: %v", test.args, err)
			continue
		}
		if len(o.cases) != test.cases || len(o.directions) != test.directions || o.peerArgs[1] != test.compression || o.timeout != test.timeout {
			t.Errorf("%q: %d cases, %d directions, compression %s, timeout %s", test.args, len(o.cases), len(o.directions), o.peerArgs[1], o.timeout)
		}
	}
	for _, args := range []string{"-cases 8.*", "-full -cases 1.*", "-count 300", "-direction up", "-nothing", "extra"} {
		if _, err := parseOptions(strings.Fields(args), io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

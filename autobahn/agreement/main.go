// Command agreement compares the verdicts of the official Autobahn|Testsuite
// and of this module's suite, case by case, about the same peers. The peers are
// servers and clients of several libraries, and peers that each break one rule.
//
//	cd autobahn/agreement && go run .                  # the libraries
//	cd autobahn/agreement && go run . -broken          # the broken peers
//
// It needs what autobahn/run needs, and the peers in peers/ that it compares.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket/autobahn/internal/broken"
	"github.com/seed70bc5565/websocket/autobahn/suite"
)

// A peer is an echo server or client: a program with the flags of
// autobahn/echoserver and autobahn/echoclient.
type peer struct {
	name           string
	server, client string // programs, or ""
	args           []string
}

// brokenCases are enough to tell the faults apart. A broken peer makes most of
// them wait for a limit.
const brokenCases = "1.1.1,1.1.2,1.1.6,1.1.7,1.2.1,1.2.2,2.1-2,2.5,2.7,2.9-10,3.1-2,3.5,3.7,4.1.1,4.1.3,4.2.1,4.2.3,5.1-3,5.6,5.9,5.12,5.15-16,5.18,5.19," +
	"6.1.2,6.2.1,6.2.3,6.3.1,6.4.1,6.4.3,6.6.1,6.9.3,6.17.1,6.19.1,6.20.1,6.22.1,7.1.1-6,7.3.1-2,7.3.4,7.3.6,7.5.1,7.7.1-2,7.7.10,7.9.1,7.9.4,7.13.1"

// deflateCases are added for the faults of compression.
const deflateCases = ",12.1.1,12.5.4,13.2.1"

// moreCases are added for faults that only these find.
var moreCases = map[string]string{
	"few-fragments": ",10.1.1",
	"message-first": deflateCases,
	"pong-cut":      ",2.4",
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "agreement:", err)
		os.Exit(1)
	}
}

type options struct {
	cases    string
	bin      string // the folder of the programs
	parallel int
	direct   string
}

func run(ctx context.Context) error {
	o := &options{}
	names := flag.String("peers", "", "compare about these `peers` only, separated by commas")
	isBroken := flag.Bool("broken", false, "compare about the broken peers")
	golden := flag.String("golden", "", "write the official verdicts to `file`, and keep those of other peers in it")
	flag.StringVar(&o.cases, "cases", "", "the `cases` to compare (default: all 517, of broken peers 60)")
	flag.IntVar(&o.parallel, "parallel", 1, "compare about this `number` of peers at the same time")
	flag.StringVar(&o.direct, "direction", "both", "compare about a `server`, client or both")
	flag.Parse()
	var err error
	if o.bin, err = os.MkdirTemp("", "agreement-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.bin)
	peers, err := o.peers(*isBroken)
	if err != nil {
		return err
	}
	if *names != "" {
		wanted := strings.Split(*names, ",")
		peers = slices.DeleteFunc(peers, func(p peer) bool { return !slices.Contains(wanted, p.name) })
	}
	type job struct {
		p      peer
		client bool
	}
	var jobs []job
	for _, p := range peers {
		if p.server != "" && o.direct != "client" {
			jobs = append(jobs, job{p, false})
		}
		if p.client != "" && o.direct != "server" {
			jobs = append(jobs, job{p, true})
		}
	}
	comparisons := make([]*comparison, len(jobs))
	var wg sync.WaitGroup
	slots := make(chan struct{}, o.parallel)
	for i, j := range jobs {
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer func() { <-slots; wg.Done() }()
			comparisons[i] = o.compare(ctx, j.p, j.client)
			fmt.Fprintln(os.Stderr, comparisons[i].line())
		}()
	}
	wg.Wait()
	return report(comparisons, *golden)
}

// peers builds the programs.
func (o *options) peers(isBroken bool) ([]peer, error) {
	build := func(dir string) (string, error) {
		path := filepath.Join(o.bin, filepath.Base(dir))
		cmd := exec.Command("go", "build", "-o", path, ".")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("cannot build %s: %w\n%s", dir, err, out)
		}
		return path, nil
	}
	if _, err := build("../run"); err != nil {
		return nil, err
	}
	var peers []peer
	if isBroken {
		program, err := build("../brokenpeer")
		if err != nil {
			return nil, err
		}
		for _, f := range broken.Faults {
			peers = append(peers, peer{f.Name, program, program, []string{"-fault", f.Name}})
		}
		return peers, nil
	}
	server, err := build("../echoserver")
	if err != nil {
		return nil, err
	}
	client, err := build("../echoclient")
	if err != nil {
		return nil, err
	}
	peers = append(peers, peer{"ours", server, client, nil}, peer{"ours-stream", server, client, []string{"-api", "stream"}})
	gopeer, err := build("peers/gopeer")
	if err != nil {
		return nil, err
	}
	for _, lib := range []string{"gorilla", "gorilla-stream", "coder", "coder-no", "gobwas", "gobwas-unchecked", "gws", "gws-unchecked", "xnet"} {
		p := peer{name: lib, server: gopeer, args: []string{"-lib", lib}}
		if lib == "gorilla" || lib == "coder" || lib == "gws" {
			p.client = gopeer
		}
		peers = append(peers, p)
	}
	peers = append(peers, o.script("ws", "peers/ws.mjs", "node", "-e", "import('ws')")...)
	python := os.Getenv("PYTHON3")
	if python == "" {
		python = "/usr/bin/python3"
	}
	peers = append(peers, o.script("websockets", "peers/websockets_peer.py", python, "-c", "import websockets")...)
	return peers, nil
}

// script returns the peer that a script is, if probe succeeds.
func (o *options) script(name, path string, probe ...string) []peer {
	cmd := exec.Command(probe[0], probe[1:]...)
	cmd.Dir = filepath.Dir(path)
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "%s is left out: %v\n", name, err)
		return nil
	}
	path, _ = filepath.Abs(path)
	if probe[0] != "node" { // the interpreter that has it
		wrapper := filepath.Join(o.bin, name+".sh")
		os.WriteFile(wrapper, []byte(fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", probe[0], path)), 0o777)
		path = wrapper
	}
	return []peer{{name, path, path, nil}}
}

// A verdict is what one suite says of one case.
type verdict struct{ Behavior, BehaviorClose string }

func (v verdict) String() string { return v.Behavior + " / " + v.BehaviorClose }

// A comparison is what both say of one peer.
type comparison struct {
	name             string
	ids              []string
	official, ours   map[string]verdict
	officialT, oursT time.Duration
	err              error
}

func (c *comparison) differences() []string {
	var ids []string
	for _, id := range c.ids {
		if c.official[id] != c.ours[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

func (c *comparison) line() string {
	if c.err != nil {
		return fmt.Sprintf("%-28s %v", c.name, c.err)
	}
	return fmt.Sprintf("%-28s %d cases, %d differ (official %s, ours %s)", c.name, len(c.ids), len(c.differences()),
		c.officialT.Round(time.Second), c.oursT.Round(time.Second))
}

func (o *options) compare(ctx context.Context, p peer, client bool) *comparison {
	role := "server"
	if client {
		role = "client"
	}
	c := &comparison{name: p.name + " " + role}
	pattern := o.cases
	if pattern == "" && slices.Contains(p.args, "-fault") {
		pattern = brokenCases
		if strings.Contains(p.name, "deflate") {
			pattern += deflateCases
		}
		pattern += moreCases[p.name]
	}
	cases, err := suite.Select(suite.Cases(), pattern, "")
	if err != nil {
		c.err = err
		return c
	}
	for _, k := range cases {
		c.ids = append(c.ids, k.ID)
	}
	start := time.Now()
	if c.official, c.err = o.official(ctx, p, role, c.ids); c.err != nil {
		return c
	}
	c.officialT = time.Since(start)
	start = time.Now()
	c.ours, c.err = o.ours(ctx, p, client, cases)
	c.oursT = time.Since(start)
	return c
}

// compression is what autobahn/run tells its peers for these cases.
func compression(ids []string) string {
	for _, id := range ids {
		if strings.HasPrefix(id, "12.") || strings.HasPrefix(id, "13.") {
			return "context-takeover"
		}
	}
	return "disabled"
}

var errNoReport = errors.New("the official report is empty")

func (o *options) official(ctx context.Context, p peer, role string, ids []string) (map[string]verdict, error) {
	dir := filepath.Join(o.bin, "reports", p.name+"-"+role)
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, "run"), "-direction", role, "-cases", strings.Join(ids, ","), "-reports", dir,
		"-echoserver", p.server, "-echoclient", p.client, "-peerargs", strings.Join(p.args, " "), "-timeout", "60m")
	out, runErr := cmd.CombinedOutput()
	b, err := os.ReadFile(filepath.Join(dir, role, "index.json"))
	if err != nil {
		return nil, fmt.Errorf("the official suite: %v\n%s", runErr, out)
	}
	var index map[string]map[string]verdict
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, err
	}
	for _, cases := range index {
		return cases, nil
	}
	return nil, errNoReport
}

func (o *options) ours(ctx context.Context, p peer, client bool, cases []*suite.Case) (map[string]verdict, error) {
	var ids []string
	for _, c := range cases {
		ids = append(ids, c.ID)
	}
	flags := append([]string{"-compression", compression(ids)}, p.args...)
	verdicts := map[string]verdict{}
	note := func(r *suite.Result) { verdicts[r.ID] = verdict{r.Behavior, r.BehaviorClose} }
	if client {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		t := &suite.Tester{Cases: cases}
		go t.Serve(ctx, ln, nil)
		out, err := exec.CommandContext(ctx, p.client, append([]string{"-url", "ws://" + ln.Addr().String(), "-agent", "peer"}, flags...)...).CombinedOutput()
		for _, r := range t.Results("peer") {
			if r != nil {
				note(r)
			}
		}
		if err != nil {
			return verdicts, fmt.Errorf("the client: %w\n%s", err, out)
		}
		return verdicts, nil
	}
	cmd := exec.CommandContext(ctx, p.server, append([]string{"-addr", "127.0.0.1:0"}, flags...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var addr string
	if _, err := fmt.Fscanf(out, "listening on %s\n", &addr); err != nil {
		return nil, err
	}
	_, err = suite.TestServer(ctx, "ws://"+addr+"/", suite.Options{Cases: cases, Done: note})
	return verdicts, err
}

// report prints the table and the differences. Its error says that there was a
// surprise.
func report(comparisons []*comparison, golden string) error {
	fmt.Println("| peer | cases | differ | official | ours |\n| --- | --- | --- | --- | --- |")
	for _, c := range comparisons {
		if c.err != nil {
			fmt.Printf("| %s | %d | not compared: %v | | |\n", c.name, len(c.ids), c.err)
			continue
		}
		fmt.Printf("| %s | %d | %d | %s | %s |\n", c.name, len(c.ids), len(c.differences()), c.officialT.Round(time.Second), c.oursT.Round(time.Second))
	}
	fmt.Println("\n| peer | case | official | ours |\n| --- | --- | --- | --- |")
	for _, c := range comparisons {
		for _, id := range c.differences() {
			fmt.Printf("| %s | %s | %s | %s |\n", c.name, id, c.official[id], c.ours[id])
		}
	}
	if golden != "" {
		if err := writeGolden(golden, comparisons); err != nil {
			return err
		}
	}
	wrong := surprises(comparisons)
	for _, w := range wrong {
		fmt.Fprintln(os.Stderr, w)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d surprises", len(wrong))
	}
	return nil
}

// byTiming are verdicts of a peer that each suite gives in one run and not in
// the next: see TABLE.md.
var byTiming = map[string][]string{
	"websockets server": {"3.4", "4.1.5", "4.2.5"},
	"websockets client": {"3.4", "4.1.5", "4.2.5"},
}

// surprises are the differences that nothing explains, those that should be
// there and are not, and the peers that were not compared.
func surprises(comparisons []*comparison) []string {
	var all []string
	for _, c := range comparisons {
		unreported := slices.Contains(broken.Unreported, c.name)
		switch {
		case c.err != nil && !(unreported && errors.Is(c.err, errNoReport)):
			all = append(all, fmt.Sprintf("%s: not compared: %v", c.name, c.err))
			continue
		case c.err == nil && unreported:
			all = append(all, c.name+": the official suite reports it now")
		}
		for _, id := range c.ids {
			known := broken.Differs(c.name, id)
			switch differs := c.official[id] != c.ours[id]; {
			case c.err != nil:
			case differs && known == nil && !slices.Contains(byTiming[c.name], id):
				all = append(all, fmt.Sprintf("%s %s: the official suite says %s, ours %s", c.name, id, c.official[id], c.ours[id]))
			case !differs && known != nil:
				all = append(all, fmt.Sprintf("%s %s: both say %s, though %s", c.name, id, c.ours[id], known.Reason))
			}
		}
	}
	return all
}

func readGolden(path string) (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	b, err := os.ReadFile(path)
	if err != nil {
		return all, err
	}
	return all, json.Unmarshal(b, &all)
}

// writeGolden writes the official verdicts as suite/testdata/broken.json has
// them: the ids of each verdict of each peer. Peers of the file that were not
// compared stay.
func writeGolden(path string, comparisons []*comparison) error {
	all, err := readGolden(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, c := range comparisons {
		if c.err != nil {
			continue
		}
		verdicts := map[string]string{}
		for _, id := range c.ids {
			v := c.official[id].String()
			verdicts[v] = strings.TrimSpace(verdicts[v] + " " + id)
		}
		all[c.name] = verdicts
	}
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o666)
}

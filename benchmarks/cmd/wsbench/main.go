// Command wsbench measures WebSocket servers against each other: messages per
// second of the server's CPU time, and memory per connection.
//
// Each server runs in a process of its own on CPU 0, the load generator on CPU
// 1, both with GOMAXPROCS=1. The servers take turns, several rounds long;
// ratios are taken within a round, and medians and ranges over the rounds are
// reported. See the README of the benchmarks.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/seed70bc5565/websocket/benchmarks/load"
)

type config struct {
	quick     bool
	rounds    int
	duration  time.Duration
	warmUp    time.Duration
	idleConns int
	scenarios []scenario
	libraries []library
	profiles  string
	verbose   bool
	out       string
	bin       string
	before    string
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "load" {
		loadMain()
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "wsbench:", err)
		os.Exit(1)
	}
}

func run() error {
	var c config
	flag.BoolVar(&c.quick, "quick", false, "under a minute, and less exact")
	flag.IntVar(&c.rounds, "rounds", 0, "rounds (default 3)")
	flag.DurationVar(&c.duration, "duration", 0, "of one measurement (default 1.5s; quick: 120ms)")
	flag.IntVar(&c.idleConns, "idle", 0, "connections of the idle scenarios (default 10000; quick: 1000)")
	flag.StringVar(&c.profiles, "profile", "", "folder for CPU profiles of the servers")
	flag.StringVar(&c.out, "out", "results", "folder for results.md, readme.md, results.json and chart.svg")
	flag.BoolVar(&c.verbose, "v", false, "print system calls per message, too")
	flag.StringVar(&c.before, "before", "", "another checkout of this repository, whose server takes part as \"before\"")
	from := flag.String("from", "", "a results.json: write its tables and its chart anew, and measure nothing")
	only := flag.String("scenario", "", "comma-separated scenarios, of "+scenarioIDs())
	libs := flag.String("lib", "", "comma-separated servers, of "+libraryNames())
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if *from != "" {
		r, err := readReport(*from)
		if err != nil {
			return err
		}
		return r.write(c.out)
	}
	var err error
	if c.scenarios, err = choose(scenarios, *only, func(s scenario) string { return s.id }); err != nil {
		return err
	}
	if c.quick && *only == "" {
		c.scenarios = slices.DeleteFunc(slices.Clone(c.scenarios), func(s scenario) bool { return s.slow })
	}
	all := libraries
	if c.quick && *libs == "" {
		all = slices.DeleteFunc(slices.Clone(all), func(l library) bool { return !l.quick })
	}
	if c.libraries, err = choose(all, *libs, func(l library) string { return l.name }); err != nil {
		return err
	}
	if c.before != "" {
		c.libraries = append(c.libraries, library{name: "before", label: "before", validates: true})
	}
	pick := func(v *int, full, quick int) {
		if *v == 0 && c.quick {
			*v = quick
		} else if *v == 0 {
			*v = full
		}
	}
	pick(&c.rounds, 3, 3)
	pick(&c.idleConns, 10_000, 1000)
	if c.duration == 0 {
		c.duration = 1500 * time.Millisecond
		if c.quick {
			c.duration = 120 * time.Millisecond
		}
	}
	c.warmUp = c.duration / 4
	if runtime.NumCPU() < 2 {
		return fmt.Errorf("two CPUs are needed, one for the server and one for the load; this machine has %d", runtime.NumCPU())
	}

	if c.bin, err = os.MkdirTemp("", "wsbench"); err != nil {
		return err
	}
	defer os.RemoveAll(c.bin)
	if err := c.build(); err != nil {
		return err
	}
	if c.profiles != "" {
		if err := os.MkdirAll(c.profiles, 0o777); err != nil {
			return err
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	start := time.Now()
	report, err := c.measure(stop)
	if err != nil {
		return err
	}
	report.Took = time.Since(start)
	report.Peers = report.versions()
	return report.write(c.out)
}

// choose picks from all by a comma-separated list of names; an empty list picks
// everything.
func choose[T any](all []T, names string, name func(T) string) ([]T, error) {
	if names == "" {
		return all, nil
	}
	var chosen []T
	for n := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(t T) bool { return name(t) == n })
		if i < 0 {
			return nil, fmt.Errorf("there is no %q", n)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// build compiles the servers from the module that the working directory is in.
func (c *config) build() error {
	args := []string{"build", "-o", c.bin + string(filepath.Separator)}
	for _, l := range c.libraries {
		if l.name == "before" {
			continue
		}
		args = append(args, "github.com/seed70bc5565/websocket/benchmarks/servers/"+l.name)
	}
	cmd := exec.Command("go", args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building the servers: %w", err)
	}
	if c.before == "" {
		return nil
	}
	cmd = exec.Command("go", "build", "-o", filepath.Join(c.bin, "before"), "./servers/ours")
	cmd.Dir = filepath.Join(c.before, "benchmarks")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building the server of %s: %w", c.before, err)
	}
	return nil
}

// measure takes the servers in turn, in another order each round.
func (c *config) measure(stop <-chan os.Signal) (*report, error) {
	r := newReport(c)
	for round := range c.rounds {
		for _, s := range c.scenarios {
			for i := range c.libraries {
				l := c.libraries[(i+round)%len(c.libraries)]
				if s.leaves(l) {
					continue
				}
				select {
				case <-stop:
					return nil, fmt.Errorf("interrupted")
				default:
				}
				figure, err := c.once(s, l, round)
				if err != nil {
					// One server that fails a scenario is a finding, not the
					// end of the run.
					fmt.Fprintf(os.Stderr, "round %d, %-5s %-9s %v\n", round+1, s.id, l.name, err)
					r.fail(s, l, err)
					continue
				}
				fmt.Fprintf(os.Stderr, "round %d, %-5s %-9s %s\n", round+1, s.id, l.name, s.format(figure))
				r.add(s, l, figure)
			}
		}
	}
	return r, nil
}

// once starts the server, loads it, and returns the scenario's figure.
func (c *config) once(s scenario, l library, round int) (float64, error) {
	job := s.job
	job.Blind, job.Raw = l.blind, l.raw
	job.WarmUp, job.Duration = c.warmUp, c.duration
	if s.memory && job.Conns == 0 {
		job.Conns = c.idleConns
	}
	args := s.args
	if l.args != nil {
		args = append(slices.Clone(args), l.args(s)...)
	}
	sv, err := startServer(filepath.Join(c.bin, l.name), args)
	if err != nil {
		return 0, err
	}
	defer sv.stop()
	job.Addr, job.PID = sv.addr, sv.pid()
	if s.memory {
		return c.memory(sv, job)
	}
	if c.profiles != "" {
		if err := sv.order(fmt.Sprintf("profile %s/%s-%s-%d.pprof", c.profiles, l.name, s.id, round+1)); err != nil {
			return 0, err
		}
	}
	ld, err := startLoad(job)
	if err != nil {
		return 0, err
	}
	defer ld.stop()
	res, err := ld.result()
	if err != nil {
		return 0, err
	}
	if c.profiles != "" {
		if err := sv.order("endprofile"); err != nil {
			return 0, err
		}
	}
	if c.verbose {
		n := float64(res.Messages)
		fmt.Fprintf(os.Stderr, "  %.3f reads and %.3f writes a message; %d messages, %v of CPU in %v\n",
			float64(res.Reads)/n, float64(res.Writes)/n, res.Messages, res.CPU.Round(time.Millisecond), res.Wall.Round(time.Millisecond))
	}
	if s.wire {
		return res.Bytes, nil
	}
	if s.p99 {
		return res.P99.Seconds() * 1e6, nil
	}
	return float64(res.Messages) / res.CPU.Seconds(), nil
}

// memory returns how many bytes of RSS a connection adds to the server.
func (c *config) memory(sv *server, job load.Job) (float64, error) {
	// A few connections first: what a server sets up once is not a
	// connection's.
	few := job
	few.Conns = 20
	if err := holding(few, func() error { return nil }); err != nil {
		return 0, err
	}
	if err := sv.order("gc"); err != nil {
		return 0, err
	}
	before, err := load.RSS(sv.pid())
	if err != nil {
		return 0, err
	}
	var after int64
	err = holding(job, func() error {
		if err := sv.rest(); err != nil {
			return err
		}
		if err := sv.order("gc"); err != nil {
			return err
		}
		if after, err = load.RSS(sv.pid()); err == nil && c.profiles != "" {
			err = sv.order(fmt.Sprintf("heap %s/%s-heap.pprof", c.profiles, filepath.Base(sv.path)))
		}
		if err == nil && c.verbose {
			err = sv.order("memstats")
		}
		return err
	})
	return float64(after-before) / float64(job.Conns), err
}

func holding(job load.Job, meanwhile func() error) error {
	ld, err := startLoad(job)
	if err != nil {
		return err
	}
	defer ld.stop()
	if _, err := ld.result(); err != nil {
		return err
	}
	return meanwhile()
}

// loadMain is the load generator's process: a job on standard input, the result
// on standard output. It holds the connections of an idle job until its input
// ends.
func loadMain() {
	in := json.NewDecoder(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	var job load.Job
	if err := in.Decode(&job); err != nil {
		out.Encode(load.Result{Err: err.Error()})
		return
	}
	res, err := load.Run(job, func(r load.Result) {
		out.Encode(r)
		var end any
		in.Decode(&end)
	})
	if err != nil {
		out.Encode(load.Result{Err: err.Error()})
	} else if job.Kind != load.Idle {
		out.Encode(res)
	}
	// The kernel closes what is open. Sockets with unread data are reset.
	syscall.Exit(0)
}

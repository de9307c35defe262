// Command run tests the library with the Autobahn|Testsuite, in both
// directions, and fails on anything but a clean result. It needs Go and one of:
// wstest, a Docker engine, CPython 2.7.
//
//	go run ./autobahn/run                          # the 301 cases without compression
//	go run ./autobahn/run -full                    # all 517
//	go run ./autobahn/run -cases "7.*,12.1.1-6"    # some
//	go run ./autobahn/run -direction server        # only our server
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seed70bc5565/websocket/autobahn/internal/suite"
)

func main() {
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "autobahn:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "autobahn:", err)
		os.Exit(1)
	}
}

// Options are the command's flags, checked.
type options struct {
	root       string   // the folder autobahn/ of the repository
	cases      []string // ids
	directions []direction
	serial     bool
	timeout    time.Duration // of each direction
	peerArgs   []string      // flags of the echo peers
	reports    string        // the folder of the reports
	optional   bool          // pass where there is no way to the suite
	race       bool
	echoServer string // a binary to test instead of ours
	echoClient string
	suite      string // which way to the suite; "" for the first that is there
}

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	cases := flags.String("cases", "", "the `cases` to run, such as \"1.*,12.1.1-6\" (default: the 301 without compression)")
	full := flags.Bool("full", false, "run all 517 cases")
	count := flags.Int("count", 0, "fail unless the cases named are this `number`")
	which := flags.String("direction", "both", "test our `server`, client or both")
	compression := flags.String("compression", "", "the peers' `mode`: disabled, context-takeover, no-context-takeover (default: context-takeover for 12.* and 13.*, else disabled)")
	api := flags.String("api", "message", "the `calls` the peers echo with: message or stream")
	flags.BoolVar(&o.serial, "serial", false, "one direction after the other, for a busy machine")
	flags.DurationVar(&o.timeout, "timeout", 0, "the most `time` for one direction (default 10m, with 12.* and 13.* 40m)")
	flags.BoolVar(&o.race, "race", false, "build the peers with the race detector; they end at the first race")
	flags.StringVar(&o.echoServer, "echoserver", "", "test this `binary` in place of autobahn/echoserver")
	flags.StringVar(&o.echoClient, "echoclient", "", "test this `binary` in place of autobahn/echoclient")
	flags.StringVar(&o.reports, "reports", "", "write the reports to this `folder` (default: reports, beside this command)")
	flags.BoolVar(&o.optional, "optional", false, "where there is no way to run the suite, say so and pass")
	peerArgs := flags.String("peerargs", "", "more `flags` for the peers, separated by spaces")
	flags.StringVar(&o.suite, "suite", "", "take the suite from `where`: wstest, docker or python (default: the first that is there)")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() != 0 {
		return nil, fmt.Errorf("what is %q?", flags.Arg(0))
	}
	var err error
	switch {
	case *full && *cases != "":
		return nil, errors.New("-cases and -full exclude each other")
	case *full:
		o.cases = suite.All()
	case *cases != "":
		if o.cases, err = suite.Select(*cases); err != nil {
			return nil, err
		}
	default:
		o.cases = suite.Core()
	}
	if *count != 0 && *count != len(o.cases) {
		return nil, fmt.Errorf("-count says %d cases, the cases named are %d", *count, len(o.cases))
	}
	switch *which {
	case "server":
		o.directions = []direction{serverUnderTest}
	case "client":
		o.directions = []direction{clientUnderTest}
	case "both":
		o.directions = []direction{serverUnderTest, clientUnderTest}
	default:
		return nil, fmt.Errorf("there is no direction %q", *which)
	}
	compressed := slices.ContainsFunc(o.cases, suite.NeedsCompression)
	if *compression == "" {
		*compression = "disabled"
		if compressed {
			*compression = "context-takeover"
		}
	}
	o.peerArgs = []string{"-compression", *compression, "-api", *api}
	o.peerArgs = append(o.peerArgs, strings.Fields(*peerArgs)...)
	if o.timeout == 0 {
		o.timeout = 10 * time.Minute
		if compressed {
			o.timeout = 40 * time.Minute
		}
	}
	if o.root, err = findRoot(); err != nil {
		return nil, err
	}
	if o.reports == "" {
		o.reports = filepath.Join(o.root, "reports")
	}
	o.reports, err = filepath.Abs(o.reports)
	return o, err
}

// findRoot looks for the folder autobahn/ above the current one.
func findRoot() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		root := filepath.Join(dir, "autobahn")
		if _, err := os.Stat(filepath.Join(root, "fuzzingclient.json")); err == nil {
			return root, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside the repository: no autobahn/fuzzingclient.json above it", wd)
		}
	}
}

func run(ctx context.Context, o *options, stdout io.Writer) error {
	w, err := findSuite(ctx, o, stdout)
	if errors.Is(err, errNoSuite) && o.optional {
		fmt.Fprintf(stdout, "THE OFFICIAL AUTOBAHN SUITE IS NOT RUN: %v\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "suite: %s\n", w.description)

	bin, err := os.MkdirTemp("", "autobahn-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)

	peers := make([]string, len(o.directions))
	for i, d := range o.directions {
		if peers[i], err = d.build(ctx, o, bin); err != nil {
			return err
		}
	}
	// A run prints its lines as they come, and its table when it is done.
	out := &lockedWriter{w: stdout}
	errs := make([]error, len(o.directions))
	verdicts := make([]*suite.Verdict, len(o.directions))
	var wg sync.WaitGroup
	for i, d := range o.directions {
		one := func() {
			start := time.Now()
			verdicts[i], errs[i] = d.run(ctx, o, w, peers[i], out)
			fmt.Fprintf(out, "%s: done after %s\n", d.name, time.Since(start).Round(100*time.Millisecond))
		}
		if o.serial {
			one()
			continue
		}
		wg.Go(one)
	}
	wg.Wait()

	var failed []string
	for i, d := range o.directions {
		dir := d.reports(o)
		fmt.Fprintf(stdout, "\n%s under test, %d cases, report in %s\n", d.name, len(o.cases), filepath.Join(dir, "index.html"))
		if err := errs[i]; err != nil {
			fmt.Fprintf(stdout, "%s: %v\n", d.name, err)
			failed = append(failed, d.name)
		}
		if v := verdicts[i]; v != nil {
			if err := v.WriteTable(stdout); err != nil {
				return err
			}
			if !v.OK() {
				failed = append(failed, fmt.Sprintf("%s: %d findings", d.name, len(v.Findings)))
			}
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("FAILED: %s", strings.Join(failed, ", "))
	}
	fmt.Fprintln(stdout, "\npassed")
	return nil
}

// A lockedWriter lets both directions print.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Command autobahn tests WebSocket servers and clients with the 517 cases of
// the Autobahn|Testsuite, written anew in Go.
//
//	autobahn -server ws://127.0.0.1:8080/echo       # test a server that echoes
//	autobahn -listen 127.0.0.1:9001                 # test clients, until interrupted
//	autobahn -listen 127.0.0.1:0 -- client {url}    # test one client, which is started
//
// It exits with 1 unless every verdict is OK or INFORMATIONAL, and with 2 if it
// could not test.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/seed70bc5565/websocket/autobahn/suite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the process
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

type options struct {
	server, listen    string
	cases, exclude    string
	beyond            bool
	jobs              int
	agent             string
	json, outdir      string
	allow             string
	allowed           []string // what allow lists
	insecure          bool
	ca, cert, key     string
	quiet             bool
	command           []string
	list              bool
	selected          []*suite.Case
	stdout, stderr    io.Writer
	clientTLS, serTLS *tls.Config
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stdout, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		var good bool
		switch {
		case o.list:
			for _, c := range o.selected {
				fmt.Fprintf(stdout, "%-9s %s\n", c.ID, c.Sends)
			}
			good = true
		case o.server != "":
			good, err = o.testServer(ctx)
		default:
			good, err = o.testClients(ctx)
		}
		if err == nil {
			if good {
				return 0
			}
			return 1
		}
	}
	fmt.Fprintln(stderr, "autobahn:", err)
	return 2
}

func parse(args []string, stdout, stderr io.Writer) (*options, error) {
	o := &options{stdout: stdout, stderr: stderr}
	f := flag.NewFlagSet("autobahn", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.server, "server", "", "test the echo server at `URL` (ws or wss)")
	f.StringVar(&o.listen, "listen", "", "test the clients that connect to `address`; a command behind -- is started as the one client, {url} in it is replaced")
	f.StringVar(&o.cases, "cases", "", "run only these `cases`, such as \"1.*,7.5.1,12.*.1-4\"")
	f.StringVar(&o.exclude, "exclude", "", "run all but these `cases`")
	f.BoolVar(&o.beyond, "beyond", false, "also run the cases that the original does not have")
	f.IntVar(&o.jobs, "jobs", 0, "run this `number` of cases at the same time (default 8 of those that wait, two for each processor of the others)")
	f.StringVar(&o.agent, "agent", "", "the `name` of the server in the report (default: its URL)")
	f.StringVar(&o.json, "json", "", "write the verdicts to `file`, as the original's index.json")
	f.StringVar(&o.outdir, "outdir", "", "write reports to this `folder`: index.json, index.html, and a page a case")
	f.StringVar(&o.allow, "allow", "", "verdicts that pass in addition to OK and INFORMATIONAL: a `list` such as NON-STRICT,UNIMPLEMENTED")
	f.BoolVar(&o.insecure, "insecure", false, "take any certificate of a wss server")
	f.StringVar(&o.ca, "ca", "", "trust the certificates in this PEM `file`")
	f.StringVar(&o.cert, "cert", "", "listen for wss with the certificate in this PEM `file`")
	f.StringVar(&o.key, "key", "", "the PEM `file` of its key")
	f.BoolVar(&o.quiet, "quiet", false, "no progress")
	f.BoolVar(&o.list, "list", false, "list the cases, and run none")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		f.SetOutput(stdout)
		f.PrintDefaults()
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w; -help lists the flags", err)
	}
	o.command = f.Args()
	for _, step := range []func() error{o.checkFlags, o.parseAllow, o.selectCases, o.loadTLS} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// checkFlags looks for flags that contradict each other.
func (o *options) checkFlags() error {
	switch {
	case o.list:
	case (o.server == "") == (o.listen == ""):
		return errors.New("name either -server or -listen; -help lists the flags")
	case o.server != "" && len(o.command) > 0:
		return fmt.Errorf("%q belongs to no flag", o.command[0])
	case o.server != "" && (o.cert != "" || o.key != ""):
		return errors.New("-cert and -key are for -listen")
	case o.listen != "" && (o.ca != "" || o.insecure || o.agent != "" || o.jobs != 0):
		return errors.New("-ca, -insecure, -agent and -jobs are for -server")
	case o.jobs < 0:
		return fmt.Errorf("-jobs is %d", o.jobs)
	case (o.cert == "") != (o.key == ""):
		return errors.New("-cert and -key belong together")
	}
	return nil
}

func (o *options) parseAllow() error {
	for a := range strings.SplitSeq(o.allow, ",") {
		if a = strings.ToUpper(strings.TrimSpace(a)); a == "" {
			continue
		} else if !slices.Contains(verdicts, a) {
			return fmt.Errorf("-allow: there is no verdict %q, only %s", a, strings.Join(verdicts, ", "))
		} else {
			o.allowed = append(o.allowed, a)
		}
	}
	return nil
}

func (o *options) selectCases() error {
	cases := suite.Cases()
	if o.beyond {
		cases = append(slices.Clip(cases), suite.Beyond()...)
	}
	var err error
	if o.selected, err = suite.Select(cases, o.cases, o.exclude); err != nil {
		if !o.beyond {
			if _, beyondErr := suite.Select(slices.Concat(cases, suite.Beyond()), o.cases, o.exclude); beyondErr == nil {
				err = fmt.Errorf("%w without -beyond", err)
			}
		}
		return err
	}
	if len(o.selected) == 0 {
		return errors.New("-exclude leaves no case")
	}
	return nil
}

// loadTLS reads the files of certificates.
func (o *options) loadTLS() error {
	if o.insecure || o.ca != "" {
		o.clientTLS = &tls.Config{InsecureSkipVerify: o.insecure}
		if o.ca != "" {
			pem, err := os.ReadFile(o.ca)
			if err != nil {
				return err
			}
			o.clientTLS.RootCAs = x509.NewCertPool()
			if !o.clientTLS.RootCAs.AppendCertsFromPEM(pem) {
				return fmt.Errorf("%s holds no certificate", o.ca)
			}
		}
	}
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return err
		}
		o.serTLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	return nil
}

// verdicts are those that -allow takes.
var verdicts = []string{suite.NonStrict, suite.Unimplemented, suite.Failed, suite.Unclean, suite.WrongCode, suite.FailedByClient}

// prepare finds out before the cases run whether the reports can be written.
func (o *options) prepare() error {
	if o.json != "" {
		f, err := os.OpenFile(o.json, os.O_WRONLY|os.O_CREATE, 0o666)
		if err != nil {
			return err
		}
		f.Close()
	}
	if o.outdir == "" {
		return nil
	}
	if err := os.MkdirAll(o.outdir, 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(o.outdir, ".autobahn-*")
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

func (o *options) testServer(ctx context.Context) (bool, error) {
	agent := o.agent
	if agent == "" {
		agent = o.server
	}
	if err := o.prepare(); err != nil {
		return false, err
	}
	p := newProgress(o, len(o.selected))
	results, err := suite.TestServer(ctx, o.server, suite.Options{Cases: o.selected, Jobs: o.jobs, TLS: o.clientTLS, Done: p.done})
	p.end()
	if err != nil && ctx.Err() == nil {
		if verify := (*tls.CertificateVerificationError)(nil); errors.As(err, &verify) {
			return false, fmt.Errorf("%w; -ca names who is trusted, -insecure trusts any certificate", err)
		}
		return false, err
	}
	report := suite.NewReport(o.selected)
	report.Add(agent, results)
	return o.finish(ctx, report, p)
}

func (o *options) testClients(ctx context.Context) (bool, error) {
	if err := o.prepare(); err != nil {
		return false, err
	}
	ln, err := net.Listen("tcp", o.listen)
	if err != nil {
		return false, err
	}
	defer ln.Close()
	scheme := "ws"
	if o.serTLS != nil {
		scheme = "wss"
	}
	url := scheme + "://" + ln.Addr().String()
	fmt.Fprintf(o.stdout, "listening on %s\n", url)
	p := newProgress(o, len(o.selected))
	t := &suite.Tester{Cases: o.selected, Done: func(_ string, r *suite.Result) { p.done(r) }}
	t.Update = func(string) {
		if err := o.write(o.reportOf(t)); err != nil {
			fmt.Fprintln(o.stderr, "autobahn:", err)
		}
	}
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- t.Serve(serving, ln, o.serTLS) }()
	var clientErr error
	if len(o.command) > 0 {
		args := slices.Clone(o.command)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "{url}", url)
		}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = o.stderr, o.stderr
		if err := cmd.Run(); err != nil {
			clientErr = fmt.Errorf("the client: %w", err)
		}
		cancel()
	}
	err = <-served
	p.end()
	if err != nil {
		return false, err
	}
	report := o.reportOf(t)
	if report.Len() == 0 {
		if clientErr != nil && ctx.Err() == nil {
			return false, clientErr
		}
		return false, errors.New("no client has run a case")
	}
	if len(o.command) == 0 {
		ctx = context.Background() // an interrupt is the usual end
	}
	good, err := o.finish(ctx, report, p)
	if err == nil {
		err = clientErr
	}
	return good, err
}

func (o *options) reportOf(t *suite.Tester) *suite.Report {
	report := suite.NewReport(o.selected)
	for _, agent := range t.Agents() {
		report.Add(agent, t.Results(agent))
	}
	return report
}

func (o *options) write(r *suite.Report) error {
	if o.json != "" {
		if err := r.WriteJSON(o.json); err != nil {
			return err
		}
	}
	if o.outdir != "" {
		return r.WriteFolder(o.outdir)
	}
	return nil
}

// finish prints the table and writes the reports, also of a run that was
// interrupted.
func (o *options) finish(ctx context.Context, r *suite.Report, p *progress) (bool, error) {
	good := r.Table(o.stdout, o.allowed...)
	fmt.Fprintf(o.stdout, "%d cases in %s\n", p.n, p.elapsed().Round(100*time.Millisecond))
	if err := o.write(r); err != nil {
		return false, err
	}
	if o.outdir != "" {
		fmt.Fprintf(o.stdout, "report in %s\n", filepath.Join(o.outdir, "index.html"))
	}
	if ctx.Err() != nil {
		return false, fmt.Errorf("interrupted: %d of %d cases have run", p.n, p.all)
	}
	return good, nil
}

// A progress says on a terminal how far the run is.
type progress struct {
	out    io.Writer // nil: there is no reader
	n, all int
	bad    int
	start  time.Time
}

func newProgress(o *options, all int) *progress {
	p := &progress{all: all, start: time.Now()}
	if file, ok := o.stderr.(*os.File); ok && !o.quiet {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.out = file
		}
	}
	return p
}

// done is called by one goroutine at a time.
func (p *progress) done(r *suite.Result) {
	p.n++
	if !r.Passed() {
		p.bad++
	}
	if p.out != nil {
		fmt.Fprintf(p.out, "\r\033[K%d of %d  %s  %d not OK", p.n, p.all, r.ID, p.bad)
	}
}

func (p *progress) end() {
	if p.out != nil {
		fmt.Fprint(p.out, "\r\033[K")
	}
}

func (p *progress) elapsed() time.Duration { return time.Since(p.start) }

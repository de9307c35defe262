// Command run connects this library with the WebSocket ends that are out there.
// Browsers and other clients meet our server, our client meets other servers,
// and both pass through proxies. It needs what .ci/run installs; whatever is
// missing is a failure.
//
//	npm ci --ignore-scripts --prefix realpeers && go run ./realpeers/run
//
// Everything listens on 127.0.0.1, and has ended when run ends. The exit status
// is 0 only if every case of every peer passed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// An env is what the parts of a run share.
type env struct {
	top      string // the folder realpeers
	dir      string // temporary
	chromium string
	python   string
	peers    string // run only those whose name contains it
	only     string // run only the cases whose name contains it
	verbose  bool
	server   *testServer
	certs    *certificates
	errorLog *log.Logger // of our servers

	passed, failed int
}

func (e *env) js(name string) string     { return filepath.Join(e.top, "js", name) }
func (e *env) py(name string) string     { return filepath.Join(e.top, "py", name) }
func (e *env) module(name string) string { return filepath.Join(e.top, "node_modules", name) }
func (e *env) wanted(name string) bool   { return strings.Contains(name, e.peers) }

func (e *env) startVictim(ctx context.Context) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), victimVariable+"=1")
	return start("victim", cmd)
}

// note prints how n cases with a peer went.
func (e *env) note(peer string, n int, errs []error) {
	for _, err := range errs {
		fmt.Printf("FAIL %s: %s\n", peer, strings.ReplaceAll(err.Error(), "\n", "\n     "))
	}
	if len(errs) == 0 {
		fmt.Printf("%s ok   %s: %d cases\n", time.Now().Format(time.TimeOnly), peer, n)
		e.passed += n
		return
	}
	bad := min(max(n, 1), len(errs))
	e.passed += max(n, 1) - bad
	e.failed += bad
}

func main() {
	if os.Getenv(victimVariable) != "" {
		log.Fatal(runVictim())
	}
	if addr := os.Getenv(farVariable); addr != "" {
		log.Fatal(runFar(addr))
	}
	e := &env{}
	flag.StringVar(&e.top, "dir", "realpeers", "the `folder` with the peers")
	flag.StringVar(&e.chromium, "chromium", "/usr/bin/chromium", "`path` of the browser")
	flag.StringVar(&e.python, "python", "/usr/bin/python3", "`path` of a Python that has the package websockets")
	flag.StringVar(&e.peers, "peers", "", "run only the peers whose name contains this `text`")
	flag.StringVar(&e.only, "cases", "", "run only the cases whose name contains this `text`")
	flag.BoolVar(&e.verbose, "v", false, "print how long each case took")
	limit := flag.Duration("limit", 12*time.Minute, "`time` for everything")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, *limit, fmt.Errorf("not done after %v", *limit))
	defer cancel()
	begin := time.Now()
	if err := e.run(ctx); err != nil {
		e.failed++
		fmt.Println("FAIL", err)
	}
	fmt.Printf("realpeers: %v\n%d passed, %d failed\n", time.Since(begin).Round(time.Second), e.passed, e.failed)
	if e.failed > 0 || e.passed == 0 {
		os.Exit(1)
	}
}

func (e *env) run(ctx context.Context) error {
	var err error
	if e.top, err = filepath.Abs(e.top); err != nil {
		return err
	}
	if e.dir, err = os.MkdirTemp("", "realpeers"); err != nil {
		return err
	}
	defer os.RemoveAll(e.dir)
	if e.certs, err = newCertificates(e.dir); err != nil {
		return err
	}
	// What net/http complains about is expected in places (clients that refuse
	// a certificate); a panic is not.
	complaints := &output{}
	e.errorLog = log.New(complaints, "", 0)
	if e.server, err = newTestServer(os.DirFS(filepath.Join(e.top, "js")), e.certs.good, e.certs.bad, e.errorLog); err != nil {
		return err
	}
	defer e.server.close()
	for _, c := range clients {
		c.test(ctx, e)
	}
	for _, s := range servers {
		s.test(ctx, e)
	}
	for _, p := range proxies {
		p.test(ctx, e)
	}
	testVanish(ctx, e)
	if s := complaints.String(); strings.Contains(s, "panic") || strings.Contains(s, "DATA RACE") {
		return errors.New("our server: " + s)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

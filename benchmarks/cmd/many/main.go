// Command many holds many connections to several servers on one machine, with
// heartbeats and a message a minute on each. It broadcasts to all of them
// through hub, and cuts some to see them come back. It ends with a table, and
// fails if a connection was lost that was not cut.
//
// Server processes share CPU 0, client processes CPU 1, all with GOMAXPROCS=1.
// Each client has one server, which is a plain application of the library and
// its hub. See the README of the benchmarks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 5 && os.Args[1] == "server":
		err = serverMain(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 3 && os.Args[1] == "client":
		err = clientMain(os.Args[2])
	default:
		err = harness(os.Args[1:])
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "many:", err)
		os.Exit(1)
	}
}

func harness(args []string) error {
	c, err := parseFlags(args, os.Stderr)
	if err != nil {
		return err
	}
	if runtime.GOOS != "linux" || runtime.NumCPU() < 2 {
		return errors.New("this needs Linux, and two CPUs: one for the servers and one for the clients")
	}
	available, err := meminfo("MemAvailable")
	if err != nil {
		return err
	}
	files, err := openFiles()
	if err != nil {
		return err
	}
	if err := errors.Join(c.fits(available, files), c.checkBounds(os.ReadFile)); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go watchMemory(ctx, available, cancel)

	r := &run{config: c}
	defer r.stop()
	// A call that waits for a process ends when the process does.
	defer context.AfterFunc(ctx, r.kill)()
	if c.redis {
		if err := r.startRedis(ctx); err != nil {
			return err
		}
	}
	err = r.all(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	table := r.markdown()
	fmt.Print(table)
	if c.out != "" {
		if err := os.WriteFile(c.out, []byte(table), 0o666); err != nil {
			return err
		}
	}
	return r.verdict()
}

// Command echo is a WebSocket server that sends every message back, and a
// client for it.
//
//	go run ./examples/echo                              the server
//	go run ./examples/echo -dial ws://localhost:8081/   the client: it sends the lines of its standard input and prints what comes back
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	addr := flag.String("addr", "localhost:8081", "`address` the server listens on; port 0 takes a free one")
	dial := flag.String("dial", "", "be a client of the server at this `URL`")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(flag.CommandLine.Output(), "echo: unexpected argument %q\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, *addr, *dial, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// run is the client if dial is set, else the server.
func run(ctx context.Context, addr, dial string, in io.Reader, out io.Writer) error {
	if dial != "" {
		return client(ctx, dial, in, out)
	}
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken by another program; choose another port with -addr, or -addr localhost:0 for a free one", addr)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Listening on ws://%s/\n", l.Addr())
	return serve(ctx, l)
}

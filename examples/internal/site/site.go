// Package site is what the programs in examples have in common: the flags, the
// page, the way they start and stop.
package site

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// stopTimeout bounds how long a program takes leave of its clients.
const stopTimeout = 5 * time.Second

// A Program is one example: a page, and what the page talks to.
type Program struct {
	Page   fs.FS                     // holds the folder "page", which is served at /
	Wasm   bool                      // whether the page may run WebAssembly
	Routes map[string]http.Handler   // patterns of [http.ServeMux]; those with a method Shutdown are shut down
	Work   func(ctx context.Context) // if set, runs next to the server, and returns when ctx ends
	Notes  func(url string) string   // if set, returns what to print below the URL

	// Prepare may change the server before it starts, and returns the listener
	// to use in place of l.
	Prepare func(s *http.Server, l net.Listener) net.Listener
}

// Main is the main function of an example. addr is where it listens unless
// -addr says otherwise. The function build is called when the flags have been
// parsed.
func Main(name, addr string, build func() (*Program, error)) {
	flag.StringVar(&addr, "addr", addr, "`address` to listen on; port 0 takes a free one")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(flag.CommandLine.Output(), "%s: unexpected argument %q\n", name, flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	p, err := build()
	if err == nil {
		err = Run(ctx, p, addr, os.Stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Run serves p at addr until ctx ends, and then closes all connections. It
// prints the URL to open to out.
func Run(ctx context.Context, p *Program, addr string, out io.Writer) error {
	l, url, err := Listen(addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Open %s in two windows. Ctrl-C stops.\n", url)
	if p.Notes != nil {
		fmt.Fprint(out, p.Notes(url))
	}
	said := make(chan struct{})
	notSaid := context.AfterFunc(ctx, func() {
		fmt.Fprintln(out, "Stopping.")
		close(said)
	})
	err = Serve(ctx, p, l)
	if !notSaid() {
		<-said
	}
	return err
}

// Listen listens on addr, and returns the URL to open too.
func Listen(addr string) (l net.Listener, url string, err error) {
	l, err = net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, "", fmt.Errorf("%s is taken by another program; choose another port with -addr, "+
			"or -addr localhost:0 for a free one", addr)
	}
	if err != nil {
		return nil, "", err
	}
	return l, PageURL(addr, l.Addr()), nil
}

// Serve serves p on l until ctx ends, and then closes all connections.
func Serve(ctx context.Context, p *Program, l net.Listener) error {
	// The contexts of all requests end when the server begins to stop. So
	// requests that wait, as for a long poll, do not hold it up.
	requests, endRequests := context.WithCancel(context.Background())
	defer endRequests()
	s := &http.Server{
		Handler:           p.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	s.RegisterOnShutdown(endRequests)
	if p.Prepare != nil {
		l = p.Prepare(s, l)
	}
	var unused unusedConns
	unused.watch(s)
	s.RegisterOnShutdown(unused.close)
	var goodbye context.Context // set before the functions of RegisterOnShutdown are called
	var leaving sync.WaitGroup
	for _, h := range p.Routes {
		// http.Server.Shutdown calls the function and goes on; it neither
		// closes nor waits for connections that were upgraded, because they are
		// not net/http's any more.
		if server, ok := h.(interface{ Shutdown(context.Context) error }); ok {
			leaving.Add(1)
			s.RegisterOnShutdown(func() {
				defer leaving.Done()
				server.Shutdown(goodbye) // fails when the time is up: then the connections are ended all the same
			})
		}
	}
	if p.Work != nil {
		work, stopWork := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); p.Work(work) }()
		defer func() { stopWork(); <-ended }()
	}

	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	var cancel context.CancelFunc
	goodbye, cancel = context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := s.Shutdown(goodbye)
	leaving.Wait()
	return err
}

// unusedConns are the connections on which no request has begun. Browsers open
// some in advance. [http.Server.Shutdown] waits for each of them for five
// seconds and more.
type unusedConns struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// watch makes s tell u of its connections. A function that s calls already is
// still called.
func (u *unusedConns) watch(s *http.Server) {
	next := s.ConnState
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			u.add(c)
		} else {
			u.remove(c)
		}
		if next != nil {
			next(c, state)
		}
	}
}

func (u *unusedConns) add(c net.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		c.Close()
		return
	}
	if u.conns == nil {
		u.conns = make(map[net.Conn]struct{})
	}
	u.conns[c] = struct{}{}
}

func (u *unusedConns) remove(c net.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, c)
}

// close closes the connections, and those that come later.
func (u *unusedConns) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for c := range u.conns {
		c.Close()
	}
	u.conns = nil
}

// PageURL returns the URL to open for a server that was asked to listen on addr
// and does so on bound.
func PageURL(addr string, bound net.Addr) string {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	_, port, _ := net.SplitHostPort(bound.String())
	return "http://" + net.JoinHostPort(host, port) + "/"
}

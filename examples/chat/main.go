// Command chat serves one web page on which everybody who opens it chats.
//
//	go run ./examples/chat
//
// Open the printed URL in two windows.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "`address` to listen on; port 0 takes a free one")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(flag.CommandLine.Output(), "chat: unexpected argument %q\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, *addr, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

// run serves the chat at addr until ctx ends, and then takes leave of everybody. It prints the URL to open to out.
func run(ctx context.Context, addr string, out io.Writer) error {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken by another program; choose another port with -addr, or -addr localhost:0 for a free one", addr)
	}
	if err != nil {
		return err
	}
	room := newRoom()
	s := &http.Server{Handler: handler(room), ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintf(out, "Open %s in two windows. Ctrl-C stops.\n", pageURL(addr, l.Addr()))

	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	fmt.Fprintln(out, "Stopping.")
	// The connections of the room are not net/http's any more: Shutdown neither closes them nor waits for them.
	room.close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.Shutdown(ctx)
}

// pageURL returns the URL to open for a server that was asked to listen on addr and does so on bound.
func pageURL(addr string, bound net.Addr) string {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	_, port, _ := net.SplitHostPort(bound.String())
	return "http://" + net.JoinHostPort(host, port) + "/"
}

//go:embed page
var page embed.FS

// handler serves the page at / and the room at /ws.
func handler(room *room) http.Handler {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // "page" is a valid name: cannot be
	}
	static := http.FileServerFS(files)
	mux := http.NewServeMux()
	mux.Handle("/ws", room.handler())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		// The page needs nothing but its own files and the room, so it may have nothing else.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
			"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		static.ServeHTTP(w, r)
	})
	return mux
}

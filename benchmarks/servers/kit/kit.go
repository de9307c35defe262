// Package kit is what the servers under test have in common: flags, listening,
// and the orders that the harness gives on standard input. Each library's own
// server has the code that uses its connections.
package kit

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket/benchmarks/load"
)

// Options are what the harness asks of a server.
type Options struct {
	// Echo is the task of most scenarios. Without it a server calls Triggered
	// for each message that it reads.
	Echo bool
	// Validate asks that text be checked to be UTF-8, as RFC 6455 demands, by
	// the libraries that can and do not by default.
	Validate bool
	// Bare asks a library that can do without net/http not to use it.
	Bare bool
	// Deflate asks for permessage-deflate. If Takeover is set, it asks for
	// context takeover. Where the library lets a program choose, the windows
	// are of 2^WindowBits bytes; 0: its default.
	Deflate, Takeover bool
	WindowBits        int
	// Stay asks for a handler that stays as long as its connection, where the
	// library advises both that and another way.
	Stay bool
	// Typical names a handler other than the library's usual one.
	Typical string

	size, queued, writers int
	broadcast             func(conns []Conn, payload []byte, queued int)
	mu                    sync.Mutex
	conns                 []Conn
}

// Conn is what the scenarios besides the echo need of a library's connection.
type Conn interface {
	// Write sends one binary message. Any number of goroutines may call it.
	Write(p []byte) error
}

// A Server is a library under test. It has a Handler, or a Serve for
// connections straight from the listener, or both: then Options.Bare chooses.
type Server struct {
	Handler func(o *Options) http.Handler
	Serve   func(o *Options, c net.Conn)
	// Broadcast sends payload to each of conns, queued times each, the way the
	// library advises.
	Broadcast func(conns []Conn, payload []byte, queued int)
}

// Main runs the server until its standard input ends. It prints its address
// first.
func Main(s Server) {
	log.SetPrefix(os.Args[0] + ": ")
	o := &Options{broadcast: s.Broadcast}
	task := flag.String("task", "echo", "echo, broadcast or writers")
	flag.BoolVar(&o.Validate, "validate", false, "check that text is UTF-8")
	flag.BoolVar(&o.Bare, "bare", false, "upgrade without net/http")
	flag.IntVar(&o.size, "size", 128, "bytes of a message that the server starts by itself")
	flag.IntVar(&o.queued, "queued", 1, "messages for each connection of a broadcast")
	flag.IntVar(&o.writers, "writers", 64, "goroutines that write to one connection")
	deflate := flag.String("deflate", "", "compress: no-takeover or takeover")
	flag.IntVar(&o.WindowBits, "window", 0, "bits of the windows")
	flag.BoolVar(&o.Stay, "stay", false, "stay in the handler")
	flag.StringVar(&o.Typical, "typical", "", "another handler, by its name in the server")
	useTLS := flag.Bool("tls", false, "serve over TLS")
	flag.Parse()
	o.Echo = *task == "echo"
	o.Deflate, o.Takeover = *deflate != "", *deflate == string(load.Takeover)
	if *task != "broadcast" {
		o.broadcast = nil
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Addr())
	if *useTLS {
		cert, err := load.Certificate()
		if err != nil {
			log.Fatal(err)
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	if s.Handler != nil && (!o.Bare || s.Serve == nil) {
		quiet := log.New(discard{}, "", 0) // connections end in the middle of things here
		go (&http.Server{Handler: s.Handler(o), ErrorLog: quiet}).Serve(l)
	} else {
		go accept(l, func(c net.Conn) { s.Serve(o, c) })
	}
	obey()
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c)
	}
}

// obey carries out the harness's orders, one a line, and answers each with a
// line.
func obey() {
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		order, arg, _ := strings.Cut(orders.Text(), " ")
		var err error
		switch order {
		case "gc": // give back what is not in use, so that RSS shows what is
			for range 2 {
				runtime.GC()
				time.Sleep(10 * time.Millisecond) // finalizers, and goroutines that end
			}
			// FreeOSMemory often left some MB that were free, unless something
			// lay above all other memory before.
			runtime.KeepAlive(make([]byte, 64<<20))
			debug.FreeOSMemory()
		case "profile":
			var f *os.File
			if f, err = os.Create(arg); err == nil {
				err = pprof.StartCPUProfile(f)
			}
		case "endprofile":
			pprof.StopCPUProfile()
		case "memstats": // to standard error
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Fprintf(os.Stderr, "  heap %d KB in %d objects, stacks %d KB\n", m.HeapAlloc/1000, m.HeapObjects, m.StackInuse/1000)
		case "heap":
			var f *os.File
			if f, err = os.Create(arg); err == nil {
				err = pprof.Lookup("heap").WriteTo(f, 0)
				f.Close()
			}
		default:
			err = fmt.Errorf("unknown order %q", order)
		}
		fmt.Println("done", err)
	}
}

// Add tells of a new connection. The servers call it when they do not echo.
func (o *Options) Add(c Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.conns = append(o.conns, c)
}

// Triggered does what a message asks for that came on c: a broadcast to all
// connections, or many goroutines that write to c.
func (o *Options) Triggered(c Conn) {
	payload := load.Payload(o.size, false)
	if o.broadcast != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.broadcast(o.conns, payload, o.queued)
		return
	}
	var all sync.WaitGroup
	for range o.writers {
		all.Go(func() {
			for range load.MessagesPerWriter {
				if err := c.Write(payload); err != nil {
					return
				}
			}
		})
	}
	all.Wait()
}

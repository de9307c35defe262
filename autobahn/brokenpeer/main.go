// Command brokenpeer is an echo server or client that breaks one rule, for
// the comparison of conformance suites. -faults lists the rules.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"

	"github.com/seed70bc5565/websocket/autobahn/internal/broken"
)

func main() {
	log.SetFlags(0)
	addr := flag.String("addr", "127.0.0.1:9001", "`address` to listen on")
	url := flag.String("url", "", "be a client of the fuzzing server at `URL`")
	agent := flag.String("agent", "broken", "`name` of the client in the report")
	fault := flag.String("fault", "none", "the `rule` to break")
	list := flag.Bool("faults", false, "list the rules")
	flag.String("compression", "", "not looked at: the runner passes it")
	flag.String("api", "", "not looked at: the runner passes it")
	flag.Parse()
	if *list {
		for _, f := range broken.Faults {
			fmt.Fprintf(os.Stdout, "%-26s %s\n", f.Name, f.Words)
		}
		return
	}
	if *url != "" {
		if err := broken.RunClient(*url, *agent, *fault); err != nil {
			log.Fatal(err)
		}
		return
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())
	for {
		conn, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go broken.Serve(conn, *fault)
	}
}

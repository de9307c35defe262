// Command echoserver is the server that the Autobahn|Testsuite tests. It prints
// the address it listens on.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/autobahn/internal/echo"
)

func main() {
	log.SetFlags(log.Lmicroseconds)
	addr := flag.String("addr", "127.0.0.1:9001", "`address` to listen on")
	verbose := flag.Bool("v", false, "log how each connection ended")
	options := echo.Flags(flag.CommandLine)
	flag.Parse()
	if flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	handler := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		if err := options.Echo(r.Context(), c); *verbose && err != nil {
			log.Printf("%s: %v", r.RemoteAddr, err)
		}
	}, &websocket.AcceptOptions{
		ReadLimit:            echo.ReadLimit,
		CompressionMode:      options.Compression,
		CompressionThreshold: 1, // the suite's shortest compressible message has 16 bytes
	})
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())
	if err := http.Serve(ln, handler); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

// Command echogorilla is the server that the Autobahn|Testsuite tests through
// the package gorilla. It has the flags of echoserver, in whose place the
// runner takes it with -echoserver, and prints the address it listens on.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/seed70bc5565/websocket/autobahn/internal/echo"
	"github.com/seed70bc5565/websocket/gorilla"
)

func main() {
	log.SetFlags(log.Lmicroseconds)
	addr := flag.String("addr", "127.0.0.1:9001", "`address` to listen on")
	verbose := flag.Bool("v", false, "log how each connection ended")
	compression := flag.String("compression", "disabled", "`mode` of permessage-deflate: disabled, or any other for no context takeover")
	api := flag.String("api", "message", "`calls` to echo with: message (ReadMessage and WriteMessage) or stream (NextReader and NextWriter)")
	flag.Parse()
	loops := map[string]func(*websocket.Conn) error{"message": echoMessage, "stream": echoStream}
	loop, ok := loops[*api]
	if flag.NArg() != 0 || !ok {
		flag.Usage()
		os.Exit(2)
	}
	upgrader := websocket.Upgrader{
		CheckOrigin:       func(*http.Request) bool { return true },
		EnableCompression: *compression != "disabled",
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		c.SetReadLimit(echo.ReadLimit)
		for err == nil {
			err = loop(c)
		}
		if *verbose && !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			log.Printf("%s: %v", r.RemoteAddr, err)
		}
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())
	if err := http.Serve(ln, http.HandlerFunc(handler)); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

func echoMessage(c *websocket.Conn) error {
	typ, p, err := c.ReadMessage()
	if err != nil {
		return err
	}
	return c.WriteMessage(typ, p)
}

// echoStream sends the pieces of one message back as they come.
func echoStream(c *websocket.Conn) error {
	typ, r, err := c.NextReader()
	if err != nil {
		return err
	}
	w, err := c.NextWriter(typ)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

// Command copyloop is the lower floor of the benchmarks: it writes back
// whatever it reads, without a look.
package main

import (
	"net"

	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Serve: serve}) }

func serve(o *kit.Options, c net.Conn) {
	defer c.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

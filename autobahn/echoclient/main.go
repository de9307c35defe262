// Command echoclient is the client that the Autobahn|Testsuite tests. It asks
// the suite's fuzzing server for the number of cases. It runs each on a
// connection of its own, and has the report written.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/autobahn/internal/echo"
)

func main() {
	log.SetFlags(log.Lmicroseconds)
	c := client{}
	flag.StringVar(&c.url, "url", "ws://127.0.0.1:9001", "`URL` of the fuzzing server")
	flag.StringVar(&c.agent, "agent", "websocket-client", "`name` of this client in the report")
	flag.DurationVar(&c.caseTimeout, "case-timeout", 10*time.Minute, "the most `time` for one case")
	flag.BoolVar(&c.verbose, "v", false, "log how each case ended")
	c.options = echo.Flags(flag.CommandLine)
	flag.Parse()
	if flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx); err != nil {
		log.Fatal(err)
	}
}

type client struct {
	url, agent  string
	caseTimeout time.Duration
	verbose     bool
	options     *echo.Options
}

// run plays all cases. That a case fails is for the suite's report to say; run
// fails if there can be no report.
func (c *client) run(ctx context.Context) error {
	n, err := c.caseCount(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask for the number of cases: %w", err)
	}
	for i := 1; i <= n && ctx.Err() == nil; i++ {
		if err := c.runCase(ctx, i); c.verbose && err != nil {
			log.Printf("case number %d: %v", i, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.updateReports(ctx); err != nil {
		return fmt.Errorf("cannot have the report written: %w", err)
	}
	return nil
}

func (c *client) dial(ctx context.Context, path string, query url.Values) (*websocket.Conn, error) {
	conn, _, err := websocket.Dial(ctx, c.url+path+"?"+query.Encode(), &websocket.DialOptions{
		ReadLimit:            echo.ReadLimit,
		CompressionMode:      c.options.Compression,
		CompressionThreshold: 1, // the suite's shortest compressible message has 16 bytes

		CompressionSendWindowBits: 15, // cases 13.3 to 13.6 choose the client's window
	})
	return conn, err
}

func (c *client) caseCount(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := c.dial(ctx, "/getCaseCount", nil)
	if err != nil {
		return 0, err
	}
	defer conn.CloseNow()
	_, msg, err := conn.Read(ctx)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(msg)))
	if err != nil {
		return 0, err
	}
	conn.Close(websocket.StatusNormalClosure, "") // how this connection ends is not under test
	return n, nil
}

func (c *client) runCase(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, c.caseTimeout)
	defer cancel()
	conn, err := c.dial(ctx, "/runCase", url.Values{"case": {strconv.Itoa(i)}, "agent": {c.agent}})
	if err != nil {
		return err
	}
	return c.options.Echo(ctx, conn)
}

// updateReports returns once the fuzzing server has written its report: it
// closes the connection then.
func (c *client) updateReports(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	conn, err := c.dial(ctx, "/updateReports", url.Values{"agent": {c.agent}})
	if err != nil {
		return err
	}
	return c.options.Echo(ctx, conn)
}

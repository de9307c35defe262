package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

type config struct {
	conns      int
	mode       string // events or handler
	redis      bool   // a redis-server joins the hubs
	few        int    // connections that have the small topic
	perServer  int    // connections of one process
	duration   time.Duration
	every      time.Duration
	size       int
	broadcasts int
	cut        int
	out        string
}

// The server needs some more files than one for each connection, and so does
// the client.
const otherFiles = 200

func parseFlags(args []string, usage io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("many", flag.ContinueOnError)
	f.SetOutput(usage)
	f.IntVar(&c.conns, "connections", 100_000, "connections in all")
	f.IntVar(&c.conns, "conns", 100_000, "the same")
	f.StringVar(&c.mode, "mode", "events", "how the servers serve: events (websocket.Events) or handler (websocket.Handler)")
	f.BoolVar(&c.redis, "redis", false, "join the hubs of the servers by a redis-server, which is started")
	f.IntVar(&c.few, "few", 1000, "connections that have a topic of their own")
	f.IntVar(&c.perServer, "per-process", 18_000, "connections of one process at most: they need a file each")
	f.DurationVar(&c.duration, "duration", 2*time.Minute,
		"of the rest with messages; then come half as long without, and the broadcasts")
	f.DurationVar(&c.every, "every", time.Minute, "between two messages of a connection")
	f.IntVar(&c.size, "size", 512, "bytes of a broadcast message")
	f.IntVar(&c.broadcasts, "broadcasts", 5, "how many, one after the other")
	f.IntVar(&c.cut, "cut", 10_000, "connections that are cut at once and dial again")
	f.StringVar(&c.out, "out", "", "file for the table, too")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	switch {
	case f.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case c.conns < 1:
		return c, errors.New("-connections must be at least 1")
	case c.mode != "events" && c.mode != "handler":
		return c, errors.New("-mode must be events or handler")
	case c.perServer < 1:
		return c, errors.New("-per-process must be at least 1")
	case c.duration <= 0 || c.every <= 0:
		return c, errors.New("-duration and -every must be positive")
	case c.size < 12 || c.size > 16<<10:
		return c, errors.New("-size must be 12 to 16384")
	case c.broadcasts < 1:
		return c, errors.New("-broadcasts must be at least 1")
	case c.few < 0 || c.few > c.conns:
		return c, errors.New("-few must be 0 to the number of connections")
	case c.cut < 0 || c.cut > c.conns:
		return c, errors.New("-cut must be 0 to the number of connections")
	}
	if n := len(c.shares(c.conns)); n > 100 {
		return c, fmt.Errorf("%d server processes are too many: they are 100 at most", n)
	}
	return c, nil
}

// shares divides n among the pairs of server and client, which are as few as
// may be.
func (c config) shares(n int) []int {
	pairs := (c.conns + c.perServer - 1) / c.perServer
	all := make([]int, pairs)
	for i := range all {
		all[i] = n*(i+1)/pairs - n*i/pairs
	}
	return all
}

// What a connection is expected to take of the machine's memory, with both ends
// and the kernel's part. Then the share of the available memory that may be
// used.
const (
	bytesEach       = 16 << 10
	bytesEachEvents = 12 << 10
	memShare        = 0.8
)

// each returns what one connection is expected to take.
func (c config) each() int {
	if c.mode == "events" {
		return bytesEachEvents
	}
	return bytesEach
}

// fits says whether the machine can do it.
func (c config) fits(available int64, files uint64) error {
	if most := int(float64(available) * memShare / float64(c.each())); c.conns > most {
		return fmt.Errorf("%d connections need about %d MB with both ends, more than %.0f %% of what is available: "+
			"try -connections %d",
			c.conns, c.conns*c.each()>>20, memShare*100, most)
	}
	if most := int(files) - otherFiles; c.shares(c.conns)[0] > most {
		return fmt.Errorf("a process may have %d files open (ulimit -Hn): try -per-process %d", files, most)
	}
	return nil
}

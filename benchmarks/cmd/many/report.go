package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket/benchmarks/load"
)

// markdown is the table of a run.
func (r *run) markdown() string {
	c := r.config
	n := float64(c.conns)
	var b strings.Builder
	total, _ := meminfo("MemTotal")
	fmt.Fprintf(&b, "%s, %s, %.1f GB of memory\n\n",
		r.start.UTC().Format("2006-01-02"), load.Machine(), float64(total)/1e9)
	fmt.Fprintf(&b, "`%s`, %v in all. %d server processes share CPU 0, %d clients CPU 1, GOMAXPROCS=1.\n\n",
		strings.Join(append([]string{"many"}, os.Args[1:]...), " "), r.took.Round(time.Second),
		len(r.servers), len(r.clients))
	b.WriteString("| | |\n| --- | --- |\n")
	row := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}

	row("connections", "%s, %s to a server process at most",
		count(c.conns), count(slices.Max(c.shares(c.conns))))
	row("to connect all of them", "%s; %s of the servers' CPU each",
		short(r.dial.wall), short(r.dial.cpu/time.Duration(c.conns)))
	each := func(bytes int64) string { return fmt.Sprintf("%.1f KB", float64(bytes)/n/1e3) }
	row("RSS of the servers, per connection, after a garbage collection",
		"**%s**; %s without what the processes had before",
		each(r.collected), each(r.collected-r.base))
	row("of it Go's heap, and stacks", "%s, %s", each(int64(r.heap)), each(int64(r.stacks)))
	row("the same at rest, as it was left by the handshakes", "%s", each(r.asIs))
	row("after the broadcasts; at most", "%s; %s", each(r.after), each(r.peak))
	row("the kernel's objects, per connection with both ends", "%s", each(r.slab))
	row("RSS of the clients, per connection", "%s", each(r.clientRSS))
	row(fmt.Sprintf("the servers' CPU at rest, per 10,000 connections: heartbeats, and a message every %v from each, "+
		"which is sent back", c.every),
		"%s", r.rest.quiet(c.conns))
	row("the same with heartbeats only", "%s", r.idle.quiet(c.conns))
	walls, firsts, cpus := spreads(r.broadcasts)
	row(fmt.Sprintf("a broadcast of %d bytes to all, from the order to the last receipt", c.size),
		"**%s** (%s to %s, of %d)",
		short(walls[1]), short(walls[0]), short(walls[2]), len(r.broadcasts))
	var drops []string
	for _, b := range r.broadcasts {
		drops = append(drops, fmt.Sprintf("%s with %s", short(b.last), count(int(b.drops))))
	}
	row("each of them, and the packets that the kernel dropped and sent again", "%s", strings.Join(drops, ", "))
	if len(r.small) > 0 {
		walls, _, _ := spreads(r.small)
		row(fmt.Sprintf("the same to a topic of %s connections", count(c.few)), "%s (%s to %s)", short(walls[1]), short(walls[0]), short(walls[2]))
	}
	row("from the first receipt to the last", "%s (%s to %s)", short(firsts[1]), short(firsts[0]), short(firsts[2]))
	row("its CPU, of one server process; for one delivery", "%s (%s to %s); %s",
		short(cpus[1]), short(cpus[0]), short(cpus[2]), r.perDelivery())
	if c.cut > 0 {
		row(fmt.Sprintf("%s connections cut at once, until all are back", count(c.cut)),
			"**%s**, with %s packets dropped; %s of the servers' CPU each",
			short(r.storm.wall), count(int(r.storm.drops)), short(r.storm.cpu/time.Duration(c.cut)))
	}
	row("connections lost that were not cut", "%d", r.lost)
	return b.String()
}

// quiet says what the servers have used for every 10,000 connections.
func (s spell) quiet(conns int) string {
	share := s.cpu.Seconds() / s.wall.Seconds() / (float64(conns) / 10_000)
	return fmt.Sprintf("**%.4f s per second**, in %s with %s messages and %s pings",
		share, short(s.wall), count(int(s.echoed)), count(int(s.pings)))
}

// spreads returns the least, the median and the most of the broadcasts' times,
// and of the CPU time of one process.
func spreads(all []broadcast) (walls, between, cpus [3]time.Duration) {
	var w, f, c []time.Duration
	for _, b := range all {
		w, f, c = append(w, b.last), append(f, b.last-b.first), append(c, b.each...)
	}
	return spread(w), spread(f), spread(c)
}

func spread(v []time.Duration) [3]time.Duration {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return [3]time.Duration{}
	}
	return [3]time.Duration{v[0], (v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[len(v)-1]}
}

func (r *run) perDelivery() string {
	var all []time.Duration
	for _, b := range r.broadcasts {
		all = append(all, b.cpu/time.Duration(r.config.conns))
	}
	return short(spread(all)[1])
}

// short rounds a duration to three digits.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(time.Millisecond / 10).String()
	}
	return d.Round(time.Microsecond / 10).String()
}

// count writes n with commas.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

package h2peer

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// measure compares HTTP/2 with HTTP/1.1: go test -run Measure -v . -args
// -measure
var measure = flag.Bool("measure", false, "measure memory and speed against HTTP/1.1")

const serverEnv = "H2PEER_SERVER"

// A usage is what the server process tells of itself.
type usage struct {
	Memory     uint64  // bytes of heap and stacks in use, after a collection
	Stacks     uint64  // of Memory
	RSS        uint64  // bytes that the process has of the machine
	CPU        float64 // seconds
	Goroutines int
}

func usageNow() (u usage) {
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Memory, u.Stacks, u.Goroutines = m.HeapAlloc+m.StackInuse, m.StackInuse, runtime.NumGoroutine()
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		var total, resident uint64
		fmt.Sscan(string(b), &total, &resident)
		u.RSS = resident * uint64(os.Getpagesize())
	}
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	u.CPU = float64(r.Utime.Sec+r.Stime.Sec) + float64(r.Utime.Usec+r.Stime.Usec)/1e6
	return u
}

// TestMeasureServer is the server of TestMeasure, in a process of its own. It
// prints the addresses of its two listeners, and ends with its input.
func TestMeasureServer(t *testing.T) {
	if os.Getenv(serverEnv) == "" {
		t.Skip("not asked for")
	}
	mux := http.NewServeMux()
	mux.Handle("/", websocket.Handler(echo, nil))
	mux.HandleFunc("/usage", func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(usageNow()) })
	var urls []string
	for _, secure := range []bool{false, true} {
		s := httptest.NewUnstartedServer(mux)
		s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 2000}
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(true)
		if secure {
			s.Config.Protocols.SetHTTP2(true)
			s.EnableHTTP2 = true
			s.StartTLS()
		} else {
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.Start()
		}
		urls = append(urls, s.Listener.Addr().String())
	}
	fmt.Println("listening", strings.Join(urls, " "))
	io.Copy(io.Discard, os.Stdin)
}

// A measured is the server process.
type measured struct {
	t     *testing.T
	addrs []string // in the clear, by TLS
}

func startMeasured(t *testing.T) *measured {
	cmd := exec.Command(os.Args[0], "-test.run", "^TestMeasureServer$")
	cmd.Env = append(os.Environ(), serverEnv+"=1")
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	br := bufio.NewReader(out)
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if rest, ok := strings.CutPrefix(line, "listening "); ok {
			go io.Copy(io.Discard, br)
			return &measured{t, strings.Fields(rest)}
		}
	}
}

func (m *measured) usage() (u usage) {
	resp, err := http.Get("http://" + m.addrs[0] + "/usage")
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&u); err != nil {
		m.t.Fatal(err)
	}
	return u
}

// open opens n WebSockets: over HTTP/1.1, or as streams of HTTP/2 connections
// with at most each.
func (m *measured) open(n int, h2, secure bool, each int) (conns []net.Conn, end func()) {
	addr, config := m.addrs[0], (*tls.Config)(nil)
	if secure {
		addr, config = m.addrs[1], &tls.Config{InsecureSkipVerify: true}
	}
	var peers []*Peer
	for i := range n {
		if h2 {
			if i%each == 0 {
				p, err := Dial(addr, config, Window)
				if err != nil {
					m.t.Fatal(err)
				}
				peers = append(peers, p)
			}
			conns = append(conns, peers[len(peers)-1].open(m.t))
			continue
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			m.t.Fatal(err)
		}
		if secure {
			config.NextProtos = []string{"http/1.1"}
			conn = tls.Client(conn, config)
		}
		io.WriteString(conn, wstest.Request("/", "example.com"))
		br := bufio.NewReader(conn)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 101 {
			m.t.Fatal(resp, err)
		}
		conns = append(conns, conn)
	}
	return conns, func() {
		for _, c := range conns {
			if !h2 {
				c.Close()
			}
		}
		for _, p := range peers {
			p.Close()
		}
	}
}

// exchange sends a message of size bytes over each connection, burst at a time,
// waits for their echoes, and does so rounds times. It returns the time of a
// round trip, and the server's seconds of CPU for a message.
func (m *measured) exchange(conns []net.Conn, size, burst, rounds int) (rtt time.Duration, cpu float64) {
	frame := wstest.Encode(wstest.Client, wstest.Final(wstest.Binary, strings.Repeat("x", size)))
	frame = bytes.Repeat(frame, burst)
	answer := len(wstest.Encode(wstest.Server, wstest.Final(wstest.Binary, strings.Repeat("x", size)))) * burst
	before := m.usage()
	start := time.Now()
	var wg sync.WaitGroup
	for _, c := range conns {
		c.SetDeadline(time.Time{})
		wg.Go(func() {
			buf := make([]byte, answer)
			for range rounds {
				if _, err := c.Write(frame); err != nil {
					m.t.Error(err)
					return
				}
				if _, err := io.ReadFull(c, buf); err != nil {
					m.t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	rtt = time.Since(start) / time.Duration(rounds)
	return rtt, (m.usage().CPU - before.CPU) / float64(len(conns)*burst*rounds)
}

// The ratios are of rounds that alternate: the machine's speed changes from one
// minute to the next.
func TestMeasure(t *testing.T) {
	if !*measure {
		t.Skip("not asked for: -args -measure")
	}
	m := startMeasured(t)
	name := map[bool]string{false: "in the clear", true: "TLS"}
	const many = 2000
	for _, secure := range []bool{false, true} {
		for _, h2 := range []bool{false, true} {
			for _, traffic := range []bool{false, true} {
				before := m.usage()
				conns, end := m.open(many, h2, secure, 1000)
				if traffic {
					for range 2 {
						m.exchange(conns[:many], 100, 1, 1)
					}
				}
				time.Sleep(200 * time.Millisecond)
				u := m.usage()
				t.Logf("memory, %s, HTTP/2 %v, messages %v: %d bytes of heap and stacks (stacks %d), %d of RSS, %.1f goroutines a connection", name[secure], h2, traffic,
					(int(u.Memory)-int(before.Memory))/many, (int(u.Stacks)-int(before.Stacks))/many, (int(u.RSS)-int(before.RSS))/many, float64(u.Goroutines-before.Goroutines)/many)
				end()
				time.Sleep(500 * time.Millisecond)
			}
		}
	}
	for _, secure := range []bool{false, true} {
		for _, tt := range []struct {
			conns, size, burst, rounds int
		}{{1, 100, 1, 3000}, {50, 100, 1, 100}, {50, 100, 32, 20}, {8, 100_000, 1, 20}} {
			one, end1 := m.open(tt.conns, false, secure, 0)
			two, end2 := m.open(tt.conns, true, secure, 1000)
			var rtts, cpus []float64
			var rtt1, rtt2 time.Duration
			var cpu1, cpu2 float64
			for range 7 {
				rtt1, cpu1 = m.exchange(one, tt.size, tt.burst, tt.rounds)
				rtt2, cpu2 = m.exchange(two, tt.size, tt.burst, tt.rounds)
				rtts, cpus = append(rtts, float64(rtt2)/float64(rtt1)), append(cpus, cpu2/cpu1)
			}
			slices.Sort(rtts)
			slices.Sort(cpus)
			t.Logf("%s, %d connections, %d bytes, %d at a time: server's CPU a message %.2f (%.2f to %.2f) times that of HTTP/1.1 (last: %.1f and %.1f µs), time %.2f (%.2f to %.2f) (last: %v and %v)",
				name[secure], tt.conns, tt.size, tt.burst, cpus[3], cpus[0], cpus[6], cpu2*1e6, cpu1*1e6, rtts[3], rtts[0], rtts[6], rtt2, rtt1)
			end1()
			end2()
		}
	}
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/wsjson"
)

// nodeVariable is the environment variable that makes a node of the test's own
// program.
const nodeVariable = "CLUSTER_TEST_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(nodeVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// startEngine starts a real engine for the time of the test, and returns its
// address.
func startEngine(t *testing.T, engine string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	dir := t.TempDir()
	args := []string{"nats-server", "-a", "127.0.0.1", "-p", port, "-js", "-sd", dir}
	if engine == "redis" {
		args = []string{"redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", ""}
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		if os.Getenv("WEBSOCKET_SKIP_MISSING_BROKERS") != "" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return addr
		}
		if time.Since(begin) > time.Minute {
			t.Fatal(err)
		}
	}
}

// startNode starts a node in a process of its own, and returns its address, and
// what kills it.
func startNode(t *testing.T, name, engine, url string) (addr string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-engine", engine, "-url", url, "-addr", "127.0.0.1:0", "-node", name)
	cmd.Env = append(os.Environ(), nodeVariable+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() { cmd.Process.Kill(); cmd.Wait() }
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	found := regexp.MustCompile(`http://([^/]+)/`).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("the node said %q, %v", line, err)
	}
	return found[1], kill
}

// A node is killed while its pages listen: they come back to the other one, and
// have each message once, in order. Who is here is right again within 15 s.
func TestNodeKilled(t *testing.T) {
	for _, engine := range []string{"redis", "jetstream"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			url := startEngine(t, engine)
			if engine != "redis" {
				url = "nats://" + url
			}
			a, killA := startNode(t, "A", engine, url)
			b, _ := startNode(t, "B", engine, url)
			way := httptest.NewServer(front([]string{a, b}).Handler())
			defer way.Close()

			bob := visit(t, "http://"+b, "Bob", "")
			bob.next(func(e event) bool { return e.Type == "hello" })
			go func() { // or he is too slow
				for _, err := range bob.c.Messages(context.Background()) {
					if err != nil {
						return
					}
				}
			}()
			// Ada comes through the balancer until she is on the node that will
			// be killed.
			var ada *visitor
			for ada == nil {
				v := visit(t, way.URL, "Ada", "")
				if hello := v.next(func(e event) bool { return e.Type == "hello" }); hello.Node == "A" {
					ada = v
				} else {
					v.c.CloseNow()
				}
			}
			const messages = 600
			go func() {
				for i := range messages {
					wsjson.Write(t.Context(), bob.c, map[string]string{"text": strconv.Itoa(i)})
					time.Sleep(5 * time.Millisecond)
				}
			}()

			var got []string
			var position string
			resumed := 0
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			for len(got) < messages && ctx.Err() == nil {
				var e event
				if err := wsjson.Read(ctx, ada.c, &e); err != nil {
					if ada = comeBack(ctx, t, way.URL, position); ada == nil {
						break
					}
					continue
				}
				switch e.Type {
				case "hello":
					if !e.Resumed || e.Node != "B" {
						t.Errorf("came back: %+v", e)
					}
					resumed++
				case "message":
					got, position = append(got, e.Text), e.Position
					if len(got) == 100 {
						killA()
					}
				}
			}
			want := make([]string, messages)
			for i := range want {
				want[i] = strconv.Itoa(i)
			}
			if !slices.Equal(got, want) || resumed != 1 {
				t.Fatalf("came back %d times; got %d messages: %q", resumed, len(got), got)
			}
			begin := time.Now()
			after := visit(t, way.URL, "Eve", "")
			after.next(func(e event) bool { return e.Type == "hello" })
			for !slices.Equal(names(after.people), []string{"Ada on B", "Bob on B", "Eve on B"}) {
				after.next(func(event) bool { return true })
			}
			if d := time.Since(begin); d > 15*time.Second {
				t.Errorf("node A was gone after %v", d)
			}
		})
	}
}

// comeBack connects Ada again, as often as it takes.
func comeBack(ctx context.Context, t *testing.T, url, after string) *visitor {
	for ctx.Err() == nil {
		c, _, err := websocket.Dial(ctx, fmt.Sprintf("%s/ws?name=Ada&after=%s", url, after), nil)
		if err == nil {
			t.Cleanup(func() { c.CloseNow() })
			return &visitor{t: t, c: c}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

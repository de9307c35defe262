package suite

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// upgrade writes the request of a client.
func upgrade(t *testing.T, conn net.Conn, target string) {
	t.Helper()
	_, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
}

// A pipeListener hands out the ends of pipes until it is closed.
type pipeListener struct{ conns chan net.Conn }

func (l *pipeListener) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
func (l *pipeListener) Close() error {
	close(l.conns)
	return nil
}

// A client that ends while a case is judged does not lose the case: Serve
// waits for its verdict. It does not wait without end, and what comes later is
// not reported.
func TestServeWaitsForVerdicts(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ln := &pipeListener{make(chan net.Conn, 1)}
			cases, err := Select(Cases(), "6.4.1", "") // the suite sends for two seconds
			if err != nil {
				t.Fatal(err)
			}
			tester := &Tester{Cases: cases}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error)
			go func() { served <- tester.Serve(ctx, ln, nil) }()
			mine, its := net.Pipe()
			ln.conns <- its
			upgrade(t, mine, "/runCase?case=1&agent=a")
			if _, err := http.ReadResponse(bufio.NewReader(mine), nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			go io.Copy(io.Discard, mine)
			if leaves {
				time.AfterFunc(time.Second/2, func() { mine.Close() })
			}
			cancel()
			start := time.Now()
			if err := <-served; err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > straggling {
				t.Errorf("Serve took %v to end", took)
			}
			if got := tester.Results("a")[0]; (got != nil) != leaves {
				t.Errorf("the client leaves: %v; the result is %v", leaves, got)
			}
			mine.Close()
			synctest.Wait()
			if got := tester.Results("a")[0]; (got != nil) != leaves {
				t.Errorf("a verdict came after Serve: %v", got)
			}
		})
	}
}

// A client asks for its report while the suite still plays its last case: the
// report has that case.
func TestUpdateWaitsForVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &pipeListener{make(chan net.Conn, 2)}
		tester := &Tester{}
		seen := -1
		tester.Update = func(agent string) {
			seen = 0
			for _, r := range tester.Results(agent) {
				if r != nil {
					seen++
				}
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- tester.Serve(ctx, ln, nil) }()
		for _, target := range []string{"/runCase?case=1&agent=a", "/updateReports?agent=a"} {
			mine, its := net.Pipe()
			ln.conns <- its
			upgrade(t, mine, target)
			if _, err := http.ReadResponse(bufio.NewReader(mine), nil); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Second/2, func() { mine.Close() })
			synctest.Wait()
		}
		time.Sleep(time.Second)
		cancel()
		if err := <-served; err != nil || seen != 1 {
			t.Errorf("the report has %d cases, Serve returns %v", seen, err)
		}
	})
}

// The function of a test of a client may end its goroutine, as t.Fatal does, or
// never connect. The other cases run, and nothing is waited for.
func TestClientFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := returned(func() error { runtime.Goexit(); return nil }); err == nil {
			t.Error("a function that did not return has no error")
		}
		if err := returned(func() error { return io.EOF }); err != io.EOF {
			t.Error("the error of a function became", err)
		}
		tester := &Tester{}
		if r := tester.verdict(t.Context(), "1.1.1", "1.1.1"); r != nil || time.Since(start) > 0 {
			t.Errorf("after %v: %v", time.Since(start), r)
		}
	})
}

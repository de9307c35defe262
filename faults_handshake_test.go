package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/faultconn"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/poison"
)

// The opening handshake over a transport that fails at its n-th call, in front of the client or of the server, and an
// echo behind it. Dial returns a connection or an error, never both or none, and leaves nothing behind; a handler is
// called once at most.
func TestHandshakeFaults(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		for _, mode := range []CompressionMode{CompressionDisabled, CompressionContextTakeover} {
			for _, kind := range faultconn.Kinds {
				t.Run(fmt.Sprintf("%s/%v/%v", side, mode, kind), func(t *testing.T) {
					if !poison.On { // else buffers are counted
						t.Parallel()
					}
					failed := 0
					for _, readMax := range []int{0, 11} {
						for at := 0; ; at++ {
							plan := faultconn.Plan{Kind: kind, At: at, ReadMax: readMax}
							met, dialErr := runHandshakeFault(t, side == "client", mode, plan)
							if dialErr != nil {
								failed++
							}
							if t.Failed() {
								t.Fatalf("at call %d, reads of %d", at, readMax)
							}
							if !met {
								break
							}
						}
					}
					if failed == 0 && kind != faultconn.Delay {
						t.Error("no handshake failed: that tests nothing")
					}
				})
			}
		}
	}
}

// runHandshakeFault runs one handshake and an echo, and reports whether they met the fault, and the error of Dial.
func runHandshakeFault(t *testing.T, atClient bool, mode CompressionMode, plan faultconn.Plan) (met bool, dialErr error) {
	synctest.Test(t, func(t *testing.T) {
		defer buffersReturn(t)()
		var fault *faultconn.Conn
		var both []*netfake.Conn // the ends of the transport
		accepted := 0
		l := &pipeListener{make(chan net.Conn), make(chan struct{})}
		dials := 0
		dialer := func(context.Context, string, string) (net.Conn, error) {
			near, far := netfake.Pipe(netfake.Options{})
			dials++
			both = append(both, near, far)
			var client, server net.Conn = near, far
			if atClient {
				fault = faultconn.New(near, plan)
				client = fault
			} else {
				fault = faultconn.New(far, plan)
				server = fault
			}
			l.conns <- server
			return client, nil
		}
		var mu sync.Mutex
		var served []error
		var serving sync.WaitGroup
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			serving.Add(1)
			defer serving.Done()
			c, err := Accept(w, r, &AcceptOptions{CompressionMode: mode, CompressionThreshold: -1})
			if err == nil {
				accepted++
				err = echo(c)
				c.CloseNow()
			} else if !strings.HasPrefix(err.Error(), "websocket: ") || c != nil {
				t.Errorf("Accept = %v, %v", c, err)
			}
			mu.Lock()
			served = append(served, err)
			mu.Unlock()
		})
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 20 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
		go server.Serve(l)
		tr := &http.Transport{DialContext: dialer}

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, resp, err := Dial(ctx, "ws://example.com/", &DialOptions{
			HTTPClient: &http.Client{Transport: tr}, CompressionMode: mode, CompressionThreshold: -1,
		})
		dialErr = err
		switch {
		case (c == nil) != (err != nil):
			t.Errorf("Dial = %v, %v", c, err)
		case err != nil && !strings.HasPrefix(err.Error(), "websocket: dial: "):
			t.Errorf("Dial's error does not say whose it is: %v", err)
		case err != nil && errors.Is(err, io.EOF) && atClient && plan.Kind != faultconn.HalfClose && plan.Kind != faultconn.Timeout:
			t.Errorf("Dial's error is the end of the connection: %v", err)
		case err != nil && atClient && plan.Kind == faultconn.Fail && plan.ReadMax == 0 && !errors.Is(err, faultconn.Err):
			// With half of a response net/http tells of that in its place.
			t.Errorf("Dial's error does not match the transport's: %v", err)
		case err == nil && (resp == nil || resp.StatusCode != http.StatusSwitchingProtocols):
			t.Errorf("Dial's response: %v", resp)
		}
		if c != nil {
			e := &end{t: t, c: c, side: "client", kind: plan.Kind, shorter: 1}
			for _, n := range []int{5, 6000} {
				e.write(e.text(n))
				e.read(e.text(n))
			}
			e.close()
			if e.failed != nil && (fault == nil || !fault.Struck() || plan.Kind == faultconn.Delay) {
				t.Errorf("without a fault: %v", e.failed)
			}
			c.CloseNow()
		}
		tr.CloseIdleConnections()
		server.Close()
		serving.Wait()
		time.Sleep(time.Minute) // timers of net/http's
		synctest.Wait()
		if len(served) > 1 || dials != 1 {
			t.Errorf("%d dials, %d handlers: %v", dials, len(served), served)
		}
		for i, conn := range both {
			if conn.SetReadDeadline(time.Time{}) == nil {
				t.Errorf("end %d of the transport is not closed: Dial %v, handlers %v", i, dialErr, served)
			}
		}
		if dialErr != nil && accepted > 0 && !atClient && (plan.Kind == faultconn.Fail || plan.Kind == faultconn.Timeout) {
			t.Errorf("the response did not get out, and Accept returned a connection: Dial %v, handlers %v", dialErr, served)
		}
		met = fault.Struck()
		if !met && (dialErr != nil || len(served) != 1 || served[0] != nil) {
			t.Errorf("without a fault: Dial %v, handlers %v", dialErr, served)
		}
	})
	return met, dialErr
}

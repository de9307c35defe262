package streams

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/quic"

	"github.com/seed70bc5565/websocket"
)

// A quicConn is a stream of QUIC as a net.Conn with deadlines.
type quicConn struct {
	*quic.Stream
	conn    *quic.Conn
	in, out deadline
}

func (c *quicConn) Read(p []byte) (int, error) {
	ctx := c.in.context()
	c.SetReadContext(ctx)
	n, err := c.Stream.Read(p)
	if n == 0 && ctx.Err() != nil {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func (c *quicConn) Write(p []byte) (int, error) {
	ctx := c.out.context()
	c.SetWriteContext(ctx)
	n, err := c.Stream.Write(p)
	if err == nil {
		err = c.Flush()
	}
	if n < len(p) && ctx.Err() != nil {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// Close does not wait for the peer, as that of the stream does.
func (c *quicConn) Close() error {
	c.CloseWrite()
	c.CloseRead()
	return nil
}

func (c *quicConn) LocalAddr() net.Addr                { return net.UDPAddrFromAddrPort(c.conn.LocalAddr()) }
func (c *quicConn) RemoteAddr() net.Addr               { return net.UDPAddrFromAddrPort(c.conn.RemoteAddr()) }
func (c *quicConn) SetReadDeadline(t time.Time) error  { c.in.set(t); return nil }
func (c *quicConn) SetWriteDeadline(t time.Time) error { c.out.set(t); return nil }

func (c *quicConn) SetDeadline(t time.Time) error {
	c.in.set(t)
	c.out.set(t)
	return nil
}

// A deadline is a context that can be put off.
type deadline struct {
	mu     sync.Mutex
	ctx    context.Context // guarded by mu, as what follows
	cancel context.CancelFunc
	timer  *time.Timer
}

func (d *deadline) context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx == nil {
		d.ctx, d.cancel = context.WithCancel(context.Background())
	}
	return d.ctx
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.ctx == nil || d.ctx.Err() != nil {
		d.ctx, d.cancel = context.WithCancel(context.Background())
	}
	if t.IsZero() {
		return
	}
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, d.cancel)
	} else {
		d.cancel()
	}
}

// quicPair returns the two ends of a QUIC connection over UDP.
func quicPair(t *testing.T) (client, server *quic.Conn) {
	t.Helper()
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS()
	defer certified.Close()
	listen := func() *quic.Endpoint {
		e, err := quic.Listen("udp", "127.0.0.1:0", &quic.Config{TLSConfig: &tls.Config{
			Certificates: certified.TLS.Certificates, NextProtos: []string{"test"}, MinVersion: tls.VersionTLS13,
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			e.Close(ctx)
		})
		return e
	}
	there, here := listen(), listen()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	accepted := make(chan *quic.Conn, 1)
	go func() {
		c, err := there.Accept(ctx)
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	client, err := here.Dial(ctx, "udp", there.LocalAddr().String(), &quic.Config{TLSConfig: &tls.Config{
		RootCAs: certified.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com", NextProtos: []string{"test"}, MinVersion: tls.VersionTLS13,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return client, <-accepted
}

// Several WebSockets are streams of one QUIC connection.
func TestQUIC(t *testing.T) {
	client, server := quicPair(t)
	for _, how := range ends {
		t.Run(how, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			served := make(chan error, 1)
			go func() {
				s, err := server.AcceptStream(ctx)
				if err != nil {
					served <- err
					return
				}
				c, err := accept(&quicConn{Stream: s, conn: server})
				if err != nil {
					served <- err
					return
				}
				served <- echo(c)
			}()
			s, err := client.NewStream(ctx)
			if err != nil {
				t.Fatal(err)
			}
			c, _, err := websocket.DialConn(ctx, &quicConn{Stream: s, conn: client}, "ws://inside/", &websocket.DialOptions{
				CompressionMode: websocket.CompressionContextTakeover,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			// The stream has deadlines: a read that is cancelled loses nothing.
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			if _, _, err := c.Read(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Read: %v", err)
			}
			checkEcho(t, c)
			checkEnd(t, c, how)
			wantEnd(t, served, how)
		})
	}
}

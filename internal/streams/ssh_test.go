package streams

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
)

// An sshConn is a channel of SSH as a net.Conn. It has no deadlines, as the
// net.Conns of x/crypto/ssh have none.
type sshConn struct {
	ssh.Channel
}

func (sshConn) LocalAddr() net.Addr              { return sshAddr{} }
func (sshConn) RemoteAddr() net.Addr             { return sshAddr{} }
func (sshConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (sshConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (sshConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

type sshAddr struct{}

func (sshAddr) Network() string { return "ssh" }
func (sshAddr) String() string  { return "channel" }

// sshPair returns the client of an SSH connection over near and far, and the
// channels that the client opens. Where the client listens at the server, each
// value that is sent to dials makes echo connect.
func sshPair(t *testing.T, near, far net.Conn) (client *ssh.Client, channels <-chan net.Conn, dials chan<- struct{}) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	accepted, asked := make(chan net.Conn), make(chan struct{})
	go func() {
		defer close(accepted)
		server, opened, requests, err := ssh.NewServerConn(far, config)
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		go serveForwards(server, requests, asked)
		for n := range opened {
			channel, requests, err := n.Accept()
			if err != nil {
				continue
			}
			go ssh.DiscardRequests(requests)
			accepted <- sshConn{channel}
		}
	}()
	conn, opened, requests, err := ssh.NewClientConn(near, "server", &ssh.ClientConfig{
		User:            "user",
		HostKeyCallback: ssh.FixedHostKey(signer.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	client = ssh.NewClient(conn, opened, requests)
	t.Cleanup(func() {
		close(asked)
		client.Close()
		for conn := range accepted {
			conn.Close()
		}
	})
	return client, accepted, asked
}

// serveForwards lets a client listen at the server. Each value of asked makes
// echo a client of the listener.
func serveForwards(server *ssh.ServerConn, requests <-chan *ssh.Request, asked <-chan struct{}) {
	for r := range requests {
		var at struct {
			Addr string
			Port uint32
		}
		if r.Type != "tcpip-forward" || ssh.Unmarshal(r.Payload, &at) != nil {
			r.Reply(r.Type == "cancel-tcpip-forward", nil)
			continue
		}
		r.Reply(true, nil)
		go func() {
			for range asked {
				channel, requests, err := server.OpenChannel("forwarded-tcpip", ssh.Marshal(struct {
					Addr       string
					Port       uint32
					OriginAddr string
					OriginPort uint32
				}{at.Addr, at.Port, "127.0.0.1", 1234}))
				if err != nil {
					return
				}
				go ssh.DiscardRequests(requests)
				go func() {
					c, _, err := websocket.DialConn(context.Background(), sshConn{channel}, "ws://inside/", nil)
					if err == nil {
						echo(c)
					}
				}()
			}
		}()
	}
}

func tcpPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// Several WebSockets are channels of one SSH connection, through each door.
func TestSSH(t *testing.T) {
	near, far := tcpPair(t)
	client, channels, _ := sshPair(t, near, far)
	compressed := &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover}
	for _, how := range ends {
		for _, door := range []struct {
			name  string
			dial  func(ctx context.Context) (*websocket.Conn, error)
			serve func(conn net.Conn) (*websocket.Conn, error)
		}{
			{"DialConn and AcceptConn", func(ctx context.Context) (*websocket.Conn, error) {
				conn, err := client.Dial("tcp", "127.0.0.1:80")
				if err != nil {
					return nil, err
				}
				c, _, err := websocket.DialConn(ctx, conn, "ws://inside/chat", compressed)
				return c, err
			}, accept},
			{"Dial through the tunnel", func(ctx context.Context) (*websocket.Conn, error) {
				opts := *compressed
				opts.HTTPClient = &http.Client{Transport: &http.Transport{
					DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
						return client.DialContext(ctx, network, "127.0.0.1:80")
					},
				}}
				c, _, err := websocket.Dial(ctx, "ws://inside/chat", &opts)
				return c, err
			}, accept},
			{"NewConn", func(context.Context) (*websocket.Conn, error) {
				channel, requests, err := client.OpenChannel("websocket", nil)
				if err != nil {
					return nil, err
				}
				go ssh.DiscardRequests(requests)
				return websocket.NewConn(sshConn{channel}, &websocket.ConnOptions{Client: true, Extensions: "permessage-deflate"})
			}, func(conn net.Conn) (*websocket.Conn, error) {
				return websocket.NewConn(conn, &websocket.ConnOptions{Extensions: "permessage-deflate"})
			}},
		} {
			t.Run(door.name+"/"+how, func(t *testing.T) {
				served := make(chan error, 1)
				go func() {
					c, err := door.serve(<-channels)
					if err != nil {
						served <- err
						return
					}
					served <- echo(c)
				}()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				c, err := door.dial(ctx)
				if err != nil {
					t.Fatal(err)
				}
				defer c.CloseNow()
				if got := c.ConnectionState().Extensions; got == "" {
					t.Error("not compressed")
				}
				checkEcho(t, c)
				checkEnd(t, c, how)
				wantEnd(t, served, how)
			})
		}
	}
}

func accept(conn net.Conn) (*websocket.Conn, error) {
	c, _, err := websocket.AcceptConn(context.Background(), conn, &websocket.AcceptOptions{
		CompressionMode: websocket.CompressionContextTakeover,
	})
	return c, err
}

// A server behind a firewall listens at an SSH server. It needs AcceptConn: in
// net/http, Hijack of a connection without deadlines waits for the client's
// next byte.
func TestSSHListener(t *testing.T) {
	near, far := tcpPair(t)
	client, _, dials := sshPair(t, near, far)
	l, err := client.Listen("tcp", "127.0.0.1:8001")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 2 {
		dials <- struct{}{}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c, err := accept(conn)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		checkEcho(t, c)
		checkEnd(t, c, "close")
	}
}

// Refusals reach the client through a channel, and end it.
func TestSSHRefused(t *testing.T) {
	near, far := tcpPair(t)
	client, channels, _ := sshPair(t, near, far)
	failed := make(chan error, 1)
	go func() {
		_, _, err := websocket.AcceptConn(context.Background(), <-channels, nil)
		failed <- err
	}()
	conn, err := client.Dial("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = websocket.DialConn(t.Context(), conn, "ws://inside/", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}})
	var refused *websocket.HandshakeError
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusForbidden {
		t.Errorf("DialConn: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("AcceptConn has no error")
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the channel is open")
	}
}

// A channel has no deadlines. An interruption that must end a call ends the
// connection, in time.
func TestSSHBounds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		peer  func(conn net.Conn) // after the handshake
		opts  *websocket.ConnOptions
		do    func(t *testing.T, c *websocket.Conn) error
		takes time.Duration
		want  error
	}{
		{"a read whose context ends", nil, nil, func(t *testing.T, c *websocket.Conn) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, _, err := c.Read(ctx)
			return err
		}, time.Second, context.DeadlineExceeded},
		{"a write that the peer does not take", nil, nil, func(t *testing.T, c *websocket.Conn) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return c.Write(ctx, websocket.MessageBinary, make([]byte, 100<<20))
		}, time.Second, context.DeadlineExceeded},
		{"a peer without life", nil, &websocket.ConnOptions{PingInterval: 20 * time.Second, PongTimeout: 5 * time.Second}, func(t *testing.T, c *websocket.Conn) error {
			_, _, err := c.Read(t.Context())
			return err
		}, 25 * time.Second, websocket.ErrPongTimeout},
		{"a close that the peer does not answer", nil, nil, func(t *testing.T, c *websocket.Conn) error {
			return c.Close(websocket.StatusNormalClosure, "")
		}, 5 * time.Second, context.DeadlineExceeded},
		{"the end of the channel", func(conn net.Conn) { conn.Close() }, nil, func(t *testing.T, c *websocket.Conn) error {
			_, _, err := c.Read(t.Context())
			return err
		}, 0, io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := netfake.Pipe(netfake.Options{})
				client, channels, _ := sshPair(t, near, far)
				conn, err := client.Dial("tcp", "127.0.0.1:80")
				if err != nil {
					t.Fatal(err)
				}
				peer := <-channels
				defer peer.Close()
				if tt.peer != nil {
					tt.peer(peer)
				}
				c, err := websocket.NewConn(conn, tt.opts)
				if err != nil {
					t.Fatal(err)
				}
				defer c.CloseNow()
				start := time.Now()
				err = tt.do(t, c)
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if took := time.Since(start); took < tt.takes/2 || took > tt.takes+time.Second {
					t.Errorf("it took %v, want %v", took, tt.takes)
				}
			})
		})
	}
}

// The handshakes have bounds too.
func TestSSHHandshakeBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := netfake.Pipe(netfake.Options{})
		client, channels, _ := sshPair(t, near, far)
		conn, err := client.Dial("tcp", "127.0.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		peer := <-channels
		start := time.Now()
		if _, _, err := websocket.AcceptConn(t.Context(), peer, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("AcceptConn: %v after %v", err, time.Since(start))
		}
		conn.Close()

		if conn, err = client.Dial("tcp", "127.0.0.1:80"); err != nil {
			t.Fatal(err)
		}
		peer = <-channels
		defer peer.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start = time.Now()
		if _, _, err := websocket.DialConn(ctx, conn, "ws://inside/", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("DialConn: %v after %v", err, time.Since(start))
		}
	})
}

package main

// shim replaces unexported functions that gorilla's tests use, as far as
// the public API can do what they do. The connections that it makes have been
// through a handshake.
const shim = `package websocket

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"strings"

	. "github.com/gorilla/websocket"
)

func computeAcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// handshakeConn answers the handshake itself, and is the connection below from
// then on.
type handshakeConn struct {
	net.Conn
	shook  bool
	answer bytes.Buffer // of a server, for the client to read
}

func (c *handshakeConn) Write(p []byte) (int, error) {
	if c.shook {
		return c.Conn.Write(p)
	}
	c.shook = true
	if r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p))); err == nil {
		c.answer.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
			computeAcceptKey(r.Header.Get("Sec-Websocket-Key")) + "\r\n\r\n")
	}
	return len(p), nil
}

func (c *handshakeConn) Read(p []byte) (int, error) {
	if c.answer.Len() > 0 {
		return c.answer.Read(p)
	}
	return c.Conn.Read(p)
}

type shimWriter struct {
	http.ResponseWriter
	conn net.Conn
}

func (w shimWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(strings.NewReader("")), bufio.NewWriter(w.conn)), nil
}

func newConn(conn net.Conn, isServer bool, readBufferSize, writeBufferSize int, pool BufferPool, br *bufio.Reader, writeBuf []byte) *Conn {
	h := &handshakeConn{Conn: conn}
	var c *Conn
	var err error
	if isServer {
		u := Upgrader{ReadBufferSize: readBufferSize, WriteBufferSize: writeBufferSize, WriteBufferPool: pool}
		c, err = u.Upgrade(shimWriter{conn: h}, &http.Request{
			Method: "GET", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "example.com",
			Header: http.Header{"Upgrade": {"websocket"}, "Connection": {"upgrade"},
				"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Version": {"13"}}}, nil)
	} else {
		c, _, err = NewClient(h, &url.URL{Scheme: "ws", Host: "example.com"}, nil, readBufferSize, writeBufferSize)
	}
	if err != nil {
		panic(err)
	}
	return c
}

// errUnexpectedEOF is what the end of a connection gives.
var errUnexpectedEOF = func() error {
	a, b := net.Pipe()
	b.Close()
	_, _, err := newConn(a, true, 0, 0, nil, nil, nil).ReadMessage()
	return err
}()
`

// coderPipe replaces the transport of coder's tests, which takes the
// response of a handshake from an httptest.ResponseRecorder. Where the
// ResponseWriter is not net/http's, ours is written to the connection.
const coderPipe = `package wstest

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/coder/websocket"
)

// Pipe returns the two ends of a connection in memory.
func Pipe(dialOpts *websocket.DialOptions, acceptOpts *websocket.AcceptOptions) (client, server *websocket.Conn) {
	var opts websocket.DialOptions
	if dialOpts != nil {
		opts = *dialOpts
	}
	accepted := make(chan *websocket.Conn, 1)
	opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		here, there := net.Pipe()
		go func() {
			c, _ := websocket.Accept(hijacker{httptest.NewRecorder(), there}, r, acceptOpts)
			accepted <- c
		}()
		br := bufio.NewReader(here)
		resp, err := http.ReadResponse(br, r)
		if err == nil {
			resp.Body = body{here, br}
		}
		return resp, err
	})}
	client, _, err := websocket.Dial(context.Background(), "ws://example.com", &opts)
	if err != nil {
		panic(err)
	}
	return client, <-accepted
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type body struct {
	net.Conn
	br *bufio.Reader
}

func (b body) Read(p []byte) (int, error) { return b.br.Read(p) }

type hijacker struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, nil, nil }
`

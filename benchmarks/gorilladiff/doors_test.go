// Package gorilladiff puts the package gorilla of this library and
// gorilla/websocket side by side. Both go through the same scenes with a peer
// that is played by hand. What the application sees and what goes over the
// wire must be the same, except where a scene tells why it is not.
package gorilladiff

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	theirs "github.com/gorilla/websocket"

	ours "github.com/seed70bc5565/websocket/gorilla"
)

// patience bounds what happens at once.
const patience = 10 * time.Second

// A conn is what the two kinds of Conn have in common.
type conn interface {
	ReadMessage() (int, []byte, error)
	NextReader() (int, io.Reader, error)
	ReadJSON(any) error
	WriteMessage(int, []byte) error
	NextWriter(int) (io.WriteCloser, error)
	WriteJSON(any) error
	WriteControl(int, []byte, time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	SetReadLimit(int64)
	SetPingHandler(func(string) error)
	SetPongHandler(func(string) error)
	SetCloseHandler(func(int, string) error)
	PingHandler() func(string) error
	PongHandler() func(string) error
	CloseHandler() func(int, string) error
	EnableWriteCompression(bool)
	SetCompressionLevel(int) error
	Subprotocol() string
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
	NetConn() net.Conn
	UnderlyingConn() net.Conn
	Close() error
}

// settings are the fields of an Upgrader and a Dialer that scenes use.
type settings struct {
	subprotocols []string
	compress     bool
	timeout      time.Duration
	pooled       bool // with a WriteBufferPool, which open makes
	pool         theirs.BufferPool
	checkOrigin  func(*http.Request) bool
	fail         func(http.ResponseWriter, *http.Request, int, error)
	proxy        func(*http.Request) (*url.URL, error)
	jar          http.CookieJar
	tls          *tls.Config
	netDial      func(network, addr string) (net.Conn, error)
	netDialCtx   func(ctx context.Context, network, addr string) (net.Conn, error)
	netDialTLS   func(ctx context.Context, network, addr string) (net.Conn, error)
}

// A door is one of the two packages.
type door struct {
	name         string
	upgrade      func(settings, http.ResponseWriter, *http.Request, http.Header) (conn, error)
	dial         func(context.Context, settings, string, http.Header) (conn, *http.Response, error)
	join         func(conn, string) io.Reader
	prepare      func(int, []byte) (func(conn) error, error)
	formatClose  func(int, string) []byte
	isClose      func(error, ...int) bool
	isUnexpected func(error, ...int) bool
	isUpgrade    func(*http.Request) bool
	offered      func(*http.Request) []string
	upgradeAny   func(http.ResponseWriter, *http.Request, http.Header) error // the function Upgrade
	newClient    func(net.Conn, *url.URL, http.Header) (conn, *http.Response, error)
	isHandshake  func(error) bool // a HandshakeError, by value
	closeError   func(int, string) error
	closeCode    func(error) (int, string, bool) // of a *CloseError
	closeSent    error
	readLimit    error
	badHandshake error
}

var doors = []door{
	{
		name: "gorilla",
		upgrade: func(s settings, w http.ResponseWriter, r *http.Request, h http.Header) (conn, error) {
			u := theirs.Upgrader{Subprotocols: s.subprotocols, EnableCompression: s.compress, HandshakeTimeout: s.timeout, WriteBufferPool: s.pool,
				CheckOrigin: s.checkOrigin, Error: s.fail}
			c, err := u.Upgrade(w, r, h)
			if err != nil {
				return nil, err
			}
			return c, nil
		},
		dial: func(ctx context.Context, s settings, url string, h http.Header) (conn, *http.Response, error) {
			d := theirs.Dialer{Subprotocols: s.subprotocols, EnableCompression: s.compress, HandshakeTimeout: s.timeout, WriteBufferPool: s.pool,
				Proxy: s.proxy, Jar: s.jar, TLSClientConfig: s.tls,
				NetDial: s.netDial, NetDialContext: s.netDialCtx, NetDialTLSContext: s.netDialTLS}
			c, resp, err := d.DialContext(ctx, url, h)
			if err != nil {
				return nil, resp, err
			}
			return c, resp, nil
		},
		join: func(c conn, term string) io.Reader { return theirs.JoinMessages(c.(*theirs.Conn), term) },
		prepare: func(typ int, p []byte) (func(conn) error, error) {
			m, err := theirs.NewPreparedMessage(typ, p)
			return func(c conn) error { return c.(*theirs.Conn).WritePreparedMessage(m) }, err
		},
		formatClose: theirs.FormatCloseMessage, isClose: theirs.IsCloseError, isUnexpected: theirs.IsUnexpectedCloseError,
		isUpgrade: theirs.IsWebSocketUpgrade, offered: theirs.Subprotocols,
		upgradeAny: func(w http.ResponseWriter, r *http.Request, h http.Header) error {
			c, err := theirs.Upgrade(w, r, h, 0, 0)
			if err == nil {
				c.Close()
			}
			return err
		},
		newClient: func(nc net.Conn, u *url.URL, h http.Header) (conn, *http.Response, error) {
			c, resp, err := theirs.NewClient(nc, u, h, 0, 0)
			if err != nil {
				return nil, resp, err
			}
			return c, resp, nil
		},
		isHandshake: func(err error) bool { _, ok := err.(theirs.HandshakeError); return ok },
		closeError:  func(code int, text string) error { return &theirs.CloseError{Code: code, Text: text} },
		closeCode: func(err error) (int, string, bool) {
			if e, ok := err.(*theirs.CloseError); ok {
				return e.Code, e.Text, true
			}
			return 0, "", false
		},
		closeSent: theirs.ErrCloseSent, readLimit: theirs.ErrReadLimit, badHandshake: theirs.ErrBadHandshake,
	},
	{
		name: "ours",
		upgrade: func(s settings, w http.ResponseWriter, r *http.Request, h http.Header) (conn, error) {
			u := ours.Upgrader{Subprotocols: s.subprotocols, EnableCompression: s.compress, HandshakeTimeout: s.timeout, WriteBufferPool: s.pool,
				CheckOrigin: s.checkOrigin, Error: s.fail}
			c, err := u.Upgrade(w, r, h)
			if err != nil {
				return nil, err
			}
			return c, nil
		},
		dial: func(ctx context.Context, s settings, url string, h http.Header) (conn, *http.Response, error) {
			d := ours.Dialer{Subprotocols: s.subprotocols, EnableCompression: s.compress, HandshakeTimeout: s.timeout, WriteBufferPool: s.pool,
				Proxy: s.proxy, Jar: s.jar, TLSClientConfig: s.tls,
				NetDial: s.netDial, NetDialContext: s.netDialCtx, NetDialTLSContext: s.netDialTLS}
			c, resp, err := d.DialContext(ctx, url, h)
			if err != nil {
				return nil, resp, err
			}
			return c, resp, nil
		},
		join: func(c conn, term string) io.Reader { return ours.JoinMessages(c.(*ours.Conn), term) },
		prepare: func(typ int, p []byte) (func(conn) error, error) {
			m, err := ours.NewPreparedMessage(typ, p)
			return func(c conn) error { return c.(*ours.Conn).WritePreparedMessage(m) }, err
		},
		formatClose: ours.FormatCloseMessage, isClose: ours.IsCloseError, isUnexpected: ours.IsUnexpectedCloseError,
		isUpgrade: ours.IsWebSocketUpgrade, offered: ours.Subprotocols,
		upgradeAny: func(w http.ResponseWriter, r *http.Request, h http.Header) error {
			c, err := ours.Upgrade(w, r, h, 0, 0)
			if err == nil {
				c.Close()
			}
			return err
		},
		newClient: func(nc net.Conn, u *url.URL, h http.Header) (conn, *http.Response, error) {
			c, resp, err := ours.NewClient(nc, u, h, 0, 0)
			if err != nil {
				return nil, resp, err
			}
			return c, resp, nil
		},
		isHandshake: func(err error) bool { _, ok := err.(ours.HandshakeError); return ok },
		closeError:  func(code int, text string) error { return &ours.CloseError{Code: code, Text: text} },
		closeCode: func(err error) (int, string, bool) {
			if e, ok := err.(*ours.CloseError); ok {
				return e.Code, e.Text, true
			}
			return 0, "", false
		},
		closeSent: ours.ErrCloseSent, readLimit: ours.ErrReadLimit, badHandshake: ours.ErrBadHandshake,
	},
}

// A stage is one run of a scene through a door. What is said on it is compared.
type stage struct {
	*testing.T
	door
	c      conn // under test
	client bool // c is a client's
	secure bool // over TLS
	peer   *peer
	pool   *countingPool
	sent   chan []string // what the peer has read; nil unless it answers
	script strings.Builder
}

func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(&s.script, format+"\n", args...)
}

// err describes what a program can see of an error.
func (s *stage) err(err error) string {
	if err == nil {
		return "no error"
	}
	text := "error"
	if code, reason, ok := s.closeCode(err); ok {
		text = fmt.Sprintf("CloseError %d %q: %v", code, reason, err)
	} else if errors.Is(err, net.ErrClosed) {
		text = "net.ErrClosed" // the addresses and the call's name aside
		if !strings.Contains(err.Error(), "use of closed network connection") {
			text += " without its words: " + err.Error()
		}
	}
	for _, known := range []struct {
		name string
		err  error
	}{{"EOF", io.EOF}, {"ErrUnexpectedEOF", io.ErrUnexpectedEOF}, {"ErrCloseSent", s.closeSent}, {"ErrReadLimit", s.readLimit},
		{"ErrBadHandshake", s.badHandshake}, {"context.Canceled", context.Canceled}} {
		if err == known.err {
			text += " == " + known.name + ": " + err.Error()
		}
	}
	if ne, ok := err.(net.Error); ok {
		text += fmt.Sprintf(" net.Error, timeout %v, temporary %v", ne.Timeout(), err.(interface{ Temporary() bool }).Temporary())
		if ne.Timeout() && !strings.Contains(err.Error(), "timeout") {
			text += " without the word: " + err.Error()
		}
	}
	return text
}

// read says what a ReadMessage returns.
func (s *stage) read() error {
	typ, p, err := s.c.ReadMessage()
	if len(p) > 40 {
		p = append(p[:40:40], "..."...)
	}
	s.say("ReadMessage: %d %q, %s", typ, p, s.err(err))
	return err
}

// A peer plays the other end by hand.
type peer struct {
	t *testing.T
	net.Conn
	raw    net.Conn // below Conn, if that is TLS
	br     *bufio.Reader
	masked bool // it is a client
}

// reset ends the connection with a RST.
func (p *peer) reset() {
	p.raw.(*net.TCPConn).SetLinger(0)
	p.raw.Close()
}

const fin, rsv1 = 0x80, 0x40

// frame is a frame of the peer, whose first byte is b0.
func (p *peer) frame(b0 byte, payload string) []byte {
	f := []byte{b0}
	bit := byte(0)
	if p.masked {
		bit = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		f = append(f, bit|byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, bit|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, bit|127), uint64(n))
	}
	if p.masked {
		f = append(f, 0, 0, 0, 0)
	}
	return append(f, payload...)
}

func (p *peer) send(b0 byte, payload string) { p.bytes(p.frame(b0, payload)) }

func (p *peer) bytes(b []byte) {
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// next reads a frame and describes it. At the end of the stream it says so.
func (p *peer) next() string {
	b0, payload, ok := p.frameOf()
	if !ok {
		return "end"
	}
	n := len(payload)
	if b0 == fin|8 && n >= 2 {
		return fmt.Sprintf("close %d", binary.BigEndian.Uint16(payload)) // a reason is for people
	}
	if n > 40 {
		payload = append(payload[:40:40], "..."...)
	}
	return fmt.Sprintf("%02x masked %v %d bytes: %q", b0, !p.masked, n, payload)
}

// frameOf reads a frame. ok is false at the end of the stream.
func (p *peer) frameOf() (b0 byte, payload []byte, ok bool) {
	p.SetReadDeadline(time.Now().Add(patience))
	var head [2]byte
	if _, err := io.ReadFull(p.br, head[:]); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Error("the stream does not end")
		}
		return 0, nil, false
	}
	n := int(head[1] & 0x7f)
	var ext [8]byte
	switch n {
	case 126:
		io.ReadFull(p.br, ext[:2])
		n = int(binary.BigEndian.Uint16(ext[:]))
	case 127:
		io.ReadFull(p.br, ext[:])
		n = int(binary.BigEndian.Uint64(ext[:]))
	}
	var key [4]byte
	if masked := head[1]&0x80 != 0; masked == p.masked {
		p.t.Errorf("a frame with masking %v", masked)
	} else if masked {
		io.ReadFull(p.br, key[:])
	}
	payload = make([]byte, n)
	io.ReadFull(p.br, payload)
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	return head[0], payload, true
}

// answers makes the peer read from now on, and end its side of the stream with
// the other one. A peer that was told of an error does that.
func (s *stage) answers() {
	s.sent = make(chan []string, 1)
	go func() {
		all := s.peer.all()
		s.peer.Close()
		s.sent <- all
	}()
}

// wire says what the connection sends to its end.
func (s *stage) wire() {
	if s.sent == nil {
		s.say("wire: %q", s.peer.all())
		return
	}
	s.say("wire: %q", <-s.sent)
}

// all reads all frames that still come.
func (p *peer) all() (frames []string) {
	for {
		f := p.next()
		frames = append(frames, f)
		if f == "end" {
			return frames
		}
	}
}

const acceptSample = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // of keySample
const keySample = "dGhlIHNhbXBsZSBub25jZQ=="

// testCertificates are those of package httptest.
var testCertificates = sync.OnceValue(func() []tls.Certificate {
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS()
	defer srv.Close()
	return srv.TLS.Certificates
})

// open makes the connection of s.
func (s *stage) open(set settings) {
	t := s.T
	if set.pooled {
		s.pool = new(countingPool)
		set.pool = s.pool
	}
	if !s.client {
		conns := make(chan conn, 1)
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := s.upgrade(set, w, r, nil)
			if err != nil {
				t.Error(err)
			}
			conns <- c
		}))
		if s.secure {
			srv.StartTLS()
		} else {
			srv.Start()
		}
		t.Cleanup(srv.Close)
		below, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		raw := below
		if s.secure {
			raw = tls.Client(below, &tls.Config{InsecureSkipVerify: true})
		}
		extension := ""
		if set.compress {
			extension = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
		}
		fmt.Fprintf(raw, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n", keySample, extension)
		br := bufio.NewReader(raw)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err)
		}
		s.peer, s.c = &peer{t: t, Conn: raw, raw: below, br: br, masked: true}, <-conns
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		peers := make(chan *peer, 1)
		go func() {
			below, err := l.Accept()
			if err != nil {
				return
			}
			raw := below
			if s.secure {
				raw = tls.Server(below, &tls.Config{Certificates: testCertificates()})
			}
			br := bufio.NewReader(raw)
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			answer(raw, req, set.compress, "")
			peers <- &peer{t: t, Conn: raw, raw: below, br: br}
		}()
		scheme := "ws://"
		if s.secure {
			scheme, set.tls = "wss://", &tls.Config{InsecureSkipVerify: true}
		}
		c, _, err := s.dial(t.Context(), set, scheme+l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		s.peer, s.c = <-peers, c
	}
	s.c.SetReadDeadline(time.Now().Add(patience))
	t.Cleanup(func() { s.c.Close(); s.peer.Close() })
}

// compare runs a scene through both doors and compares what was said. differs
// tells why it is not the same, if it is not.
func compare(t *testing.T, differs string, run func(*stage)) {
	t.Helper()
	var scripts [2]string
	for i, d := range doors {
		s := &stage{T: t, door: d}
		run(s)
		scripts[i] = s.script.String()
	}
	same := scripts[0] == scripts[1]
	if differs != "" {
		if same {
			t.Errorf("it is the same: the reason is out of date: %s", differs)
		}
		t.Logf("%s\n--- gorilla\n%s--- ours\n%s", differs, scripts[0], scripts[1])
	} else if !same {
		t.Errorf("not the same\n--- gorilla\n%s--- ours\n%s", scripts[0], scripts[1])
	} else {
		t.Logf("the same\n%s", scripts[0])
	}
}

// Package h2peer is a client of HTTP/2 in raw frames. It serves tests of
// WebSocket over HTTP/2 (RFC 8441). net/http's own client does not send an
// extended CONNECT. It is a module of its own, because the root module has no
// dependencies.
package h2peer

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Window is the flow-control window that a Peer gives to each stream at first,
// and keeps open unless the stream is Stingy.
const Window = 65535

// A Peer is the client's end of an HTTP/2 connection.
type Peer struct {
	Conn     net.Conn
	Settings map[http2.SettingID]uint32 // of the server

	ready chan struct{} // closed when Settings are there
	done  chan struct{} // closed when the connection has ended

	write sync.Mutex // guards what follows: frames are written one at a time
	fr    *http2.Framer
	enc   *hpack.Encoder
	block bytes.Buffer

	mu      sync.Mutex // guards what follows
	cond    *sync.Cond
	err     error
	streams map[uint32]*Stream
	next    uint32
	window  int64 // what may be sent on the connection
	initial int64 // of the windows of new streams
	maxData int
	goAway  bool
}

// Dial connects to an HTTP/2 server at addr: by TLS with config, or in the
// clear with prior knowledge if config is nil. Each stream may get window bytes
// before the first WINDOW_UPDATE.
func Dial(addr string, config *tls.Config, window uint32) (*Peer, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	if config != nil {
		config = config.Clone()
		config.NextProtos = []string{"h2"}
		t := tls.Client(conn, config)
		if err := t.Handshake(); err != nil {
			return nil, err
		}
		if p := t.ConnectionState().NegotiatedProtocol; p != "h2" {
			t.Close()
			return nil, fmt.Errorf("the server speaks %q, not h2", p)
		}
		conn = t
	}
	return New(conn, window)
}

// New starts HTTP/2 on conn. It returns when the server's settings are there.
func New(conn net.Conn, window uint32) (*Peer, error) {
	p := &Peer{
		Conn: conn, Settings: map[http2.SettingID]uint32{},
		ready: make(chan struct{}), done: make(chan struct{}),
		streams: map[uint32]*Stream{}, next: 1, window: Window, initial: Window, maxData: 16384,
	}
	p.cond = sync.NewCond(&p.mu)
	p.fr = http2.NewFramer(conn, conn)
	p.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.enc = hpack.NewEncoder(&p.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, err
	}
	err := p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
	if err == nil {
		err = p.fr.WriteWindowUpdate(0, 1<<30) // the connection's own window is no limit
	}
	if err != nil {
		return nil, err
	}
	go p.read()
	select {
	case <-p.ready:
		return p, nil
	case <-p.done:
		return nil, p.Err()
	case <-time.After(10 * time.Second):
		conn.Close()
		return nil, errors.New("no settings came")
	}
}

// Connect reports whether the server takes an extended CONNECT.
func (p *Peer) Connect() bool { return p.Settings[http2.SettingEnableConnectProtocol] == 1 }

// Close ends the connection, without a GOAWAY.
func (p *Peer) Close() {
	p.Conn.Close()
	<-p.done
}

// Err returns why the connection ended.
func (p *Peer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// GoneAway reports whether the server has sent a GOAWAY.
func (p *Peer) GoneAway() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.goAway
}

func (p *Peer) read() {
	defer close(p.done)
	var err error
	for err == nil {
		var f http2.Frame
		if f, err = p.fr.ReadFrame(); err == nil {
			err = p.take(f)
		}
	}
	p.Conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	p.cond.Broadcast()
}

func (p *Peer) take(f http2.Frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.cond.Broadcast()
	s := p.streams[f.Header().StreamID]
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		f.ForeachSetting(func(v http2.Setting) error {
			p.Settings[v.ID] = v.Val
			switch v.ID {
			case http2.SettingInitialWindowSize:
				for _, s := range p.streams {
					s.window += int64(v.Val) - p.initial
				}
				p.initial = int64(v.Val)
			case http2.SettingMaxFrameSize:
				p.maxData = int(v.Val)
			}
			return nil
		})
		select {
		case <-p.ready:
		default:
			close(p.ready)
		}
		go p.frame(func() error { return p.fr.WriteSettingsAck() })
	case *http2.PingFrame:
		if !f.IsAck() {
			data := f.Data
			go p.frame(func() error { return p.fr.WritePing(true, data) })
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			p.window += int64(f.Increment)
		} else if s != nil {
			s.window += int64(f.Increment)
		}
	case *http2.GoAwayFrame:
		p.goAway = true
	case *http2.MetaHeadersFrame:
		if s == nil {
			return fmt.Errorf("headers of stream %d", f.StreamID)
		}
		if s.header == nil {
			s.header = map[string][]string{}
			for _, h := range f.Fields {
				s.header[h.Name] = append(s.header[h.Name], h.Value)
			}
		}
		s.ended = s.ended || f.StreamEnded()
	case *http2.DataFrame:
		if s == nil {
			return fmt.Errorf("data of stream %d", f.StreamID)
		}
		s.frames++
		s.data = append(s.data, f.Data()...)
		s.ended = s.ended || f.StreamEnded()
		if n := uint32(f.Length); n > 0 {
			stingy := s.stingy
			go p.frame(func() error {
				err := p.fr.WriteWindowUpdate(0, n)
				if err == nil && !stingy {
					err = p.fr.WriteWindowUpdate(s.ID, n)
				}
				return err
			})
		}
	case *http2.RSTStreamFrame:
		if s != nil && s.reset == nil {
			code := f.ErrCode
			s.reset = &code
		}
	}
	return nil
}

// frame writes frames, under the lock.
func (p *Peer) frame(write func() error) error {
	p.write.Lock()
	defer p.write.Unlock()
	return write()
}

// A Stream is one stream of a Peer. It is a net.Conn over DATA frames.
type Stream struct {
	ID   uint32
	peer *Peer

	// Guarded by the lock of the peer.
	header  map[string][]string
	data    []byte
	frames  int
	ended   bool
	reset   *http2.ErrCode
	stingy  bool
	window  int64
	sentEnd bool
	readBy  time.Time
	writeBy time.Time
}

// Handshake are the fields of a WebSocket handshake, in order.
func Handshake(authority, path string, more ...string) []hpack.HeaderField {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "CONNECT"},
		{Name: ":protocol", Value: "websocket"},
		{Name: ":scheme", Value: "https"},
		{Name: ":path", Value: path},
		{Name: ":authority", Value: authority},
		{Name: "sec-websocket-version", Value: "13"},
	}
	for i := 0; i+1 < len(more); i += 2 {
		fields = append(fields, hpack.HeaderField{Name: more[i], Value: more[i+1]})
	}
	return fields
}

// Open opens a stream. end ends its sending direction at once.
func (p *Peer) Open(fields []hpack.HeaderField, stingy, end bool) (*Stream, error) {
	p.write.Lock()
	defer p.write.Unlock()
	p.mu.Lock()
	s := &Stream{ID: p.next, peer: p, stingy: stingy, window: p.initial, sentEnd: end}
	p.next += 2
	p.streams[s.ID] = s
	p.mu.Unlock()
	p.block.Reset()
	for _, f := range fields {
		if err := p.enc.WriteField(f); err != nil {
			return nil, err
		}
	}
	return s, p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: s.ID, BlockFragment: p.block.Bytes(), EndHeaders: true, EndStream: end})
}

// waitLocked waits until ready reports true, until the deadline that by points
// to, or until the connection has ended.
func (s *Stream) waitLocked(by *time.Time, ready func() bool) error {
	p := s.peer
	for !ready() {
		if p.err != nil {
			return p.err
		}
		var timer *time.Timer
		if !by.IsZero() {
			left := time.Until(*by)
			if left <= 0 {
				return os.ErrDeadlineExceeded
			}
			timer = time.AfterFunc(left, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.cond.Broadcast()
			})
		}
		p.cond.Wait()
		if timer != nil {
			timer.Stop()
		}
	}
	return nil
}

// Header waits for the response: its fields, names in lower case.
func (s *Stream) Header() (map[string][]string, error) {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	by := time.Now().Add(20 * time.Second)
	err := s.waitLocked(&by, func() bool { return s.header != nil || s.reset != nil })
	if err == nil && s.header == nil {
		err = ResetError{*s.reset}
	}
	return s.header, err
}

// A ResetError says that the server has reset the stream.
type ResetError struct{ Code http2.ErrCode }

func (e ResetError) Error() string { return "reset by the server: " + e.Code.String() }

// Frames returns how many DATA frames have come.
func (s *Stream) Frames() int {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	return s.frames
}

// Unread returns how many bytes have come that are not read.
func (s *Stream) Unread() int {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	return len(s.data)
}

// Read returns io.EOF at the end of the stream, and a ResetError after a reset.
func (s *Stream) Read(b []byte) (int, error) {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	err := s.waitLocked(&s.readBy, func() bool { return len(s.data) > 0 || s.ended || s.reset != nil })
	switch {
	case len(s.data) > 0:
		n := copy(b, s.data)
		s.data = s.data[n:]
		return n, nil
	case err != nil:
		return 0, err
	case s.ended:
		return 0, io.EOF
	}
	return 0, ResetError{*s.reset}
}

// Write sends b in DATA frames, as far as the server's windows let it.
func (s *Stream) Write(b []byte) (n int, err error) {
	p := s.peer
	for len(b) > 0 {
		p.mu.Lock()
		err := s.waitLocked(&s.writeBy, func() bool { return s.window > 0 && p.window > 0 || s.reset != nil })
		if err == nil && s.reset != nil {
			err = ResetError{*s.reset}
		}
		if err != nil {
			p.mu.Unlock()
			return n, err
		}
		k := int(min(int64(len(b)), int64(p.maxData), s.window, p.window))
		s.window -= int64(k)
		p.window -= int64(k)
		p.mu.Unlock()
		if err := p.frame(func() error { return p.fr.WriteData(s.ID, false, b[:k]) }); err != nil {
			return n, err
		}
		n += k
		b = b[k:]
	}
	return n, nil
}

// CloseWrite ends the sending direction.
func (s *Stream) CloseWrite() error {
	s.peer.mu.Lock()
	sent := s.sentEnd
	s.sentEnd = true
	s.peer.mu.Unlock()
	if sent {
		return nil
	}
	return s.peer.frame(func() error { return s.peer.fr.WriteData(s.ID, true, nil) })
}

// Reset resets the stream.
func (s *Stream) Reset(code http2.ErrCode) error {
	return s.peer.frame(func() error { return s.peer.fr.WriteRSTStream(s.ID, code) })
}

// Grow gives the server n more bytes of window.
func (s *Stream) Grow(n uint32) error {
	return s.peer.frame(func() error { return s.peer.fr.WriteWindowUpdate(s.ID, n) })
}

// Close ends the sending direction.
func (s *Stream) Close() error { return s.CloseWrite() }

func (s *Stream) LocalAddr() net.Addr  { return s.peer.Conn.LocalAddr() }
func (s *Stream) RemoteAddr() net.Addr { return s.peer.Conn.RemoteAddr() }

func (s *Stream) SetDeadline(t time.Time) error      { return s.set(t, &s.readBy, &s.writeBy) }
func (s *Stream) SetReadDeadline(t time.Time) error  { return s.set(t, &s.readBy) }
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.set(t, &s.writeBy) }

func (s *Stream) set(t time.Time, by ...*time.Time) error {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	for _, b := range by {
		*b = t
	}
	s.peer.cond.Broadcast()
	return nil
}

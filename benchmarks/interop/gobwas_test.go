package interop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

var gobwasPeer = peer{
	name: "gobwas",
	handler: func(o options, serve func(conn)) http.Handler {
		u := ws.HTTPUpgrader{}
		if o.subprotocols != nil {
			u.Protocol = ws.SelectFromSlice(o.subprotocols)
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u := u
			if o.compression != compressionOff {
				u.Negotiate = (&wsflate.Extension{Parameters: wsflate.DefaultParameters}).Negotiate
			}
			c, rw, hs, err := u.Upgrade(r, w)
			if err != nil {
				return
			}
			serve(newGobwasConn(c, rw.Reader, hs, ws.StateServerSide))
		})
	},
	dial: func(ctx context.Context, url string, o options) (conn, error) {
		d := ws.Dialer{Protocols: o.subprotocols, TLSConfig: o.tls}
		if o.compression != compressionOff {
			d.Extensions = []httphead.Option{wsflate.DefaultParameters.Option()}
		}
		c, br, hs, err := d.Dial(ctx, url)
		if err != nil {
			return nil, err
		}
		if br == nil {
			br = bufio.NewReader(c)
		}
		return newGobwasConn(c, br, hs, ws.StateClientSide), nil
	},
}

// A gobwasConn speaks gobwas's frames: its own protocol rules are checked with
// ws.CheckHeader.
type gobwasConn struct {
	c     net.Conn
	br    *bufio.Reader
	hs    ws.Handshake
	side  ws.State
	flate bool // permessage-deflate was negotiated
	write sync.Mutex
	pongs chan string
}

func newGobwasConn(c net.Conn, br *bufio.Reader, hs ws.Handshake, side ws.State) conn {
	c.SetDeadline(time.Now().Add(patience))
	flate := len(hs.Extensions) > 0
	if flate {
		side |= ws.StateExtended
	}
	return &gobwasConn{c: c, br: br, hs: hs, side: side, flate: flate, pongs: make(chan string, 1)}
}

func (p *gobwasConn) Read() (message, error) {
	var m message
	state := p.side
	var deflated wsflate.MessageState
	for {
		h, err := ws.ReadHeader(p.br)
		if err != nil {
			return m, err
		}
		if err := ws.CheckHeader(h, state); err != nil {
			return m, err
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(p.br, payload); err != nil {
			return m, err
		}
		if h.Masked {
			ws.Cipher(payload, h.Mask, 0)
		}
		switch h.OpCode {
		case ws.OpPing:
			if err := p.writeFrame(ws.NewPongFrame(payload)); err != nil {
				return m, err
			}
		case ws.OpPong:
			p.pongs <- string(payload)
		case ws.OpClose:
			c := &closed{code: 1005}
			if len(payload) >= 2 {
				code, reason := ws.ParseCloseFrameData(payload)
				if err := ws.CheckCloseFrameData(code, reason); err != nil {
					return m, err
				}
				c.code, c.reason = int(code), reason
			}
			p.writeFrame(ws.NewCloseFrame(payload[:min(len(payload), 2)])) // fails if this end closed first
			return m, c
		default:
			if p.flate {
				if h, err = deflated.UnsetBits(h); err != nil {
					return m, err
				}
			}
			if h.OpCode != ws.OpContinuation {
				m.text = h.OpCode == ws.OpText
			}
			m.data = append(m.data, payload...)
			if h.Fin {
				if deflated.IsCompressed() {
					m.data, err = wsflate.DefaultHelper.Decompress(m.data)
				}
				return m, err
			}
			state = p.side.Set(ws.StateFragmented)
		}
	}
}

func (p *gobwasConn) writeFrame(f ws.Frame) error {
	if p.side.ClientSide() {
		f = ws.MaskFrame(f)
	}
	p.write.Lock()
	defer p.write.Unlock()
	return ws.WriteFrame(p.c, f)
}

func (p *gobwasConn) opcode(text bool) ws.OpCode {
	if text {
		return ws.OpText
	}
	return ws.OpBinary
}

func (p *gobwasConn) Write(m message) error {
	f := ws.NewFrame(p.opcode(m.text), true, m.data)
	if p.flate {
		var err error
		if f, err = wsflate.CompressFrame(f); err != nil {
			return err
		}
	}
	return p.writeFrame(f)
}

func (p *gobwasConn) WriteFragments(text bool, parts [][]byte) error {
	op := p.opcode(text)
	if p.flate {
		whole, err := wsflate.DefaultHelper.Compress(bytes.Join(parts, nil))
		if err != nil {
			return err
		}
		n := len(whole)/len(parts) + 1
		parts = slices.Collect(slices.Chunk(whole, n))
	}
	for i, part := range parts {
		f := ws.NewFrame(op, i == len(parts)-1, part)
		if p.flate && i == 0 {
			f.Header.Rsv = ws.Rsv(true, false, false)
		}
		if err := p.writeFrame(f); err != nil {
			return err
		}
		op = ws.OpContinuation
	}
	return nil
}

func (p *gobwasConn) Ping() error {
	for _, payload := range pingPayloads {
		if err := p.writeFrame(ws.NewPingFrame(payload)); err != nil {
			return err
		}
		if err := awaitPong(p.pongs, payload); err != nil {
			return err
		}
	}
	return nil
}

func (p *gobwasConn) Close(code int, reason string) error {
	var body []byte
	if code != 1005 {
		body = ws.NewCloseFrameBody(ws.StatusCode(code), reason)
	}
	if err := p.writeFrame(ws.NewCloseFrame(body)); err != nil {
		return err
	}
	_, err := p.Read()
	var c *closed
	if !errors.As(err, &c) {
		return fmt.Errorf("awaiting the peer's close frame: %w", err)
	}
	p.c.Close() // over TLS it fails when the peer was faster
	return nil
}

func (p *gobwasConn) Subprotocol() string { return p.hs.Protocol }

func (p *gobwasConn) End() { p.c.Close() }

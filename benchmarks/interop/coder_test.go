package interop

import (
	"context"
	"errors"
	"io"
	"net/http"

	websocket "github.com/coder/websocket"
)

var coderPeer = peer{
	name: "coder",
	handler: func(o options, serve func(conn)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
				Subprotocols:         o.subprotocols,
				CompressionMode:      coderMode(o),
				CompressionThreshold: 1,
			})
			if err != nil {
				return
			}
			serve(newcoderConn(c))
		})
	},
	dial: func(ctx context.Context, url string, o options) (conn, error) {
		c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{
			Subprotocols:         o.subprotocols,
			HTTPClient:           &http.Client{Transport: &http.Transport{TLSClientConfig: o.tls}},
			CompressionMode:      coderMode(o),
			CompressionThreshold: 1,
		})
		if err != nil {
			return nil, err
		}
		return newcoderConn(c), nil
	},
}

func coderMode(o options) websocket.CompressionMode {
	switch o.compression {
	case compressionContextTakeover:
		return websocket.CompressionContextTakeover
	case compressionNoContextTakeover:
		return websocket.CompressionNoContextTakeover
	}
	return websocket.CompressionDisabled
}

type coderConn struct {
	c      *websocket.Conn
	ctx    context.Context
	cancel context.CancelFunc
}

func newcoderConn(c *websocket.Conn) conn {
	c.SetReadLimit(-1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	return &coderConn{c, ctx, cancel}
}

func (p *coderConn) Read() (message, error) {
	typ, data, err := p.c.Read(p.ctx)
	var ce websocket.CloseError
	if errors.As(err, &ce) {
		err = &closed{int(ce.Code), ce.Reason}
	}
	return message{typ == websocket.MessageText, data}, err
}

func (p *coderConn) Write(m message) error {
	return p.c.Write(p.ctx, p.messageType(m.text), m.data)
}

func (p *coderConn) WriteFragments(text bool, parts [][]byte) error {
	w, err := p.c.Writer(p.ctx, p.messageType(text))
	if err != nil {
		return err
	}
	for _, part := range parts {
		if n, err := w.Write(part); err != nil {
			return err
		} else if n != len(part) {
			return io.ErrShortWrite
		}
	}
	return w.Close()
}

func (p *coderConn) messageType(text bool) websocket.MessageType {
	if text {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

func (p *coderConn) Ping() error {
	for range pingPayloads {
		if err := p.c.Ping(p.ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *coderConn) Close(code int, reason string) error {
	err := p.c.Close(websocket.StatusCode(code), reason)
	if websocket.CloseStatus(err) != -1 {
		return nil // the peer answered with a code of its own: that is a closing handshake too
	}
	return err
}

func (p *coderConn) Subprotocol() string { return p.c.Subprotocol() }

func (p *coderConn) End() {
	p.c.CloseNow()
	p.cancel()
}

package interop

import (
	"context"
	"errors"
	"io"
	"net/http"

	websocket "github.com/seed70bc5565/websocket"
)

var ours = peer{
	name: "ours",
	handler: func(o options, serve func(conn)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
				Subprotocols:                 o.subprotocols,
				CompressionMode:              ourMode(o),
				CompressionThreshold:         1,
				CompressionSendWindowBits:    o.windowBits,
				CompressionReceiveWindowBits: o.windowBits,
			})
			if err != nil {
				return
			}
			serve(newourConn(c))
		})
	},
	dial: func(ctx context.Context, url string, o options) (conn, error) {
		c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{
			Subprotocols:                 o.subprotocols,
			HTTPClient:                   &http.Client{Transport: &http.Transport{TLSClientConfig: o.tls}},
			CompressionMode:              ourMode(o),
			CompressionThreshold:         1,
			CompressionSendWindowBits:    o.windowBits,
			CompressionReceiveWindowBits: o.windowBits,
		})
		if err != nil {
			return nil, err
		}
		return newourConn(c), nil
	},
}

func ourMode(o options) websocket.CompressionMode {
	switch o.compression {
	case compressionContextTakeover:
		return websocket.CompressionContextTakeover
	case compressionNoContextTakeover:
		return websocket.CompressionNoContextTakeover
	}
	return websocket.CompressionDisabled
}

type ourConn struct {
	c      *websocket.Conn
	ctx    context.Context
	cancel context.CancelFunc
}

func newourConn(c *websocket.Conn) conn {
	c.SetReadLimit(-1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	return &ourConn{c, ctx, cancel}
}

func (p *ourConn) Read() (message, error) {
	typ, data, err := p.c.Read(p.ctx)
	var ce websocket.CloseError
	if errors.As(err, &ce) {
		err = &closed{int(ce.Code), ce.Reason}
	}
	return message{typ == websocket.MessageText, data}, err
}

func (p *ourConn) Write(m message) error {
	return p.c.Write(p.ctx, p.messageType(m.text), m.data)
}

func (p *ourConn) WriteFragments(text bool, parts [][]byte) error {
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

func (p *ourConn) messageType(text bool) websocket.MessageType {
	if text {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

func (p *ourConn) Ping() error {
	for range pingPayloads {
		if err := p.c.Ping(p.ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *ourConn) Close(code int, reason string) error {
	err := p.c.Close(websocket.StatusCode(code), reason)
	if websocket.CloseStatus(err) != -1 {
		return nil // the peer answered with a code of its own: that is a closing handshake too
	}
	return err
}

func (p *ourConn) Subprotocol() string { return p.c.Subprotocol() }

func (p *ourConn) End() {
	p.c.CloseNow()
	p.cancel()
}

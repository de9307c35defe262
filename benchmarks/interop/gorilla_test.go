package interop

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// The small write buffer makes gorilla's message writer send several frames.
const gorillaBuffer = 1024

var gorillaPeer = peer{
	name: "gorilla",
	handler: func(o options, serve func(conn)) http.Handler {
		u := websocket.Upgrader{Subprotocols: o.subprotocols, WriteBufferSize: gorillaBuffer, EnableCompression: o.compression != compressionOff}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := u.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			serve(newGorillaConn(c))
		})
	},
	dial: func(ctx context.Context, url string, o options) (conn, error) {
		d := websocket.Dialer{Subprotocols: o.subprotocols, TLSClientConfig: o.tls, WriteBufferSize: gorillaBuffer, EnableCompression: o.compression != compressionOff}
		c, _, err := d.DialContext(ctx, url, nil)
		if err != nil {
			return nil, err
		}
		return newGorillaConn(c), nil
	},
}

type gorillaConn struct {
	c     *websocket.Conn
	pongs chan string
}

func newGorillaConn(c *websocket.Conn) conn {
	c.NetConn().SetDeadline(time.Now().Add(patience))
	p := &gorillaConn{c, make(chan string, 1)}
	c.SetPongHandler(func(payload string) error {
		p.pongs <- payload
		return nil
	})
	return p
}

func (p *gorillaConn) Read() (message, error) {
	typ, data, err := p.c.ReadMessage()
	var ce *websocket.CloseError
	if errors.As(err, &ce) {
		err = &closed{ce.Code, ce.Text}
	}
	return message{typ == websocket.TextMessage, data}, err
}

func (p *gorillaConn) Write(m message) error {
	return p.c.WriteMessage(p.messageType(m.text), m.data)
}

func (p *gorillaConn) WriteFragments(text bool, parts [][]byte) error {
	w, err := p.c.NextWriter(p.messageType(text))
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Close()
}

func (p *gorillaConn) messageType(text bool) int {
	if text {
		return websocket.TextMessage
	}
	return websocket.BinaryMessage
}

func (p *gorillaConn) Ping() error {
	for _, payload := range pingPayloads {
		if err := p.c.WriteControl(websocket.PingMessage, payload, time.Now().Add(patience)); err != nil {
			return err
		}
		if err := awaitPong(p.pongs, payload); err != nil {
			return err
		}
	}
	return nil
}

func (p *gorillaConn) Close(code int, reason string) error {
	err := p.c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(patience))
	if err != nil {
		return err
	}
	for {
		_, err := p.Read()
		var c *closed
		if errors.As(err, &c) {
			p.c.Close() // over TLS it fails when the peer was faster
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (p *gorillaConn) Subprotocol() string { return p.c.Subprotocol() }

func (p *gorillaConn) End() { p.c.Close() }

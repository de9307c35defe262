package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/websocket"
)

var xnetPeer = peer{
	name: "xnet",
	lacks: map[ability]string{
		sendFragments:    "x/net sends every message in one frame",
		receiveFragments: "x/net returns every frame as a message",
		chooseCloseCode:  "x/net always closes with 1000",
		reportCloseCode:  "x/net reports a close frame as io.EOF",
		closeWithoutCode: "x/net always closes with 1000",
		observePong:      "x/net drops pongs",
		answerClose:      "x/net ends TCP right behind its close frame",
		compress:         "x/net has no extensions",
	},
	handler: func(o options, serve func(conn)) http.Handler {
		return websocket.Server{
			Handshake: func(cfg *websocket.Config, r *http.Request) error {
				// x/net hands over what the client offered and wants at most
				// one of them back.
				var chosen []string
				for _, s := range o.subprotocols {
					if slices.Contains(cfg.Protocol, s) {
						chosen = []string{s}
						break
					}
				}
				cfg.Protocol = chosen
				return nil
			},
			Handler: func(c *websocket.Conn) { serve(newXnetConn(c)) },
		}
	},
	dial: func(ctx context.Context, url string, o options) (conn, error) {
		cfg, err := websocket.NewConfig(url, strings.Replace(url, "ws", "http", 1))
		if err != nil {
			return nil, err
		}
		cfg.Protocol, cfg.TlsConfig = o.subprotocols, o.tls
		c, err := cfg.DialContext(ctx)
		if err != nil {
			return nil, err
		}
		return newXnetConn(c), nil
	},
}

type xnetConn struct{ c *websocket.Conn }

func newXnetConn(c *websocket.Conn) conn {
	c.SetDeadline(time.Now().Add(patience))
	return &xnetConn{c}
}

// xnetCodec keeps the type of a message, which the codecs of x/net drop.
var xnetCodec = websocket.Codec{
	Marshal: func(v any) ([]byte, byte, error) {
		m := v.(message)
		if m.text {
			return m.data, websocket.TextFrame, nil
		}
		return m.data, websocket.BinaryFrame, nil
	},
	Unmarshal: func(data []byte, payloadType byte, v any) error {
		*v.(*message) = message{payloadType == websocket.TextFrame, bytes.Clone(data)}
		return nil
	},
}

func (p *xnetConn) Read() (m message, err error) {
	err = xnetCodec.Receive(p.c, &m)
	if errors.Is(err, io.EOF) {
		err = &closed{}
	}
	return m, err
}

func (p *xnetConn) Write(m message) error { return xnetCodec.Send(p.c, m) }

func (p *xnetConn) WriteFragments(text bool, parts [][]byte) error { return errLacking }

func (p *xnetConn) Ping() error { return errLacking }

func (p *xnetConn) Close(code int, reason string) error { return p.c.Close() }

func (p *xnetConn) Subprotocol() string {
	if s := p.c.Config().Protocol; len(s) > 0 {
		return s[0]
	}
	return ""
}

func (p *xnetConn) End() { p.c.Close() }

package interop

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/lxzan/gws"
)

var gwsPeer = peer{
	name: "gws",
	lacks: map[ability]string{
		closeWithoutCode: "gws sends 1000 in its place",
		answerClose:      "gws ends TCP right behind its close frame",
	},
	handler: func(o options, serve func(conn)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p := newGWSConn()
			c, err := gws.NewUpgrader(p, &gws.ServerOption{
				SubProtocols: o.subprotocols, CheckUtf8Enabled: true, PermessageDeflate: gwsDeflate(o),
			}).Upgrade(w, r)
			if err != nil {
				return
			}
			p.start(c)
			serve(p)
		})
	},
	dial: func(ctx context.Context, url string, o options) (conn, error) {
		h := http.Header{}
		for _, s := range o.subprotocols {
			h.Add("Sec-WebSocket-Protocol", s)
		}
		p := newGWSConn()
		c, _, err := gws.NewClient(p, &gws.ClientOption{
			Addr: url, TlsConfig: o.tls, RequestHeader: h, CheckUtf8Enabled: true, PermessageDeflate: gwsDeflate(o),
		})
		if err != nil {
			return nil, err
		}
		p.start(c)
		return p, nil
	},
}

func gwsDeflate(o options) gws.PermessageDeflate {
	takeover := o.compression == compressionContextTakeover
	return gws.PermessageDeflate{
		Enabled:               o.compression != compressionOff,
		Threshold:             1,
		ServerContextTakeover: takeover,
		ClientContextTakeover: takeover,
		ServerMaxWindowBits:   o.windowBits,
		ClientMaxWindowBits:   o.windowBits,
	}
}

// A gwsConn turns the events of gws into calls. Its channels are closed never
// and bounded by what a scenario sends.
type gwsConn struct {
	gws.BuiltinEventHandler
	c        *gws.Conn
	messages chan message
	pongs    chan string
	ended    chan struct{}
	err      error // set before ended is closed
}

func newGWSConn() *gwsConn {
	return &gwsConn{messages: make(chan message, 256), pongs: make(chan string, 1), ended: make(chan struct{})}
}

func (p *gwsConn) start(c *gws.Conn) {
	p.c = c
	c.SetDeadline(time.Now().Add(patience))
	go c.ReadLoop()
}

func (p *gwsConn) OnMessage(c *gws.Conn, m *gws.Message) {
	p.messages <- message{m.Opcode == gws.OpcodeText, bytes.Clone(m.Bytes())}
	m.Close()
}

func (p *gwsConn) OnPing(c *gws.Conn, payload []byte) { c.WritePong(payload) }
func (p *gwsConn) OnPong(c *gws.Conn, payload []byte) { p.pongs <- string(payload) }

func (p *gwsConn) OnClose(c *gws.Conn, err error) {
	var ce *gws.CloseError
	if errors.As(err, &ce) {
		code := int(ce.Code)
		if code == 0 {
			code = 1005
		}
		err = &closed{code, string(ce.Reason)}
	}
	p.err = err
	close(p.ended)
}

func (p *gwsConn) Read() (message, error) {
	select {
	case m := <-p.messages:
		return m, nil
	case <-p.ended:
	}
	select {
	case m := <-p.messages:
		return m, nil
	default:
		return message{}, p.err
	}
}

func (p *gwsConn) opcode(text bool) gws.Opcode {
	if text {
		return gws.OpcodeText
	}
	return gws.OpcodeBinary
}

func (p *gwsConn) Write(m message) error { return p.c.WriteMessage(p.opcode(m.text), m.data) }

func (p *gwsConn) WriteFragments(text bool, parts [][]byte) error {
	return p.c.WriteFile(p.opcode(text), bytes.NewReader(bytes.Join(parts, nil)))
}

func (p *gwsConn) Ping() error {
	for _, payload := range pingPayloads {
		if err := p.c.WritePing(payload); err != nil {
			return err
		}
		if err := awaitPong(p.pongs, payload); err != nil {
			return err
		}
	}
	return nil
}

func (p *gwsConn) Close(code int, reason string) error {
	err := p.c.WriteClose(uint16(code), []byte(reason))
	<-p.ended
	return err
}

func (p *gwsConn) Subprotocol() string { return p.c.SubProtocol() }

func (p *gwsConn) End() {
	p.c.NetConn().Close()
	<-p.ended
}

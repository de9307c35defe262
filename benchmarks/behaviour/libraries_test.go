package behaviour

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	ours "github.com/seed70bc5565/websocket"
	xnet "golang.org/x/net/websocket"
)

// A library is used as its documentation shows first, with its default
// settings.
type library struct {
	name    string
	handler func(serve func(session)) http.Handler
	dial    func(url string) (session, error)
}

// A session is one end of a connection.
type session interface {
	// read returns the next message. It gives up after timeout, in the way that
	// the library has for it.
	read(timeout time.Duration) (string, error)
	write(data []byte) error
	end()
}

var errNoTimeout = errors.New("reads of this library have no timeout")

var libraries = []library{
	{"websocket",
		func(serve func(session)) http.Handler {
			return ours.Handler(func(c *ours.Conn, r *http.Request) { serve(ourSession{c}) }, nil)
		},
		func(url string) (session, error) {
			c, _, err := ours.Dial(context.Background(), url, nil)
			return ourSession{c}, err
		},
	},
	{"coder",
		func(serve func(session)) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := coder.Accept(w, r, nil)
				if err == nil {
					serve(coderSession{c})
				}
			})
		},
		func(url string) (session, error) {
			c, _, err := coder.Dial(context.Background(), url, nil)
			return coderSession{c}, err
		},
	},
	{"gorilla",
		func(serve func(session)) http.Handler {
			var u gorilla.Upgrader
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := u.Upgrade(w, r, nil)
				if err == nil {
					serve(gorillaSession{c})
				}
			})
		},
		func(url string) (session, error) {
			c, _, err := gorilla.DefaultDialer.Dial(url, nil)
			return gorillaSession{c}, err
		},
	},
	{"gws",
		func(serve func(session)) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s := newGWSSession()
				c, err := gws.NewUpgrader(s, &gws.ServerOption{}).Upgrade(w, r)
				if err == nil {
					s.start(c)
					serve(s)
				}
			})
		},
		func(url string) (session, error) {
			s := newGWSSession()
			c, _, err := gws.NewClient(s, &gws.ClientOption{Addr: url})
			if err == nil {
				s.start(c)
			}
			return s, err
		},
	},
	{"gobwas",
		func(serve func(session)) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, _, _, err := ws.UpgradeHTTP(r, w)
				if err == nil {
					serve(gobwasSession{c, ws.StateServerSide})
				}
			})
		},
		func(url string) (session, error) {
			c, _, _, err := ws.Dial(context.Background(), url)
			return gobwasSession{c, ws.StateClientSide}, err
		},
	},
	{"x/net",
		func(serve func(session)) http.Handler {
			// Not xnet.Handler, which demands an Origin header.
			return xnet.Server{Handler: func(c *xnet.Conn) { serve(xnetSession{c}) }}
		},
		func(url string) (session, error) {
			c, err := xnet.Dial(url, "", strings.Replace(url, "ws", "http", 1))
			return xnetSession{c}, err
		},
	},
}

type ourSession struct{ c *ours.Conn }

func (s ourSession) read(timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, data, err := s.c.Read(ctx)
	return string(data), err
}

func (s ourSession) write(data []byte) error {
	return s.c.Write(context.Background(), ours.MessageBinary, data)
}

func (s ourSession) end() { s.c.CloseNow() }

type coderSession struct{ c *coder.Conn }

func (s coderSession) read(timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, data, err := s.c.Read(ctx)
	return string(data), err
}

func (s coderSession) write(data []byte) error {
	return s.c.Write(context.Background(), coder.MessageBinary, data)
}

func (s coderSession) end() { s.c.CloseNow() }

type gorillaSession struct{ c *gorilla.Conn }

func (s gorillaSession) read(timeout time.Duration) (string, error) {
	s.c.SetReadDeadline(time.Now().Add(timeout))
	_, data, err := s.c.ReadMessage()
	return string(data), err
}

func (s gorillaSession) write(data []byte) error {
	return s.c.WriteMessage(gorilla.BinaryMessage, data)
}

func (s gorillaSession) end() { s.c.Close() }

// A gwsSession turns the events of gws into calls.
type gwsSession struct {
	gws.BuiltinEventHandler
	c        *gws.Conn
	messages chan string
	ended    chan struct{}
	err      error // set before ended is closed
}

func newGWSSession() *gwsSession {
	return &gwsSession{messages: make(chan string, 16), ended: make(chan struct{})}
}

func (s *gwsSession) start(c *gws.Conn) {
	s.c = c
	go c.ReadLoop()
}

func (s *gwsSession) OnMessage(c *gws.Conn, m *gws.Message) {
	s.messages <- string(bytes.Clone(m.Bytes()))
}

func (s *gwsSession) OnClose(c *gws.Conn, err error) {
	s.err = err
	close(s.ended)
}

func (s *gwsSession) read(timeout time.Duration) (string, error) {
	select {
	case m := <-s.messages:
		return m, nil
	case <-s.ended:
		return "", s.err
	case <-time.After(timeout):
		return "", errNoTimeout
	}
}

func (s *gwsSession) write(data []byte) error { return s.c.WriteMessage(gws.OpcodeBinary, data) }
func (s *gwsSession) end()                    { s.c.NetConn().Close() }

type gobwasSession struct {
	c    net.Conn
	side ws.State
}

func (s gobwasSession) read(timeout time.Duration) (string, error) {
	s.c.SetReadDeadline(time.Now().Add(timeout))
	data, _, err := wsutil.ReadData(s.c, s.side)
	return string(data), err
}

func (s gobwasSession) write(data []byte) error {
	return wsutil.WriteMessage(s.c, s.side, ws.OpBinary, data)
}

func (s gobwasSession) end() { s.c.Close() }

type xnetSession struct{ c *xnet.Conn }

func (s xnetSession) read(timeout time.Duration) (string, error) {
	s.c.SetReadDeadline(time.Now().Add(timeout))
	var data string
	err := xnet.Message.Receive(s.c, &data)
	return data, err
}

func (s xnetSession) write(data []byte) error { return xnet.Message.Send(s.c, data) }
func (s xnetSession) end()                    { s.c.Close() }

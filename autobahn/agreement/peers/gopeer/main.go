// Command gopeer is an echo server or client of another library for Go, with
// the flags of autobahn/echoserver and autobahn/echoclient, and -lib.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	xnet "golang.org/x/net/websocket"
)

// A library is an echo server and, if dial is set, a client.
type library struct {
	handler func(deflate bool) http.Handler
	// dial connects to u and echoes until the connection ends. The first
	// message goes to first, if that is set.
	dial func(u string, deflate bool, first func(string)) error
}

var libraries = map[string]library{
	"gorilla":  {gorillaHandler(false), gorillaDial},
	"coder":    {coderHandler(coder.CompressionContextTakeover), coderDial},
	"coder-no": {coderHandler(coder.CompressionNoContextTakeover), coderDial},
	"gobwas":   {gobwasHandler(true), nil},
	// An odd configuration each.
	"gorilla-stream":   {gorillaHandler(true), nil},
	"gobwas-unchecked": {gobwasHandler(false), nil},
	"gws":              {gwsHandler(true), gwsDial},
	"gws-unchecked":    {gwsHandler(false), nil},
	"xnet":             {xnetHandler, nil},
}

const limit = 32 << 20

func main() {
	log.SetFlags(0)
	lib := flag.String("lib", "gorilla", "the `library`")
	addr := flag.String("addr", "127.0.0.1:9001", "`address` to listen on")
	target := flag.String("url", "", "be a client of the fuzzing server at `URL`")
	agent := flag.String("agent", "client", "`name` of the client in the report")
	compression := flag.String("compression", "disabled", "disabled, or anything else")
	flag.String("api", "", "not looked at")
	flag.Parse()
	l, ok := libraries[*lib]
	if !ok {
		log.Fatalf("there is no library %q", *lib)
	}
	deflate := *compression != "disabled"
	if *target != "" {
		if l.dial == nil {
			log.Fatalf("%s has no client here", *lib)
		}
		n := 0
		if err := l.dial(*target+"/getCaseCount", false, func(s string) { n, _ = strconv.Atoi(strings.TrimSpace(s)) }); n == 0 {
			log.Fatal("no number of cases: ", err)
		}
		for i := 1; i <= n; i++ {
			l.dial(fmt.Sprintf("%s/runCase?case=%d&agent=%s", *target, i, url.QueryEscape(*agent)), deflate, nil)
		}
		l.dial(*target+"/updateReports?agent="+url.QueryEscape(*agent), false, nil)
		return
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())
	log.SetOutput(io.Discard)
	http.Serve(ln, l.handler(deflate))
	os.Exit(1)
}

func gorillaHandler(stream bool) func(bool) http.Handler {
	return func(deflate bool) http.Handler {
		u := gorilla.Upgrader{EnableCompression: deflate, CheckOrigin: func(*http.Request) bool { return true }}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := u.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			gorillaEcho(c, stream)
		})
	}
}

func gorillaEcho(c *gorilla.Conn, stream bool) error {
	defer c.Close()
	for {
		if stream {
			typ, r, err := c.NextReader()
			if err != nil {
				return err
			}
			w, err := c.NextWriter(typ)
			if err != nil {
				return err
			}
			if _, err := io.Copy(w, r); err != nil {
				return err
			}
			if err := w.Close(); err != nil {
				return err
			}
			continue
		}
		typ, msg, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if err := c.WriteMessage(typ, msg); err != nil {
			return err
		}
	}
}

func gorillaDial(u string, deflate bool, first func(string)) error {
	d := gorilla.Dialer{EnableCompression: deflate}
	c, _, err := d.Dial(u, nil)
	if err != nil {
		return err
	}
	if first != nil {
		defer c.Close()
		_, msg, err := c.ReadMessage()
		first(string(msg))
		return err
	}
	return gorillaEcho(c, false)
}

func coderHandler(mode coder.CompressionMode) func(bool) http.Handler {
	return func(deflate bool) http.Handler {
		opts := &coder.AcceptOptions{CompressionMode: coder.CompressionDisabled, CompressionThreshold: 1}
		if deflate {
			opts.CompressionMode = mode
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := coder.Accept(w, r, opts)
			if err != nil {
				return
			}
			coderEcho(c)
		})
	}
}

func coderEcho(c *coder.Conn) error {
	defer c.CloseNow()
	c.SetReadLimit(limit)
	ctx := context.Background()
	for {
		typ, msg, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if err := c.Write(ctx, typ, msg); err != nil {
			return err
		}
	}
}

func coderDial(u string, deflate bool, first func(string)) error {
	opts := &coder.DialOptions{CompressionMode: coder.CompressionDisabled, CompressionThreshold: 1}
	if deflate {
		opts.CompressionMode = coder.CompressionContextTakeover
	}
	c, _, err := coder.Dial(context.Background(), u, opts)
	if err != nil {
		return err
	}
	if first != nil {
		defer c.CloseNow()
		_, msg, err := c.Read(context.Background())
		first(string(msg))
		return err
	}
	return coderEcho(c)
}

func gobwasHandler(checked bool) func(bool) http.Handler {
	return func(bool) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, _, _, err := ws.UpgradeHTTP(r, w)
			if err != nil {
				return
			}
			defer c.Close()
			if checked {
				for {
					msg, op, err := wsutil.ReadClientData(c)
					if err != nil {
						return
					}
					if err := wsutil.WriteServerMessage(c, op, msg); err != nil {
						return
					}
				}
			}
			for { // frames without any check
				f, err := ws.ReadFrame(c)
				if err != nil {
					return
				}
				f = ws.UnmaskFrameInPlace(f)
				if f.Header.OpCode == ws.OpPing {
					f.Header.OpCode = ws.OpPong
				}
				if err := ws.WriteFrame(c, f); err != nil || f.Header.OpCode == ws.OpClose {
					return
				}
			}
		})
	}
}

type gwsEvents struct {
	gws.BuiltinEventHandler
	first func(string)
}

func (e *gwsEvents) OnPing(c *gws.Conn, payload []byte) { c.WritePong(payload) }

func (e *gwsEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if e.first != nil {
		e.first(m.Data.String())
		return
	}
	c.WriteMessage(m.Opcode, m.Bytes())
}

func gwsHandler(checked bool) func(bool) http.Handler {
	return func(deflate bool) http.Handler {
		u := gws.NewUpgrader(&gwsEvents{}, &gws.ServerOption{CheckUtf8Enabled: checked, ReadMaxPayloadSize: limit, WriteMaxPayloadSize: limit,
			PermessageDeflate: gws.PermessageDeflate{Enabled: deflate, Threshold: 1, ServerContextTakeover: true, ClientContextTakeover: true}})
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := u.Upgrade(w, r)
			if err != nil {
				return
			}
			c.ReadLoop()
		})
	}
}

func gwsDial(u string, deflate bool, first func(string)) error {
	c, _, err := gws.NewClient(&gwsEvents{first: first}, &gws.ClientOption{Addr: u, CheckUtf8Enabled: true, ReadMaxPayloadSize: limit, WriteMaxPayloadSize: limit,
		PermessageDeflate: gws.PermessageDeflate{Enabled: deflate, Threshold: 1, ServerContextTakeover: true, ClientContextTakeover: true}})
	if err != nil {
		return err
	}
	c.ReadLoop()
	return nil
}

type xnetMessage struct {
	typ  byte
	data []byte
}

var xnetCodec = xnet.Codec{
	Marshal: func(v any) ([]byte, byte, error) { m := v.(*xnetMessage); return m.data, m.typ, nil },
	Unmarshal: func(data []byte, typ byte, v any) error {
		*v.(*xnetMessage) = xnetMessage{typ, data}
		return nil
	},
}

func xnetHandler(bool) http.Handler {
	return xnet.Server{Handler: func(c *xnet.Conn) {
		c.MaxPayloadBytes = limit
		for {
			var m xnetMessage
			if xnetCodec.Receive(c, &m) != nil || xnetCodec.Send(c, &m) != nil {
				return
			}
		}
	}}
}

package gorilladiff

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// A hop is a proxy, or a server, that is played by hand.
type hop struct {
	net.Conn
	br   *bufio.Reader
	over <-chan struct{} // closed when Dial has returned
	said strings.Builder
}

func (h *hop) say(format string, args ...any) { fmt.Fprintf(&h.said, format+"\n", args...) }

// take says n bytes that have come.
func (h *hop) take(what string, n int) []byte {
	p := make([]byte, n)
	n, err := io.ReadFull(h.br, p)
	if err != nil {
		h.say("%s: %d bytes, then the end", what, n)
		return make([]byte, 300)
	}
	h.say("%s: %x", what, p)
	return p
}

// greets is the first step of SOCKS 5.
func (h *hop) greets(answer string) {
	n := h.take("greeting", 2)[1]
	h.take("methods", int(n))
	io.WriteString(h, answer)
}

// asks for a user and a password (RFC 1929).
func (h *hop) asks(answer string) {
	h.take("user", int(h.take("authentication", 2)[1]))
	h.take("password", int(h.take("its length", 1)[0]))
	io.WriteString(h, answer)
}

// connects is the last step of SOCKS 5.
func (h *hop) connects(answer string) {
	n := 4
	switch h.take("request", 4)[3] {
	case 3:
		n = int(h.take("length", 1)[0])
	case 4:
		n = 16
	}
	h.take("address", n+2)
	io.WriteString(h, answer)
}

// head says the head of a request.
func (h *hop) head() http.Header {
	req, err := http.ReadRequest(h.br)
	if err != nil {
		h.say("no request")
		return nil
	}
	h.say("%s %s, Host %s, %q", req.Method, req.RequestURI, addresses.ReplaceAllString(req.Host, "ADDR"), req.Header["Proxy-Authorization"])
	return req.Header
}

// accepts is the server behind the proxy.
func (h *hop) accepts() {
	header := h.head()
	io.WriteString(h, strings.ReplaceAll(accepts(), "ACCEPT", acceptOf(header.Get("Sec-Websocket-Key"))))
	<-h.over
}

// secure makes a server of TLS of the hop.
func (h *hop) secure() {
	h.Conn = tls.Server(h.Conn, &tls.Config{Certificates: testCertificates()})
	h.br = bufio.NewReader(h.Conn)
	h.say("TLS: %v", h.Conn.(*tls.Conn).Handshake() == nil)
}

// A journey is a Dial by way of hops.
type journey struct {
	ctx    context.Context
	proxy  string // its URL; "": none
	target string
	set    settings
	by     string // the function that dials: "", "context" or "TLS"; none: the Dialer itself
	serve  func(h *hop)
	after  func(s *stage, c conn)
	loose  bool // of an error only the kind is compared
}

// goes says what comes of a journey.
func (s *stage) goes(j journey) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	over := make(chan struct{})
	served := make(chan string, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			served <- "nothing was asked\n"
			return
		}
		defer raw.Close()
		raw.SetDeadline(time.Now().Add(patience))
		h := &hop{Conn: raw, br: bufio.NewReader(raw), over: over}
		j.serve(h)
		served <- h.said.String()
	}()
	dial := func(by, network, addr string) (net.Conn, error) {
		s.say("dial %s %s by %s", network, addr, by)
		return net.Dial(network, l.Addr().String())
	}
	switch j.by {
	case "":
		j.set.netDial = func(n, a string) (net.Conn, error) { return dial("NetDial", n, a) }
	case "context":
		j.set.netDialCtx = func(ctx context.Context, n, a string) (net.Conn, error) {
			_, bounded := ctx.Deadline()
			s.say("with a deadline %v, a value %v", bounded, ctx.Value(key{}))
			return dial("NetDialContext", n, a)
		}
	case "TLS":
		j.set.netDialTLS = func(ctx context.Context, n, a string) (net.Conn, error) { return dial("NetDialTLSContext", n, a) }
		j.set.netDial = func(n, a string) (net.Conn, error) { return dial("NetDial", n, a) }
	case "TLS itself":
		j.set.netDialTLS = func(ctx context.Context, n, a string) (net.Conn, error) {
			c, err := dial("NetDialTLSContext", n, a)
			if err != nil {
				return nil, err
			}
			return tls.Client(c, &tls.Config{InsecureSkipVerify: true}), nil
		}
	case "none":
	}
	if j.proxy != "" {
		j.set.proxy = func(*http.Request) (*url.URL, error) { return url.Parse(j.proxy) }
	}
	if j.set.tls == nil {
		j.set.tls = &tls.Config{InsecureSkipVerify: true}
	}
	if j.ctx == nil {
		j.ctx = s.Context()
	}
	if j.target == "" {
		j.target = "ws://target.example/x"
	}
	j.target = strings.ReplaceAll(j.target, "ADDR", l.Addr().String())
	c, resp, err := s.dial(context.WithValue(j.ctx, key{}, "v"), j.set, j.target, nil)
	if ne, ok := err.(net.Error); j.loose && ok {
		s.say("Dial: %v, timeout %v", resp != nil, ne.Timeout())
	} else {
		s.say("Dial: %v %s", resp != nil, s.refusal(err))
	}
	if resp != nil && err != nil {
		s.response(resp)
	}
	if c != nil {
		s.say("%T", c.NetConn())
		if j.after != nil {
			j.after(s, c)
		}
		c.Close()
	}
	l.Close()
	close(over)
	s.say("%s", <-served)
}

type key struct{}

func journeys() []handshake {
	var list []handshake
	add := func(name string, j journey) {
		list = append(list, handshake{name: name, play: func(s *stage) { s.goes(j) }})
	}
	differ := func(name, why string, j journey) {
		add(name, j)
		list[len(list)-1].differs = why
	}

	const ok = "HTTP/1.1 200 OK\r\n\r\n"
	http200 := func(h *hop) { h.head(); io.WriteString(h, ok); h.accepts() }
	http200TLS := func(h *hop) { h.head(); io.WriteString(h, ok); h.secure(); h.accepts() }
	connected := "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
	open := func(h *hop) { h.greets("\x05\x00"); h.connects(connected); h.accepts() }
	openTLS := func(h *hop) { h.greets("\x05\x00"); h.connects(connected); h.secure(); h.accepts() }
	withUser := func(h *hop) { h.greets("\x05\x02"); h.asks("\x01\x00"); h.connects(connected); h.accepts() }

	for _, by := range []string{"", "context", "TLS"} {
		add("http proxy by "+by, journey{proxy: "http://u:p@proxy.example:3128", by: by, serve: http200})
		add("http proxy, wss by "+by, journey{proxy: "http://u:p@proxy.example:3128", by: by, target: "wss://target.example/x", serve: map[bool]func(*hop){true: http200, false: http200TLS}[by == "TLS"]})
		add("socks5 proxy by "+by, journey{proxy: "socks5://proxy.example:1081", by: by, serve: open})
		add("socks5 proxy, wss by "+by, journey{proxy: "socks5://proxy.example:1081", by: by, target: "wss://target.example/x", serve: map[bool]func(*hop){true: open, false: openTLS}[by == "TLS"]})
		add("no proxy by "+by, journey{by: by, serve: (*hop).accepts})
		add("no proxy, wss by "+by, journey{by: by, target: "wss://target.example/x", serve: map[bool]func(*hop){true: (*hop).accepts, false: func(h *hop) { h.secure(); h.accepts() }}[by == "TLS"]})
	}
	add("no proxy, wss, TLS by NetDialTLSContext itself", journey{by: "TLS itself", target: "wss://target.example/x", serve: func(h *hop) { h.secure(); h.accepts() }})
	add("http proxy over TLS by NetDialTLSContext itself", journey{by: "TLS itself", proxy: "http://u:p@proxy.example:3128", target: "wss://target.example/x",
		serve: func(h *hop) { h.secure(); http200(h) }})
	differ("https proxy", "gorilla has none", journey{proxy: "https://u:p@proxy.example:3128", serve: func(h *hop) { h.secure(); http200(h) }})
	differ("https proxy, wss", "gorilla has none", journey{proxy: "https://proxy.example:3128", target: "wss://target.example/x", serve: func(h *hop) { h.secure(); http200TLS(h) }})
	differ("socks5h proxy", "gorilla has none", journey{proxy: "socks5h://proxy.example", serve: open})
	differ("socks5 proxy without a port", "gorilla wants one", journey{proxy: "socks5://proxy.example", by: "none", set: settings{timeout: time.Second}, serve: open})

	differ("http proxy, bytes behind its answer", "ours says so: gorilla loses them", journey{proxy: "http://proxy.example", serve: func(h *hop) {
		h.head()
		io.WriteString(h, ok+"\x81\x00")
		h.accepts()
	}})

	for name, u := range map[string]string{
		"a user": "socks5://user:pass@proxy.example:1080", "a user alone": "socks5://user@proxy.example:1080", "an escaped user": "socks5://us%3Aer:p%20w@proxy.example:1080",
		"a long user": "socks5://" + strings.Repeat("u", 255) + ":" + strings.Repeat("p", 255) + "@proxy.example:1080",
	} {
		add("socks5 proxy with "+name, journey{proxy: u, serve: withUser})
		add("socks5 proxy that wants no authentication with "+name, journey{proxy: u, serve: open})
	}
	for name, u := range map[string]string{
		"an empty user": "socks5://:pass@proxy.example:1080", "nothing": "socks5://@proxy.example:1080", "too long a user": "socks5://" + strings.Repeat("u", 256) + ":p@proxy.example:1080",
		"too long a password": "socks5://u:" + strings.Repeat("p", 256) + "@proxy.example:1080",
	} {
		add("socks5 proxy with "+name, journey{proxy: u, serve: open})
	}
	for _, target := range []string{"ws://127.0.0.1:99/", "ws://[::1]:99/", "ws://target.example:65535/", "ws://a/", "ws://" + strings.Repeat("a", 255) + "/"} {
		add("socks5 proxy to "+target, journey{proxy: "socks5://proxy.example:1080", target: target, serve: open})
	}
	add("socks5 proxy that answers with a name", journey{proxy: "socks5://proxy.example:1080", serve: func(h *hop) {
		h.greets("\x05\x00")
		h.connects("\x05\x00\x00\x03\x04name\x00\x50")
		h.accepts()
	}})
	add("socks5 proxy that answers with IPv6", journey{proxy: "socks5://proxy.example:1080", serve: func(h *hop) {
		h.greets("\x05\x00")
		h.connects("\x05\x00\x00\x04" + strings.Repeat("\x00", 16) + "\x00\x50")
		h.accepts()
	}})
	add("socks5 proxy that answers with an empty name", journey{proxy: "socks5://proxy.example:1080", serve: func(h *hop) {
		h.greets("\x05\x00")
		h.connects("\x05\x00\x00\x03\x00\x00\x50")
		h.accepts()
	}})
	add("socks5 proxy that cannot be reached", journey{proxy: "socks5://127.0.0.1:1", by: "none", serve: open})
	add("http proxy that cannot be reached", journey{proxy: "http://127.0.0.1:1", by: "none", serve: open})

	// What a proxy refuses: the texts are each library's own.
	for name, serve := range map[string]func(h *hop){
		"version 4":              func(h *hop) { h.greets("\x04\x00") },
		"no method":              func(h *hop) { h.greets("\x05\xff") },
		"ends":                   func(h *hop) {},
		"ends after a greeting":  func(h *hop) { h.greets("\x05") },
		"ends after a method":    func(h *hop) { h.greets("\x05\x00") },
		"half an answer":         func(h *hop) { h.greets("\x05\x00"); h.connects(connected[:7]) },
		"an unknown address":     func(h *hop) { h.greets("\x05\x00"); h.connects("\x05\x00\x00\x09\x01\x01\x01\x01\x00\x50") },
		"a general failure":      func(h *hop) { h.greets("\x05\x00"); h.connects("\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00") },
		"forbidden":              func(h *hop) { h.greets("\x05\x00"); h.connects("\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00") },
		"network unreachable":    func(h *hop) { h.greets("\x05\x00"); h.connects("\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00") },
		"host unreachable":       func(h *hop) { h.greets("\x05\x00"); h.connects("\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00") },
		"connection refused":     func(h *hop) { h.greets("\x05\x00"); h.connects("\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00") },
		"TTL expired":            func(h *hop) { h.greets("\x05\x00"); h.connects("\x05\x06\x00\x01\x00\x00\x00\x00\x00\x00") },
		"not supported":          func(h *hop) { h.greets("\x05\x00"); h.connects("\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00") },
		"an unknown failure":     func(h *hop) { h.greets("\x05\x00"); h.connects("\x05\x63\x00\x01\x00\x00\x00\x00\x00\x00") },
		"a failure in four":      func(h *hop) { h.greets("\x05\x00"); h.connects("\x05\x05\x00\x01") },
		"the wrong password":     func(h *hop) { h.greets("\x05\x02"); h.asks("\x01\x01") },
		"ends after the user":    func(h *hop) { h.greets("\x05\x02"); h.asks("") },
		"another authentication": func(h *hop) { h.greets("\x05\x01") },
	} {
		differ("socks5 proxy refuses: "+name, "the text of the error is ours, and wraps what the transport said",
			journey{proxy: "socks5://user:pass@proxy.example:1080", serve: serve})
	}

	// HandshakeTimeout at each stage.
	short := settings{timeout: 100 * time.Millisecond}
	silent := func(h *hop) { <-h.over }
	connect := func(h *hop) { h.head(); io.WriteString(h, ok) }
	timed := func(name, why string, loose bool, j journey) {
		j.loose = loose
		withTimeout := j
		withTimeout.set.timeout = short.timeout
		list = append(list, handshake{name: "HandshakeTimeout: " + name, differs: why, play: func(s *stage) { s.goes(withTimeout) }})
		list = append(list, handshake{name: "a deadline of the context: " + name, differs: why, play: func(s *stage) {
			j := j
			ctx, cancel := context.WithTimeout(s.Context(), short.timeout)
			defer cancel()
			j.ctx = ctx
			s.goes(j)
		}})
	}
	const httpProxy, socksProxy = "http://proxy.example:3128", "socks5://user:pass@proxy.example:1080"
	timed("an http proxy is silent", "", false, journey{proxy: httpProxy, serve: silent})
	timed("an http proxy does not answer", "", false, journey{proxy: httpProxy, serve: func(h *hop) { h.head(); <-h.over }})
	timed("an http proxy answers by half", "", false, journey{proxy: httpProxy, serve: func(h *hop) { h.head(); io.WriteString(h, "HTTP/1.1 200"); <-h.over }})
	timed("TLS behind an http proxy", "", true, journey{proxy: httpProxy, target: "wss://target.example", serve: func(h *hop) { connect(h); <-h.over }})
	timed("the response behind an http proxy", "", false, journey{proxy: httpProxy, serve: func(h *hop) { connect(h); h.head(); <-h.over }})
	for name, serve := range map[string]func(h *hop){
		"is silent":            silent,
		"gives half a method":  func(h *hop) { h.greets("\x05"); <-h.over },
		"checks the password":  func(h *hop) { h.greets("\x05\x02"); h.asks(""); <-h.over },
		"connects":             func(h *hop) { h.greets("\x05\x00"); h.connects(""); <-h.over },
		"gives half an answer": func(h *hop) { h.greets("\x05\x00"); h.connects(connected[:6]); <-h.over },
	} {
		timed("a socks5 proxy "+name, "ours is a net.Error", false, journey{proxy: socksProxy, serve: serve})
	}
	timed("the response behind a socks5 proxy", "", false, journey{proxy: "socks5://proxy.example:1080", serve: func(h *hop) { h.greets("\x05\x00"); h.connects(connected); h.head(); <-h.over }})
	timed("TLS", "", true, journey{target: "wss://target.example", serve: silent})
	timed("half of TLS", "", true, journey{target: "wss://target.example", serve: func(h *hop) { io.WriteString(h, "\x16\x03\x03\x00\x7a\x02"); <-h.over }})
	for name, reply := range map[string]string{
		"the response":         "",
		"the body of a 403":    "HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nhalf",
		"no body of a 403":     "HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\n",
		"the end of a 403":     "HTTP/1.1 403 No\r\n\r\nto the end",
		"a chunk of a 403":     "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
		"a 403 without an end": "HTTP/1.1 403 No\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("x", 1024),
		"the body of a 302":    "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 9\r\n\r\nhalf",
		"nothing of a 407":     "HTTP/1.1 407 No\r\nConnection: close\r\n\r\n",
	} {
		timed(name, "", false, journey{serve: func(h *hop) { h.head(); io.WriteString(h, reply); <-h.over }})
	}
	timed("half a status", "gorilla says that the status is malformed", false, journey{serve: func(h *hop) { h.head(); io.WriteString(h, "HTTP/1.1 10"); <-h.over }})
	timed("half a response", "gorilla says that the field is malformed", false, journey{serve: func(h *hop) { h.head(); io.WriteString(h, accepts()[:40]); <-h.over }})
	add("after HandshakeTimeout", journey{set: settings{timeout: silence}, serve: func(h *hop) {
		key := h.head().Get("Sec-Websocket-Key")
		io.WriteString(h, strings.ReplaceAll(accepts(), "ACCEPT", acceptOf(key)))
		time.Sleep(2 * silence)
		h.Write((&peer{}).frame(fin|text, "late"))
		<-h.over
	}, after: func(s *stage, c conn) {
		typ, p, err := c.ReadMessage()
		s.say("%d %q %s", typ, p, s.err(err))
	}})

	// Cookies of a redirect, and of what a proxy says.
	list = append(list, handshake{name: "Jar and redirects", play: func(s *stage) {
		jar, _ := cookiejar.New(nil)
		at := &url.URL{Scheme: "http", Host: "target.example", Path: "/x"}
		for i, reply := range []string{
			"HTTP/1.1 302 Found\r\nLocation: /y\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 500 No\r\nSet-Cookie: b=2; Path=/\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 407 No\r\nSet-Cookie: c=3; Path=/\r\nContent-Length: 0\r\n\r\n",
			"",
		} {
			s.goes(journey{set: settings{jar: jar}, serve: func(h *hop) {
				header := h.head()
				h.say("%q", header["Cookie"])
				if i < 3 {
					io.WriteString(h, reply)
					return
				}
				io.WriteString(h, strings.ReplaceAll(accepts("\r\n\r\n", "\r\nSet-Cookie: d=4; Path=/\r\n\r\n"), "ACCEPT", acceptOf(header.Get("Sec-Websocket-Key"))))
				<-h.over
			}})
			s.say("%v", jar.Cookies(at))
		}
	}})
	list = append(list, handshake{name: "Jar, and the proxy's cookies", play: func(s *stage) {
		jar, _ := cookiejar.New(nil)
		s.goes(journey{set: settings{jar: jar}, proxy: "http://proxy.example:3128", serve: func(h *hop) {
			h.say("%q", h.head()["Cookie"])
			io.WriteString(h, "HTTP/1.1 200 OK\r\nSet-Cookie: p=1; Path=/\r\n\r\n")
			h.accepts()
		}})
		s.say("%v %v", jar.Cookies(&url.URL{Scheme: "http", Host: "target.example"}), jar.Cookies(&url.URL{Scheme: "http", Host: "proxy.example"}))
	}})

	list = append(list, handshake{name: "Proxy sees the request, and may change it", play: func(s *stage) {
		jar, _ := cookiejar.New(nil)
		jar.SetCookies(&url.URL{Scheme: "http", Host: "target.example"}, []*http.Cookie{{Name: "of", Value: "jar"}})
		s.goes(journey{set: settings{jar: jar, subprotocols: []string{"a", "b/c"}, compress: true, proxy: func(r *http.Request) (*url.URL, error) {
			for _, name := range []string{"Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Cookie"} {
				s.say("%s %q", name, r.Header[name])
			}
			s.say("%d %s %s %s %v %v", len(r.Header), r.Method, r.URL, r.Host, r.Body == nil || r.Body == http.NoBody, r.Context().Value(key{}))
			r.Header.Set("X-Of-The-Proxy", "1")
			return nil, nil
		}}, serve: func(h *hop) {
			header := h.head()
			h.say("%q", header["X-Of-The-Proxy"])
			io.WriteString(h, strings.ReplaceAll(accepts(), "ACCEPT", acceptOf(header.Get("Sec-Websocket-Key"))))
			<-h.over
		}})
	}})

	// Hooks of httptrace.
	hooked := func(name, why string, j journey) {
		list = append(list, handshake{name: "httptrace: " + name, differs: why, play: func(s *stage) {
			var mu sync.Mutex
			var calls []string
			on := func(format string, args ...any) {
				mu.Lock()
				defer mu.Unlock()
				calls = append(calls, addresses.ReplaceAllString(fmt.Sprintf(format, args...), "ADDR"))
			}
			j := j
			j.ctx = httptrace.WithClientTrace(s.Context(), &httptrace.ClientTrace{
				GetConn:              func(addr string) { on("GetConn %s", addr) },
				GotConn:              func(i httptrace.GotConnInfo) { on("GotConn %T %v %v", i.Conn, i.Reused, i.WasIdle) },
				PutIdleConn:          func(err error) { on("PutIdleConn") },
				GotFirstResponseByte: func() { on("GotFirstResponseByte") },
				Got100Continue:       func() { on("Got100Continue") },
				Got1xxResponse:       func(code int, h textproto.MIMEHeader) error { on("Got1xxResponse %d", code); return nil },
				DNSStart:             func(i httptrace.DNSStartInfo) { on("DNSStart %s", i.Host) },
				DNSDone:              func(i httptrace.DNSDoneInfo) { on("DNSDone %v", i.Err) },
				ConnectStart:         func(n, a string) { on("ConnectStart %s %s", n, a) },
				ConnectDone:          func(n, a string, err error) { on("ConnectDone %s %s %v", n, a, err) },
				TLSHandshakeStart:    func() { on("TLSHandshakeStart") },
				TLSHandshakeDone: func(c tls.ConnectionState, err error) {
					on("TLSHandshakeDone %v %s %v", c.HandshakeComplete, c.ServerName, err)
				},
				WroteHeaderField: func(k string, v []string) {
					if k == "Sec-WebSocket-Key" {
						v = nil
					}
					on("WroteHeaderField %s %q", k, v)
				},
				WroteHeaders:    func() { on("WroteHeaders") },
				Wait100Continue: func() { on("Wait100Continue") },
				WroteRequest:    func(i httptrace.WroteRequestInfo) { on("WroteRequest %v", i.Err) },
			})
			s.goes(j)
			s.say("%s", strings.Join(calls, "\n"))
		}})
	}
	hooked("ws", "", journey{serve: (*hop).accepts})
	hooked("ws, the Dialer's own connection", "", journey{by: "none", target: "ws://ADDR/x", serve: (*hop).accepts})
	hooked("ws to localhost", "", journey{by: "none", target: "ws://ADDR/x", serve: (*hop).accepts, set: settings{compress: true, subprotocols: []string{"a", "b"}}})
	hooked("wss", "", journey{target: "wss://target.example/x", serve: func(h *hop) { h.secure(); h.accepts() }})
	hooked("wss, TLS fails", "", journey{target: "wss://target.example/x", set: settings{tls: &tls.Config{ServerName: "other.example"}}, serve: func(h *hop) { h.secure(); h.head() }})
	hooked("wss by NetDialTLSContext", "", journey{by: "TLS itself", target: "wss://target.example/x", serve: func(h *hop) { h.secure(); h.accepts() }})
	hooked("an http proxy", "", journey{proxy: "http://proxy.example:3128", serve: http200})
	hooked("an http proxy, wss", "", journey{proxy: "http://proxy.example:3128", target: "wss://target.example/x", serve: http200TLS})
	hooked("a socks5 proxy", "", journey{proxy: "socks5://proxy.example:3128", serve: open})
	hooked("refused", "", journey{serve: func(h *hop) { h.head(); io.WriteString(h, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno") }})
	hooked("a redirect", "", journey{serve: func(h *hop) {
		h.head()
		io.WriteString(h, "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
	}})
	hooked("no answer", "", journey{serve: func(h *hop) { h.head() }})
	hooked("HandshakeTimeout", "", journey{set: short, serve: func(h *hop) { h.head(); <-h.over }})
	list = append(list, handshake{name: "httptrace: nothing listens", play: func(s *stage) {
		var calls []string
		ctx := httptrace.WithClientTrace(s.Context(), &httptrace.ClientTrace{
			GetConn: func(addr string) { calls = append(calls, "GetConn "+addr) },
			GotConn: func(httptrace.GotConnInfo) { calls = append(calls, "GotConn") },
		})
		_, _, err := s.dial(ctx, settings{netDial: func(string, string) (net.Conn, error) { return nil, errors.New("nothing") }}, "ws://target.example", nil)
		s.say("%s %v", s.refusal(err), calls)
	}})
	return list
}

// hasty is a ResponseWriter whose connection has deadlines when it is taken
// over.
type hasty struct{ http.ResponseWriter }

func (h hasty) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err == nil {
		c.SetDeadline(time.Now().Add(silence))
	}
	return c, buffers, err
}

// deadlines are scenes of the deadlines that an upgrade leaves behind.
func deadlines() []handshake {
	var list []handshake
	for name, k := range map[string]struct {
		server func(*http.Server)
		set    settings
		wrap   bool
	}{
		"of the http.Server": {server: func(srv *http.Server) {
			srv.ReadTimeout, srv.WriteTimeout, srv.IdleTimeout = silence, silence, silence
		}},
		"of the Hijacker":        {wrap: true},
		"of HandshakeTimeout":    {set: settings{timeout: silence}},
		"of both, HTTP and ours": {wrap: true, set: settings{timeout: silence}},
	} {
		list = append(list, handshake{name: "deadlines " + name, play: func(s *stage) {
			conns := make(chan conn, 1)
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if k.wrap {
					w = hasty{w}
				}
				c, err := s.upgrade(k.set, w, r, nil)
				if err != nil {
					s.Error(err)
				}
				conns <- c
			}))
			if k.server != nil {
				k.server(srv.Config)
			}
			srv.Start()
			defer srv.Close()
			raw, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				s.Fatal(err)
			}
			defer raw.Close()
			io.WriteString(raw, asks())
			p := &peer{t: s.T, Conn: raw, raw: raw, br: bufio.NewReader(raw), masked: true}
			readHead(p.br)
			s.c = <-conns
			defer s.c.Close()
			time.Sleep(2 * silence)
			p.send(fin|text, "late")
			s.read()
			s.say("%s", s.err(s.c.WriteMessage(text, []byte("late too"))))
			s.say("%s", p.next())
		}})
	}
	return list
}

func TestJourneys(t *testing.T) {
	for _, sc := range append(journeys(), deadlines()...) {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel() // most of them wait
			compare(t, sc.differs, sc.play)
		})
	}
}

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
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// silence is how long a scene waits for a server that says nothing. On a busy
// machine the connection to it needs a while.
const silence = 300 * time.Millisecond

// A handshake is a scene of the opening handshake.
type handshake struct {
	name    string
	differs string // why it may differ; empty: it may not
	play    func(s *stage)
}

func TestHandshakes(t *testing.T) {
	for _, group := range []struct {
		role   string
		scenes []handshake
	}{{"server", upgrades()}, {"client", dials()}} {
		for _, sc := range group.scenes {
			t.Run(sc.name+"/"+group.role, func(t *testing.T) { compare(t, sc.differs, sc.play) })
		}
	}
}

// addresses finds what is another one in each run.
var addresses = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

// ports finds the port of an address of this machine, whichever way it is
// written.
var ports = regexp.MustCompile(`127\.0\.0\.1:[0-9]+(->127\.0\.0\.1:[0-9]+)?`)

// refusal describes the error of an Upgrade or a Dial, its text included.
func (s *stage) refusal(err error) string {
	text := s.err(err)
	if err == nil {
		return text
	}
	if s.isHandshake(err) {
		text += " HandshakeError"
	}
	for _, known := range []error{s.badHandshake, context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			text += fmt.Sprintf(" is(%v)", known)
		}
	}
	return addresses.ReplaceAllString(fmt.Sprintf("%s %T %v", text, err, err), "ADDR")
}

// readHead reads the head of an HTTP message. The lines behind the first one
// are sorted; those of random values are cut.
func readHead(br *bufio.Reader) (first string, lines []string) {
	first, _ = br.ReadString('\n')
	for {
		line, err := br.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line == "" || err != nil {
			slices.Sort(lines)
			return strings.TrimRight(first, "\r\n"), lines
		}
		for _, random := range []string{"Date: ", "Sec-WebSocket-Key: "} {
			if strings.HasPrefix(line, random) {
				line = random
			}
		}
		lines = append(lines, addresses.ReplaceAllString(line, "ADDR"))
	}
}

// asks is a request for a connection. Pairs of old and new texts change it.
func asks(changes ...string) string {
	return strings.NewReplacer(changes...).Replace("GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + keySample + "\r\n\r\n")
}

// A knock is a request for an Upgrader.
type knock struct {
	set     settings
	request string
	header  http.Header
	wrap    func(http.ResponseWriter, *http.Request) http.ResponseWriter
	any     bool // by the function Upgrade
}

// knocks says what comes of a request.
func (s *stage) knocks(k knock) {
	done := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Of-The-Writer", "w")
		if k.wrap != nil {
			w = k.wrap(w, r)
		}
		if k.any {
			done <- "Upgrade: " + s.refusal(s.upgradeAny(w, r, k.header))
			return
		}
		c, err := s.upgrade(k.set, w, r, k.header)
		if err == nil {
			defer c.Close()
			done <- fmt.Sprintf("Upgrade: no error, subprotocol %q", c.Subprotocol())
			return
		}
		done <- "Upgrade: " + s.refusal(err)
	}))
	defer srv.Close()
	raw, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		s.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	io.WriteString(raw, k.request)
	br := bufio.NewReader(raw)
	status, lines := readHead(br)
	s.say("%s", status)
	length := 0
	for _, line := range lines {
		s.say("  %q", line)
		if n, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			length, _ = strconv.Atoi(n)
		}
	}
	if strings.HasPrefix(k.request, "HEAD") {
		length = 0
	}
	body := make([]byte, length)
	io.ReadFull(br, body)
	s.say("%q", body)
	select {
	case got := <-done:
		s.say("%s", got)
	case <-time.After(patience):
		s.Fatal("Upgrade does not return")
	}
}

// failing is a ResponseWriter whose Hijack fails.
type failing struct {
	http.ResponseWriter
	err error
}

func (f failing) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, f.err }

// plain hides all methods that are not those of an http.ResponseWriter.
type plain struct{ w http.ResponseWriter }

func (p plain) Header() http.Header         { return p.w.Header() }
func (p plain) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p plain) WriteHeader(status int)      { p.w.WriteHeader(status) }

// wrapped is plain for those that do not look for Unwrap.
type wrapped struct{ plain }

func (w wrapped) Unwrap() http.ResponseWriter { return w.w }

// deaf is a ResponseWriter whose connection cannot be written.
type deaf struct {
	http.ResponseWriter
	err error
}

type deafConn struct {
	net.Conn
	err error
}

func (c deafConn) Write([]byte) (int, error) { return 0, c.err }

func (d deaf) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buffers, err := http.NewResponseController(d.ResponseWriter).Hijack()
	if err == nil {
		c.Close()
	}
	return deafConn{c, d.err}, buffers, err
}

func upgrades() []handshake {
	var list []handshake
	add := func(name string, k knock) {
		if k.request == "" {
			k.request = asks()
		}
		list = append(list, handshake{name: name, play: func(s *stage) { s.knocks(k) }})
	}
	differ := func(name, why string, k knock) {
		add(name, k)
		list[len(list)-1].differs = why
	}

	refused := map[string]string{
		"POST":                    asks("GET", "POST"),
		"HEAD":                    asks("GET", "HEAD"),
		"no Connection":           asks("Connection: Upgrade\r\n", ""),
		"Connection: close":       asks("Connection: Upgrade", "Connection: close"),
		"Connection: upgraded":    asks("Connection: Upgrade", "Connection: upgraded"),
		"no Upgrade":              asks("Upgrade: websocket\r\n", ""),
		"Upgrade: h2c":            asks("Upgrade: websocket", "Upgrade: h2c"),
		"Upgrade: websocket/13":   asks("Upgrade: websocket", "Upgrade: websocket/13"),
		"no version":              asks("Sec-WebSocket-Version: 13\r\n", ""),
		"version 8":               asks("Version: 13", "Version: 8"),
		"version 130":             asks("Version: 13", "Version: 130"),
		"no key":                  asks("Sec-WebSocket-Key: "+keySample+"\r\n", ""),
		"a blank key":             asks(keySample, ""),
		"a key of 15 bytes":       asks(keySample, "AAAAAAAAAAAAAAAAAAAA"),
		"a key that is no base64": asks(keySample, "dGhlIHNhbXBsZSBub25jZ!=="),
		"a key without padding":   asks(keySample, "dGhlIHNhbXBsZSBub25jZQ"),
		"Origin of another host":  asks("\r\n\r\n", "\r\nOrigin: https://other.example\r\n\r\n"),
		"Origin of another port":  asks("\r\n\r\n", "\r\nOrigin: https://example.com:8443\r\n\r\n"),
		"Origin null":             asks("\r\n\r\n", "\r\nOrigin: null\r\n\r\n"),
		"Origin no URL":           asks("\r\n\r\n", "\r\nOrigin: http://%zz\r\n\r\n"),
		"a blank Origin":          asks("\r\n\r\n", "\r\nOrigin: \r\n\r\n"),
		"two Origins":             asks("\r\n\r\n", "\r\nOrigin: https://a.example\r\nOrigin: https://example.com\r\n\r\n"),
		"all wrong":               asks("GET", "POST", "Upgrade: websocket\r\n", "", "Version: 13", "Version: 8", keySample, ""),
	}
	for name, request := range refused {
		add("refused: "+name, knock{request: request})
		add("refused, with Error: "+name, knock{request: request, set: settings{
			fail: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
				w.Header().Set("X-Status", fmt.Sprint(status))
				http.Error(w, reason.Error(), http.StatusTeapot)
			},
		}})
		if !strings.Contains(name, "Origin") {
			add("refused, by the function Upgrade: "+name, knock{request: request, any: true})
		}
	}
	for name, request := range map[string]string{
		"plain":                             asks(),
		"tokens in lists":                   asks("Connection: Upgrade", "Connection: keep-alive, uPGRADE", "Upgrade: websocket", "Upgrade: h2c, WebSocket"),
		"tokens on lines":                   asks("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade", "Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"),
		"versions":                          asks("Version: 13", "Version: 8, 13"),
		"same Origin":                       asks("\r\n\r\n", "\r\nOrigin: https://EXAMPLE.com\r\n\r\n"),
		"Origin without a host in its case": asks("example.com", "Example.COM:80", "\r\n\r\n", "\r\nOrigin: http://example.com:80\r\n\r\n"),
		"HTTP/1.0":                          asks("HTTP/1.1", "HTTP/1.0"),
		"a key with spare bits":             asks(keySample, "dGhlIHNhbXBsZSBub25jZR=="),
	} {
		add("accepted: "+name, knock{request: request})
	}
	add("accepted: any Origin, by the function Upgrade", knock{any: true, request: refused["Origin of another host"]})
	differ("an element that is no token", "ours reads the list behind it too", knock{request: asks("Connection: Upgrade", "Connection: keep alive, Upgrade")})
	differ("an empty element", "a recipient of a list ignores empty elements (RFC 9110, section 5.6.1.2)", knock{request: asks("Connection: Upgrade", "Connection: , Upgrade")})
	differ("a body", "its bytes would be taken for frames", knock{request: asks("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx")})
	differ("data before the handshake is complete", "they are the first frames", knock{request: asks() + "\x81\x80\x00\x00\x00\x00"})

	add("CheckOrigin refuses", knock{set: settings{checkOrigin: func(*http.Request) bool { return false }}})
	add("CheckOrigin accepts", knock{request: refused["Origin of another host"], set: settings{checkOrigin: func(*http.Request) bool { return true }}})
	add("CheckOrigin of a bad key", knock{request: asks(keySample, "x"), set: settings{checkOrigin: func(*http.Request) bool { return false }}})
	for name, header := range map[string]http.Header{
		"nil":              nil,
		"more":             {"X-One": {"1", "2"}, "x-lower": {"3"}, "X-Blank": {""}, "X-None": {}},
		"cookies":          {"Set-Cookie": {"a=b; Path=/; HttpOnly", "c=d"}},
		"line breaks":      {"X-Evil": {"a\r\nSet-Cookie: evil=1", "b\nc", "d\re"}},
		"NUL, tab":         {"X-Evil": {"a\x00b\tc"}},
		"beyond ASCII":     {"X-Name": {"Zo\u00eb"}},
		"spaces around":    {"X-Name": {"  a  "}},
		"extensions":       {"Sec-Websocket-Extensions": {"x"}},
		"empty extensions": {"Sec-Websocket-Extensions": {}},
		"subprotocol":      {"Sec-Websocket-Protocol": {"b", "a"}},
		"Server and Date":  {"Server": {"s"}, "Date": {"d"}},
	} {
		add("response header: "+name, knock{header: header})
	}
	differ("response header: DEL", "it may stand in no value (RFC 9110, section 5.5): a space takes its place", knock{header: http.Header{"X-Evil": {"a\x7fb"}}})
	for name, header := range map[string]http.Header{
		"an injected name":        {"X-Evil: 1\r\nSet-Cookie": {"a=b"}},
		"a name that is no token": {"X Evil": {"1"}},
		"no name":                 {"": {"1"}},
	} {
		differ("response header: "+name, "a name that is no token would be malformed or another field", knock{header: header})
	}
	for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Content-Length", "Transfer-Encoding"} {
		differ("response header: "+name, "the field would stand twice, or say that the response has a body", knock{header: http.Header{name: {"7"}}})
	}
	differ("response header: a subprotocol with a line break", "it would be another field", knock{header: http.Header{"Sec-Websocket-Protocol": {"a\r\nX-Evil: 1"}}})

	offers := asks("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a, b ,c\r\n\r\n")
	for name, ours := range map[string][]string{
		"nil": nil, "none": {}, "the second": {"b"}, "the server's order": {"c", "a"}, "no match": {"x"}, "another case": {"A"}, "blank": {""},
	} {
		add("Subprotocols: "+name, knock{request: offers, set: settings{subprotocols: ours}})
		add("Subprotocols, and the response header: "+name, knock{request: offers, set: settings{subprotocols: ours}, header: http.Header{"Sec-Websocket-Protocol": {"h"}}})
		add("Subprotocols, nothing offered: "+name, knock{set: settings{subprotocols: ours}})
	}
	differ("Subprotocols on lines", "lines of a field are one list (RFC 9110, section 5.3)", knock{set: settings{subprotocols: []string{"b"}},
		request: asks("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n\r\n")})
	for name, field := range map[string]string{"one": "a", "some": " a,b , c", "blank": " ", "with slashes": "SPDY/3.1, v4.channel.k8s.io", "twice": "a, a"} {
		list = append(list, handshake{name: "Subprotocols of a request: " + name, play: func(s *stage) {
			s.say("%q", s.offered(&http.Request{Header: http.Header{"Sec-Websocket-Protocol": {field}}}))
		}})
	}
	list = append(list, handshake{name: "Subprotocols of a request: empty elements", differs: "a recipient of a list ignores empty elements (RFC 9110, section 5.6.1.2)",
		play: func(s *stage) {
			s.say("%q", s.offered(&http.Request{Header: http.Header{"Sec-Websocket-Protocol": {"a,,b,"}}}))
		}})
	list = append(list, handshake{name: "IsWebSocketUpgrade", play: func(s *stage) {
		for _, h := range []http.Header{
			{}, {"Connection": {"upgrade"}}, {"Upgrade": {"websocket"}}, {"Connection": {"Upgrade"}, "Upgrade": {"WebSocket"}},
			{"Connection": {"keep-alive, upgrade"}, "Upgrade": {"h2c", "websocket"}}, {"connection": {"upgrade"}, "Upgrade": {"websocket"}},
			{"Connection": {"upgrade"}, "Upgrade": {"websockets"}},
		} {
			s.say("%v", s.isUpgrade(&http.Request{Header: h}))
		}
	}})

	const deflate = "permessage-deflate"
	for name, offer := range map[string]string{
		"plain":               deflate,
		"no context":          deflate + "; client_no_context_takeover; server_no_context_takeover",
		"a browser's":         deflate + "; client_max_window_bits",
		"client window of 10": deflate + "; client_max_window_bits=10",
		"behind another":      "x-other; a=\"b\", " + deflate,
		"another":             "x-other",
		"server window of 15": deflate + "; server_max_window_bits=15",
	} {
		request := asks("\r\n\r\n", "\r\nSec-WebSocket-Extensions: "+offer+"\r\n\r\n")
		add("compression not wanted: "+name, knock{request: request})
		switch name {
		case "server window of 15", "client window of 10":
			differ("compression offered: "+name, "the response says the window that was asked for (RFC 7692, section 7.1.2)", knock{request: request, set: settings{compress: true}})
		default:
			add("compression offered: "+name, knock{request: request, set: settings{compress: true}})
		}
	}
	for name, offer := range map[string]string{
		"server window of 10":  deflate + "; server_max_window_bits=10",
		"an unknown parameter": deflate + "; x=1",
		"server window of 7":   deflate + "; server_max_window_bits=7",
		"a parameter twice":    deflate + "; client_max_window_bits; client_max_window_bits",
	} {
		differ("compression offered: "+name, "gorilla agrees to what it does not do (RFC 7692, section 7)",
			knock{request: asks("\r\n\r\n", "\r\nSec-WebSocket-Extensions: "+offer+"\r\n\r\n"), set: settings{compress: true}})
	}

	noHijack := func(w http.ResponseWriter, r *http.Request) http.ResponseWriter { return plain{w} }
	add("no Hijacker", knock{wrap: noHijack})
	add("no Hijacker, with Error", knock{wrap: noHijack, set: settings{
		fail: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
			http.Error(w, reason.Error(), status+1)
		},
	}})
	add("no Hijacker, by the function Upgrade", knock{wrap: noHijack, any: true})
	for name, err := range map[string]error{
		"": errors.New("it is gone"), " with http.ErrHijacked": http.ErrHijacked, " with a wrapped http.ErrNotSupported": fmt.Errorf("middleware: %w", http.ErrNotSupported),
	} {
		add("Hijack fails"+name, knock{wrap: func(w http.ResponseWriter, r *http.Request) http.ResponseWriter { return failing{w, err} }})
	}
	differ("a Hijacker below Unwrap", "ours finds it, as http.ResponseController does", knock{wrap: func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
		return wrapped{plain{w}}
	}})
	for name, err := range map[string]error{"": errors.New("broken"), " with a timeout": &net.OpError{Op: "write", Err: context.DeadlineExceeded}} {
		list = append(list, handshake{name: "the response cannot be written" + name, play: func(s *stage) {
			s.knocks(knock{request: asks(), set: settings{timeout: patience}, wrap: func(w http.ResponseWriter, r *http.Request) http.ResponseWriter { return deaf{w, err} }})
		}})
	}
	return list
}

// accepts is a response that accepts. Pairs of old and new texts change it.
// ACCEPT stands for the right value.
func accepts(changes ...string) string {
	return strings.NewReplacer(changes...).Replace("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n")
}

// A call is a Dial.
type call struct {
	ctx    context.Context
	set    settings
	url    string // ADDR stands for the server's address
	header http.Header
	reply  string // of the server; it then ends the connection
	quiet  bool   // the server says nothing
	client bool   // by NewClient
	tls    bool
	after  func(s *stage, addr string)
}

// calls says what comes of a Dial.
func (s *stage) calls(k call) {
	srv := httptest.NewUnstartedServer(nil) // for its certificate
	srv.StartTLS()
	certificates := srv.TLS.Certificates
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	srv.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	addr := l.Addr().String()
	if k.tls {
		l = tls.NewListener(l, &tls.Config{Certificates: certificates})
		if k.set.tls == nil {
			k.set.tls = &tls.Config{RootCAs: roots}
		}
	}
	served := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(served)
		raw, err := l.Accept()
		if err != nil {
			s.say("nothing was asked")
			return
		}
		defer raw.Close()
		raw.SetDeadline(time.Now().Add(patience))
		br := bufio.NewReader(raw)
		key := s.heads(br)
		if !k.quiet {
			io.WriteString(raw, strings.ReplaceAll(k.reply, "ACCEPT", acceptOf(key)))
		}
		if k.quiet || strings.Contains(k.reply, "HTTP/1.1 101 ") && strings.HasSuffix(k.reply, "\r\n\r\n") {
			<-over
		}
	}()
	if k.set.timeout == 0 {
		k.set.timeout = patience
	}
	if k.ctx == nil {
		k.ctx = s.Context()
	}
	if k.url == "" {
		k.url = "ws://ADDR"
	}
	k.url = strings.ReplaceAll(k.url, "ADDR", addr)
	var c conn
	var resp *http.Response
	if k.client {
		u, urlErr := url.Parse(k.url)
		nc, dialErr := net.Dial("tcp", addr)
		if urlErr != nil || dialErr != nil {
			s.Fatal(urlErr, dialErr)
		}
		c, resp, err = s.newClient(nc, u, k.header)
	} else {
		c, resp, err = s.dial(k.ctx, k.set, k.url, k.header)
	}
	l.Close()
	close(over)
	<-served
	s.say("Dial: %s", s.refusal(err))
	if resp != nil {
		s.response(resp)
	}
	if c != nil {
		s.say("subprotocol %q", c.Subprotocol())
		c.Close()
	}
	if k.after != nil {
		k.after(s, addr)
	}
}

// callsProxy says what comes of a Dial of target through the proxy u. It
// answers with reply, and if that is status 200, the target accepts.
func (s *stage) callsProxy(u, target, reply string, header http.Header) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	served, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(served)
		raw, err := l.Accept()
		if err != nil {
			s.say("nothing was asked")
			return
		}
		defer raw.Close()
		raw.SetDeadline(time.Now().Add(patience))
		br := bufio.NewReader(raw)
		s.heads(br)
		io.WriteString(raw, reply)
		if !strings.HasPrefix(reply, "HTTP/1.1 200 ") {
			return
		}
		key := s.heads(br)
		io.WriteString(raw, strings.ReplaceAll(accepts(), "ACCEPT", acceptOf(key)))
		<-over
	}()
	set := settings{
		netDial: func(n, a string) (net.Conn, error) {
			s.say("dial %s %s", n, a)
			return net.Dial(n, l.Addr().String())
		},
		proxy: func(r *http.Request) (*url.URL, error) {
			s.say("%s %s, Host %s, Origin %q", r.Method, r.URL, r.Host, r.Header["Origin"])
			return url.Parse(u)
		},
	}
	c, resp, err := s.dial(s.Context(), set, target, header)
	l.Close()
	close(over)
	<-served
	s.say("Dial: %v %s", resp != nil, s.refusal(err))
	if c != nil {
		c.Close()
	}
}

// heads says what the head of a request is, and returns its key.
func (s *stage) heads(br *bufio.Reader) (key string) {
	if peeked, _ := br.Peek(1); len(peeked) > 0 {
		buf, _ := br.Peek(br.Buffered())
		for _, line := range strings.Split(string(buf), "\r\n") {
			if v, ok := strings.CutPrefix(line, "Sec-WebSocket-Key: "); ok {
				key = v
			}
		}
	}
	first, lines := readHead(br)
	s.say("%s", addresses.ReplaceAllString(first, "ADDR"))
	for _, line := range lines {
		s.say("  %q", line)
	}
	return key
}

// response says what a program sees of a response.
func (s *stage) response(resp *http.Response) {
	body, err := io.ReadAll(resp.Body)
	s.say("%s %s, length %d, closing %v", resp.Proto, resp.Status, resp.ContentLength, resp.Close)
	names := make([]string, 0, len(resp.Header))
	for name := range resp.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value := resp.Header[name]
		if name == "Sec-Websocket-Accept" {
			value = nil // another one in each run
		}
		s.say("  %s: %q", name, value)
	}
	s.say("body: %d bytes %.30q %v; closed: %v", len(body), body, err, resp.Body.Close())
	at, err := resp.Location()
	s.say("location: %s", addresses.ReplaceAllString(fmt.Sprint(at, err), "ADDR"))
	if resp.Request == nil {
		s.say("no request")
	} else {
		s.say("request: %s", addresses.ReplaceAllString(resp.Request.Method+" "+resp.Request.URL.String(), "ADDR"))
	}
}

func dials() []handshake {
	var list []handshake
	add := func(name string, k call) {
		if k.reply == "" {
			k.reply = accepts()
		}
		list = append(list, handshake{name: name, play: func(s *stage) { s.calls(k) }})
	}
	differ := func(name, why string, k call) {
		add(name, k)
		list[len(list)-1].differs = why
	}

	add("a request", call{})
	add("a request of NewClient", call{client: true, header: http.Header{"Origin": {"http://o"}}})
	for name, u := range map[string]string{
		"path, query":           "ws://ADDR/a%2Fb/c?d=e&f",
		"scheme in upper case":  "WS://ADDR/",
		"userinfo":              "ws://user:pass@ADDR/",
		"a user":                "ws://user@ADDR/",
		"scheme http":           "http://ADDR/",
		"scheme https":          "https://ADDR/",
		"scheme ftp":            "ftp://ADDR/",
		"no scheme":             "//ADDR/",
		"blank":                 " ",
		"a bad escape":          "ws://ADDR/%zz",
		"a bad host":            "ws://%zz/",
		"a bad port":            "ws://127.0.0.1:x/",
		"nothing":               ":",
		"a path beyond ASCII":   "ws://ADDR/\u00e9",
		"a question mark alone": "ws://ADDR/?",
	} {
		add("URL: "+name, call{url: u})
	}
	differ("URL: a query beyond ASCII", "ours escapes it: it must be ASCII (RFC 3986, section 3.4)", call{url: "ws://ADDR/?q=\u00e9"})
	differ("URL: a query with a space", "ours escapes it: it would end the target of the request", call{url: "ws://ADDR/?q=a b"})
	differ("URL: fragment", "ours leaves it out of the response's Request too", call{url: "ws://ADDR/a?b#c"})
	differ("URL: opaque", "ours says that there is no host; gorilla asks port 80 of this machine", call{url: "ws:ADDR"})
	differ("URL: no host", "ours says so; gorilla asks port 80 of this machine", call{url: "ws:///a"})
	for _, header := range []http.Header{{"Host": {"other.example"}}, {"Host": {"other.example:99", "second"}}, {"Host": {""}}, {"Host": {}}} {
		add(fmt.Sprintf("Host %q", header["Host"]), call{header: header})
	}
	for _, host := range []string{"a b", "a/b"} {
		differ("Host "+host, "gorilla sends an empty Host: ours says what is wrong", call{header: http.Header{"Host": {host}}})
	}

	for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions"} {
		add("duplicate header: "+name, call{header: http.Header{name: {"x"}}})
		add("duplicate header, empty: "+name, call{header: http.Header{name: {}}})
		differ("duplicate header, in another spelling: "+strings.ToLower(name), "names of fields have no case: gorilla sends both", call{header: http.Header{strings.ToLower(name): {"x"}}})
	}
	add("duplicate header: Sec-Websocket-Protocol", call{set: settings{subprotocols: []string{"a"}}, header: http.Header{"Sec-Websocket-Protocol": {"x"}}})
	add("header Sec-Websocket-Accept", call{header: http.Header{"Sec-Websocket-Accept": {"x"}}})
	for name, header := range map[string]http.Header{
		"more":                    {"X-One": {"1", "2"}, "x-lower": {"3"}, "X-Blank": {""}, "X-None": {}},
		"of the program":          {"Origin": {"http://o"}, "Authorization": {"Basic eDp5"}, "Cookie": {"a=b"}, "User-Agent": {"me"}},
		"no user agent":           {"User-Agent": {""}},
		"line breaks":             {"X-Evil": {"a\r\nX-Other: 1", "b\nc"}},
		"a line break at the end": {"Authorization": {"Bearer t\n"}},
		"spaces around":           {"X-Name": {"  a\t"}},
		"a tab":                   {"X-Name": {"a\tb"}},
		"beyond ASCII":            {"X-Name": {"Zo\u00eb"}},
		"a name that is no token": {"X Evil": {"1"}, "X-Good": {"1"}},
		"an injected name":        {"X-Evil: 1\r\nX-Other": {"1"}},
		"no name":                 {"": {"1"}},
		"of the body":             {"Content-Length": {"5"}, "Transfer-Encoding": {"chunked"}, "Trailer": {"X"}},
	} {
		add("request header: "+name, call{header: header})
	}
	differ("request header: a control character", "no server takes it: ours says so (RFC 9110, section 5.5)", call{header: http.Header{"X-Evil": {"a\x00b"}}})
	differ("request header: host", "names of fields have no case", call{header: http.Header{"host": {"other.example"}}})

	chosen := accepts("\r\n\r\n", "\r\nSec-WebSocket-Protocol: b\r\n\r\n")
	add("Subprotocols", call{set: settings{subprotocols: []string{"a", "b"}}, reply: chosen})
	add("Subprotocols, none chosen", call{set: settings{subprotocols: []string{"a", "b"}}})
	add("Subprotocols, no tokens", call{set: settings{subprotocols: []string{"a/b", "b"}}, reply: chosen})
	add("Subprotocols, twice", call{set: settings{subprotocols: []string{"b", "b"}}, reply: chosen})
	add("Subprotocols, empty", call{set: settings{subprotocols: []string{}}})
	add("Subprotocols, by header", call{header: http.Header{"Sec-Websocket-Protocol": {"a, b"}}, reply: chosen})
	add("Subprotocols, by header in the RFC's spelling", call{header: http.Header{"Sec-WebSocket-Protocol": {"a, b"}}, reply: chosen})
	add("Subprotocols, by header, no tokens", call{header: http.Header{"Sec-Websocket-Protocol": {"base64.channel.k8s.io/x, b"}}, reply: chosen})
	add("Subprotocols, by header without a space", call{header: http.Header{"Sec-Websocket-Protocol": {"a,b"}}, reply: chosen})
	add("Subprotocols, by headers", call{header: http.Header{"Sec-Websocket-Protocol": {"a", "b"}}, reply: chosen})
	differ("Subprotocols, not offered", "the client must fail (RFC 6455, section 4.1, rule 6)", call{reply: chosen})

	add("EnableCompression", call{set: settings{compress: true}})
	const agreed = "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n\r\n"
	add("EnableCompression, agreed", call{set: settings{compress: true}, reply: accepts("\r\n\r\n", agreed)})
	differ("EnableCompression, server keeps its context", "the error says what is wrong", call{set: settings{compress: true},
		reply: accepts("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n")})
	differ("EnableCompression, client may keep its context", "a client need not keep it (RFC 7692, section 7.1.1.2)", call{set: settings{compress: true},
		reply: accepts("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n")})
	differ("compression not offered, and agreed", "the client must fail (RFC 6455, section 4.1, rule 5)", call{reply: accepts("\r\n\r\n", agreed)})
	differ("an unknown extension", "the client must fail (RFC 6455, section 4.1, rule 5)", call{reply: accepts("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n")})

	long := strings.Repeat("0123456789", 200)
	for name, reply := range map[string]string{
		"200":                        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One: 1\r\nX-One: 2\r\n\r\nhello",
		"204":                        "HTTP/1.1 204 No Content\r\n\r\n",
		"302":                        "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
		"301 to another server":      "HTTP/1.1 301 Moved Permanently\r\nLocation: ws://127.0.0.1:1/x\r\nContent-Length: 3\r\n\r\nold",
		"302 to nowhere":             "HTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\nno",
		"308 with a body":            "HTTP/1.1 308 Permanent Redirect\r\nLocation: /elsewhere\r\nContent-Length: 5\r\n\r\nmoved",
		"401":                        "HTTP/1.1 401 Unauthorized\r\nWww-Authenticate: Basic realm=\"x\"\r\nContent-Length: 2\r\n\r\nno",
		"403 chunked":                "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
		"404 to the end":             "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nall of it",
		"426":                        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n",
		"500 with 2,000 bytes":       "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2000\r\n\r\n" + long,
		"500 with 1,024 bytes":       "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 1024\r\n\r\n" + long[:1024],
		"500, the body cut":          "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 50\r\n\r\nhalf",
		"500, compressed":            "HTTP/1.1 500 Internal Server Error\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
		"503 HTTP/1.0":               "HTTP/1.0 503 Busy\r\nRetry-After: 5\r\n\r\nlater",
		"a status of its own":        "HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n",
		"no HTTP":                    "SSH-2.0-OpenSSH\r\n",
		"no HTTP version":            "HTTP/x 101 Switching Protocols\r\n\r\n",
		"a bad status":               "HTTP/1.1 abc\r\n\r\n",
		"a bad field":                "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
		"half a head":                "HTTP/1.1 101 Switch",
		"a negative Content-Length":  "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"a bad Location":             "HTTP/1.1 302 Found\r\nLocation: http://%zz\r\nContent-Length: 0\r\n\r\n",
		"a 401, then another answer": "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
	} {
		add("response: "+name, call{reply: reply})
	}
	differ("response: a redirect whose Location cannot be parsed, with a body", "net/http closes the body of such a response",
		call{reply: "HTTP/1.1 302 Found\r\nLocation: http://%zz\r\nContent-Length: 4\r\n\r\nbody"})
	add("response: nothing", call{reply: "\x00"})
	for name, reply := range map[string]string{
		"no Upgrade":              accepts("Upgrade: websocket\r\n", ""),
		"Upgrade: h2c":            accepts("Upgrade: websocket", "Upgrade: h2c"),
		"no Connection":           accepts("Connection: Upgrade\r\n", ""),
		"Connection: close":       accepts("Connection: Upgrade", "Connection: close"),
		"no Accept":               accepts("Sec-WebSocket-Accept: ACCEPT\r\n", ""),
		"another Accept":          accepts("ACCEPT", acceptSample),
		"an Accept in lower case": accepts("ACCEPT", "s3pplmbitxaq9kygzzhzrbk+xoo="),
	} {
		differ("101: "+name, "the error says what is wrong, and wraps ErrBadHandshake", call{reply: reply})
	}
	for name, reply := range map[string]string{
		"two tokens in Upgrade": accepts("Upgrade: websocket", "Upgrade: h2c, websocket"),
		"Accept twice":          accepts("Sec-WebSocket-Accept: ACCEPT", "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Accept: x"),
	} {
		differ("101: "+name, "the client must fail (RFC 6455, section 4.1)", call{reply: reply})
	}
	for name, reply := range map[string]string{
		"other cases":      accepts("Upgrade: websocket", "upgrade: WebSocket", "Connection: Upgrade", "connection: keep-alive, UPGRADE"),
		"another reason":   accepts("Switching Protocols", "Web Socket Protocol Handshake"),
		"more fields":      accepts("\r\n\r\n", "\r\nX-One: 1\r\nSet-Cookie: a=b\r\n\r\n"),
		"Content-Length 0": accepts("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
	} {
		add("101: "+name, call{reply: reply})
	}
	differ("responses of 1xx before the 101", "a client waits for the last one (RFC 9110, section 15.2)", call{reply: "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + accepts()})

	cookies := func(header http.Header, reply string, tls bool) func(*stage) {
		return func(s *stage) {
			jar, _ := cookiejar.New(nil)
			scheme := map[bool]string{false: "http://", true: "https://"}[tls]
			k := call{set: settings{jar: jar}, header: header, reply: reply, tls: tls, url: map[bool]string{false: "ws://ADDR/a", true: "wss://ADDR/a"}[tls]}
			at, _ := url.Parse(scheme + "127.0.0.1/a")
			jar.SetCookies(at, []*http.Cookie{{Name: "sent", Value: "1"}, {Name: "secure", Value: "2", Secure: true}})
			k.after = func(s *stage, addr string) {
				for _, c := range jar.Cookies(at) {
					s.say("jar: %s", c)
				}
			}
			s.calls(k)
		}
	}
	setting := "\r\nSet-Cookie: got=3; Path=/\r\nSet-Cookie: sent=; Max-Age=0; Path=/\r\n\r\n"
	for name, tls := range map[string]bool{"ws": false, "wss": true} {
		list = append(list,
			handshake{name: "Jar, " + name, play: cookies(nil, accepts("\r\n\r\n", setting), tls)},
			handshake{name: "Jar and Cookie, " + name, play: cookies(http.Header{"Cookie": {"mine=4"}}, accepts(), tls)},
			handshake{name: "Jar and a refusal, " + name, play: cookies(nil, "HTTP/1.1 401 No\r\nContent-Length: 0"+setting, tls)},
			handshake{name: "Jar and a bad 101, " + name, differs: "the error says what is wrong, and wraps ErrBadHandshake", play: cookies(nil, accepts("ACCEPT", "x", "\r\n\r\n", setting), tls)},
			handshake{name: "Jar and Host, " + name, play: cookies(http.Header{"Host": {"other.example"}}, accepts("\r\n\r\n", setting), tls)})
	}

	for _, secure := range []bool{false, true} {
		scheme := map[bool]string{false: "ws", true: "wss"}[secure]
		for set := range 8 {
			list = append(list, handshake{name: fmt.Sprintf("the dial functions, %s, %03b", scheme, set), play: func(s *stage) {
				dialed := func(by, network, addr string) (net.Conn, error) {
					s.say("%s %s %s", by, network, addr)
					return nil, errors.New("dial by " + by)
				}
				var k call
				if set&1 != 0 {
					k.set.netDial = func(n, a string) (net.Conn, error) { return dialed("NetDial", n, a) }
				}
				if set&2 != 0 {
					k.set.netDialCtx = func(_ context.Context, n, a string) (net.Conn, error) { return dialed("NetDialContext", n, a) }
				}
				if set&4 != 0 {
					k.set.netDialTLS = func(_ context.Context, n, a string) (net.Conn, error) { return dialed("NetDialTLSContext", n, a) }
				}
				for _, host := range []string{"example.invalid", "example.invalid:99", "[::1]", "[::1]:99", "127.0.0.1:0"} {
					if set == 0 || secure && set == 0 || !secure && set&3 == 0 {
						host = "127.0.0.1:0"
					}
					_, _, err := s.dial(s.Context(), k.set, scheme+"://"+host+"/x", nil)
					s.say("%s", s.refusal(err))
				}
			}})
		}
	}
	add("wss", call{tls: true, url: "wss://ADDR/x"})
	add("wss, the certificate is unknown", call{tls: true, url: "wss://ADDR/x", set: settings{tls: &tls.Config{}}})
	add("wss, another name", call{tls: true, url: "wss://ADDR/x", set: settings{tls: &tls.Config{ServerName: "other.invalid"}}})
	add("wss, not verified", call{tls: true, url: "wss://ADDR/x", set: settings{tls: &tls.Config{InsecureSkipVerify: true}}})
	list = append(list, handshake{name: "wss to a server of ws", play: func(s *stage) {
		srv := httptest.NewServer(http.NotFoundHandler())
		defer srv.Close()
		_, resp, err := s.dial(s.Context(), settings{timeout: patience}, "wss"+srv.URL[4:], nil)
		s.say("%v %s", resp != nil, s.refusal(err))
	}})

	expired, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Hour))
	cancel()
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	never := func(k call) func(s *stage) { // nothing arrives
		return func(s *stage) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				s.Fatal(err)
			}
			defer l.Close()
			_, resp, err := s.dial(k.ctx, k.set, "ws://"+l.Addr().String(), nil)
			s.say("%v %s", resp != nil, s.refusal(err))
		}
	}
	list = append(list,
		handshake{name: "a context that is over", differs: "ours does not begin: its error names no address", play: never(call{ctx: canceled})},
		handshake{name: "a context whose deadline is over", differs: "ours does not begin: its error names no address", play: never(call{ctx: expired})},
		handshake{name: "a HandshakeTimeout below zero", differs: "ours does not begin: its error names no address", play: never(call{ctx: context.Background(), set: settings{timeout: -1}})},
		handshake{name: "HandshakeTimeout", play: func(s *stage) { s.calls(call{quiet: true, set: settings{timeout: silence}}) }},
		handshake{name: "HandshakeTimeout, wss", play: func(s *stage) {
			never(call{ctx: s.Context(), set: settings{timeout: silence, netDialTLS: func(ctx context.Context, n, a string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, n, a)
			}}})(s)
		}},
		handshake{name: "HandshakeTimeout in NetDialContext", play: func(s *stage) {
			set := settings{timeout: silence, netDialCtx: func(ctx context.Context, n, a string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			_, _, err := s.dial(s.Context(), set, "ws://127.0.0.1:1", nil)
			s.say("%s", s.refusal(err))
		}},
		handshake{name: "a deadline of the context", play: func(s *stage) {
			ctx, cancel := context.WithTimeout(s.Context(), silence)
			defer cancel()
			s.calls(call{ctx: ctx, quiet: true})
		}},
		handshake{name: "a context cancelled while the server is silent", differs: "gorilla waits on, here until its HandshakeTimeout", play: func(s *stage) {
			ctx, cancel := context.WithCancel(s.Context())
			defer cancel()
			time.AfterFunc(silence, cancel)
			s.calls(call{ctx: ctx, quiet: true, set: settings{timeout: 5 * silence}})
		}},
		handshake{name: "a context cancelled in NetDialContext", play: func(s *stage) {
			ctx, cancel := context.WithCancel(s.Context())
			defer cancel()
			set := settings{netDialCtx: func(ctx context.Context, n, a string) (net.Conn, error) {
				cancel()
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			_, _, err := s.dial(ctx, set, "ws://127.0.0.1:1", nil)
			s.say("%s", s.refusal(err))
		}},
		handshake{name: "a context cancelled after Dial", play: func(s *stage) {
			ctx, cancel := context.WithCancel(s.Context())
			s.calls(call{ctx: ctx})
			cancel()
		}},
		handshake{name: "nobody listens", play: func(s *stage) {
			_, resp, err := s.dial(s.Context(), settings{}, "ws://127.0.0.1:1", nil)
			s.say("%v %s", resp != nil, s.refusal(err))
		}},
		handshake{name: "URL: a port alone", differs: "ours names localhost", play: func(s *stage) {
			_, _, err := s.dial(s.Context(), settings{netDial: func(n, a string) (net.Conn, error) {
				s.say("%s %s", n, a)
				return nil, errors.New("not here")
			}}, "ws://:8080/x", nil)
			s.say("%s", s.refusal(err))
		}},
	)

	proxy := func(name, why string, u string, target, reply string, header http.Header) {
		list = append(list, handshake{name: "Proxy: " + name, differs: why, play: func(s *stage) { s.callsProxy(u, target, reply, header) }})
	}
	for name, reply := range map[string]string{
		"refused":                "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nno!",
		"status 201":             "HTTP/1.1 201 Created\r\n\r\n",
		"a redirect of CONNECT":  "HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n",
		"a status without words": "HTTP/1.1 403 \r\n\r\n",
	} {
		proxy(name, "the text of the error is ours, with the status", "http://proxy.example:3128", "ws://target.example/x", reply, nil)
	}
	proxy("no HTTP", "", "http://proxy.example:3128", "ws://target.example/x", "SSH-2.0\r\n", nil)
	proxy("the end", "", "http://proxy.example:3128", "ws://target.example/x", "\x00", nil)
	ok := "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"
	proxy("ws", "", "http://proxy.example:3128", "ws://target.example/x", ok, http.Header{"Origin": {"http://o"}})
	proxy("ws with a port and auth", "", "http://us%3Aer:pa%20ss@proxy.example:3128", "ws://target.example:99/x", ok, nil)
	proxy("a user without a password", "", "http://user@proxy.example:3128", "ws://target.example/x", ok, nil)
	proxy("an empty password", "", "http://user:@proxy.example:3128", "ws://target.example/x", ok, nil)
	proxy("IPv6", "", "http://proxy.example:3128", "ws://[::1]:99/x", ok, nil)
	proxy("an unknown scheme", "the text of the error is ours", "ftp://proxy.example:3128", "ws://target.example/x", ok, nil)
	proxy("no scheme", "the text of the error is ours", "//proxy.example:3128", "ws://target.example/x", ok, nil)
	proxy("no port", "", "http://proxy.example", "ws://target.example/x", ok, nil)
	list = append(list, handshake{name: "Proxy: an error", play: func(s *stage) {
		_, _, err := s.dial(s.Context(), settings{proxy: func(*http.Request) (*url.URL, error) { return nil, errors.New("no proxy") }}, "ws://127.0.0.1:1", nil)
		s.say("%s", s.refusal(err))
	}})
	list = append(list, handshake{name: "Proxy: none", play: func(s *stage) {
		s.calls(call{reply: accepts(), set: settings{proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}})
	}})
	return list
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
)

// listenFlags are the options of "ws listen".
type listenFlags struct {
	output       outputFlags
	compression  compressionFlags
	broadcast    bool
	scriptFile   string
	once         bool
	quiet        bool
	frames       bool
	verbose      bool
	tls          bool
	cert, key    string
	clientCA     string
	subprotocols []string
	origins      []string
	anyOrigin    bool
	maxMessage   int
}

func listenCommand() *command {
	f := &listenFlags{maxMessage: 64 << 20}
	cmd := &command{name: "listen", args: "ADDRESS", summary: "serve connections: send messages back, to all others, or as a script says",
		details: `
ADDRESS is host:port, :port for all interfaces, a port of localhost, or
unix:PATH. Messages that come are printed, and each connection has a number.
` + scriptHelp}
	cmd.boolean(&f.broadcast, "broadcast", "send each message to all other connections, and each line of stdin to all; default: echo")
	cmd.text(&f.scriptFile, "script", "FILE", "file", "do with each connection what the script says")
	cmd.boolean(&f.once, "once", "serve one connection, and end with it; exit code 7 if it went another way than the script")
	cmd.boolean(&f.quiet, "q,quiet", "do not print messages")
	f.output.register(cmd)
	cmd.boolean(&f.frames, "frames", "show every frame, with its bits, on stderr")
	cmd.boolean(&f.verbose, "v,verbose", "show the headers of each request")
	cmd.boolean(&f.tls, "tls", "serve wss, with a certificate that is made now")
	cmd.text(&f.cert, "cert", "FILE", "file", "serve wss with this certificate, PEM")
	cmd.text(&f.key, "key", "FILE", "file", "its private key, PEM; default: the file of --cert")
	cmd.text(&f.clientCA, "client-ca", "FILE", "file", "demand certificates of clients, by the authorities of this PEM file")
	cmd.list(&f.subprotocols, "s,subprotocol", "NAME", "accept a subprotocol; may be given more than once")
	cmd.list(&f.origins, "origin", "PATTERN", "let pages of this host connect, such as *.example.com; may be given more than once")
	cmd.boolean(&f.anyOrigin, "any-origin", "let pages of every host connect")
	f.compression.register(cmd)
	cmd.integer(&f.maxMessage, 1, 1<<30, "max-message", "BYTES", "the longest message received; default: 64 MiB")
	cmd.run = func(ctx context.Context, c *console, args []string) error {
		if len(args) != 1 {
			return usagef("one address is needed, not %d", len(args))
		}
		return f.run(ctx, c, args[0])
	}
	return cmd
}

func (f *listenFlags) run(ctx context.Context, c *console, address string) error {
	if f.broadcast && f.scriptFile != "" {
		return usagef("--broadcast and --script exclude each other")
	}
	s := &server{flags: f, c: c, conns: map[int]*served{}, ended: make(chan error, 1)}
	s.options = &websocket.AcceptOptions{
		Subprotocols:                 f.subprotocols,
		OriginPatterns:               f.origins,
		InsecureSkipVerify:           f.anyOrigin,
		CompressionMode:              f.compression.mode(),
		CompressionThreshold:         f.compression.limit(),
		CompressionSendWindowBits:    f.compression.sendBits,
		CompressionReceiveWindowBits: f.compression.receiveBits,
		ReadLimit:                    int64(f.maxMessage),
	}
	if f.scriptFile != "" {
		text, err := os.ReadFile(f.scriptFile)
		if err != nil {
			return fmt.Errorf("--script: %w", err)
		}
		if s.script, err = parseScript(string(text)); err != nil {
			return exitError{exitUsage, fmt.Errorf("%s: %w", f.scriptFile, err)}
		}
	}
	var err error
	if s.output, err = f.output.open(c, false); err != nil {
		return err
	}
	defer s.output.close()
	s.output.prefix = ""
	ln, err := listenOn(address)
	if err != nil {
		return err
	}
	defer ln.Close()
	scheme := "ws"
	var under net.Listener = ln
	if f.tls || f.cert != "" {
		config, note, err := f.tlsConfig()
		if err != nil {
			return err
		}
		scheme, under = "wss", tls.NewListener(ln, config)
		if note != "" {
			c.dimmed(note)
		}
	}
	c.dimmed("listening on " + listenURL(scheme, ln.Addr()))
	return s.run(ctx, under)
}

// listenOn listens on what the user has typed.
func listenOn(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return net.Listen("unix", path)
	}
	if !strings.Contains(address, ":") {
		address = "localhost:" + address
	}
	return net.Listen("tcp", address)
}

// listenURL returns the URL of a server at address.
func listenURL(scheme string, address net.Addr) string {
	if address.Network() == "unix" {
		return scheme + "://localhost/ --unix " + address.String()
	}
	host, port, _ := net.SplitHostPort(address.String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/"
}

func (f *listenFlags) tlsConfig() (config *tls.Config, note string, err error) {
	config = &tls.Config{NextProtos: []string{"http/1.1"}}
	var pair tls.Certificate
	if f.cert != "" {
		key := f.key
		if key == "" {
			key = f.cert
		}
		pair, err = tls.LoadX509KeyPair(f.cert, key)
	} else if pair, err = selfSigned(time.Now()); err == nil {
		note = fmt.Sprintf("certificate for localhost made, SHA-256 %x: clients need -k", sha256.Sum256(pair.Certificate[0]))
	}
	if err != nil {
		return nil, "", fmt.Errorf("--cert: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	if f.clientCA != "" {
		if config.ClientCAs, err = readPool(f.clientCA); err != nil {
			return nil, "", fmt.Errorf("--client-ca: %w", err)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, note, nil
}

// selfSigned makes a certificate for localhost that is valid for a day.
func selfSigned(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "ws listen"},
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.Add(24 * time.Hour),
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// A server is what "ws listen" runs.
type server struct {
	flags   *listenFlags
	c       *console
	options *websocket.AcceptOptions
	script  *script
	serving sync.WaitGroup // for each connection
	ended   chan error     // with --once: how the connection went

	mu       sync.Mutex // guards what follows
	output   *output
	last     int
	conns    map[int]*served
	stopping bool
}

// served is one connection.
type served struct {
	number int
	conn   *websocket.Conn
	tracer *tracer
	queue  chan *websocket.PreparedMessage // of a broadcast
}

// queueLength is how many messages of a broadcast may wait for one connection.
const queueLength = 256

type tracerKey struct{}

func (s *server) run(ctx context.Context, ln net.Listener) error {
	hs := &http.Server{
		Handler:  http.HandlerFunc(s.serve),
		ErrorLog: log.New(noteWriter{s.c}, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, tracerKey{}, c.(*tracedConn).t)
		},
		ReadHeaderTimeout: 30 * time.Second,
	}
	go hs.Serve(tracedListener{ln, func(net.Conn) *tracer { return &tracer{} }})
	defer hs.Close()
	if s.flags.broadcast {
		go s.readInput(ctx)
	}
	var result error
	select {
	case <-ctx.Done():
		result = exitError{exitInterrupted, nil}
	case result = <-s.ended:
	}
	s.mu.Lock()
	s.stopping = true
	for _, one := range s.conns {
		go one.conn.Close(websocket.StatusGoingAway, "")
	}
	s.mu.Unlock()
	s.serving.Wait()
	flushing, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	hs.Shutdown(flushing) // the answer of a refusal may be on its way
	return result
}

// noteWriter writes what net/http has to say.
type noteWriter struct{ c *console }

func (w noteWriter) Write(p []byte) (int, error) {
	w.c.note(sanitize(strings.TrimSpace(string(p))))
	return len(p), nil
}

// serve answers one request.
func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	one := s.admit()
	if one == nil {
		http.Error(w, "the server serves no more connections", http.StatusServiceUnavailable)
		return
	}
	defer s.serving.Done()
	one.tracer, _ = r.Context().Value(tracerKey{}).(*tracer)
	say := func(text string) { s.c.dimmed(sanitize(fmt.Sprintf("#%d %s", one.number, text))) }
	if s.flags.verbose {
		say(requestText(r))
	}
	if s.script != nil && s.script.refuseHandshake(w) {
		say(fmt.Sprintf("%s from %s refused with %d by the script", r.URL.RequestURI(), r.RemoteAddr, s.script.refuse))
		s.leave(one, nil)
		return
	}
	conn, err := websocket.Accept(w, r, s.options)
	if err != nil {
		say(fmt.Sprintf("%s from %s refused: %s", r.URL.RequestURI(), r.RemoteAddr, strings.TrimPrefix(err.Error(), "websocket: ")))
		s.leave(one, exitError{exitRefused, nil})
		return
	}
	defer conn.CloseNow()
	text := fmt.Sprintf("%s from %s", r.URL.RequestURI(), r.RemoteAddr)
	if name := conn.Subprotocol(); name != "" {
		text += ", subprotocol " + name
	}
	if extensions := one.tracer.extensions(); extensions != "" {
		text += ", " + extensions
	}
	s.enter(one, conn)
	say(text)
	if s.flags.frames {
		one.tracer.begin(func(f frame) { say(f.String()) })
	}
	err = s.talk(one)
	s.forget(one)
	conn.CloseNow()
	if errors.Is(err, errExpected) {
		say(err.Error())
	}
	ending, code := one.tracer.ending(err)
	say(ending)
	switch {
	case errors.Is(err, errExpected):
		code = exitMissing
	case s.script != nil && s.script.drops():
		code = exitOK
	}
	if code != exitOK {
		s.leave(one, exitError{code, nil})
		return
	}
	s.leave(one, nil)
}

// drops reports whether the script may end connections without a close frame.
func (sc *script) drops() bool {
	for _, s := range sc.steps {
		if s.verb == "drop" {
			return true
		}
	}
	return false
}

// admit gives a request its number, unless the server serves no more.
func (s *server) admit() *served {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping || s.flags.once && s.last > 0 {
		return nil
	}
	s.last++
	s.serving.Add(1)
	return &served{number: s.last}
}

func (s *server) enter(one *served, conn *websocket.Conn) {
	one.conn = conn
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flags.broadcast {
		one.queue = make(chan *websocket.PreparedMessage, queueLength)
		go one.writeQueue()
	}
	s.conns[one.number] = one
	if s.stopping {
		go conn.Close(websocket.StatusGoingAway, "")
	}
}

func (s *server) forget(one *served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(one)
}

// removeLocked takes a connection out of the broadcast.
func (s *server) removeLocked(one *served) {
	if s.conns[one.number] == one {
		delete(s.conns, one.number)
		if one.queue != nil {
			close(one.queue)
		}
	}
}

// leave ends the command after one connection with --once.
func (s *server) leave(_ *served, result error) {
	if s.flags.once {
		select {
		case s.ended <- result:
		default:
		}
	}
}

// talk runs one connection, and returns the error of its last read.
func (s *server) talk(one *served) error {
	if s.script != nil {
		run := newScriptRun(one.conn, func(typ websocket.MessageType, data []byte) { s.print(one, typ, data) })
		err := run.run(s.script)
		if ended := run.end(); !errors.Is(err, errExpected) {
			err = ended
		}
		return err
	}
	for {
		typ, data, err := one.conn.Read(context.Background())
		if err != nil {
			return err
		}
		s.print(one, typ, data)
		if s.flags.broadcast {
			s.broadcast(one, typ, data)
			continue
		}
		if err := one.conn.Write(context.Background(), typ, data); err != nil {
			_, _, err = one.conn.Read(context.Background())
			return err
		}
	}
}

func (s *server) print(one *served, typ websocket.MessageType, data []byte) {
	if s.flags.quiet {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c.outTerminal {
		s.output.prefix = fmt.Sprintf("#%d ", one.number)
	}
	if err := s.output.message(typ, data); err != nil {
		s.c.note("ws: " + err.Error())
	}
}

// broadcast sends a message to all connections except from, which may be nil.
func (s *server) broadcast(from *served, typ websocket.MessageType, data []byte) {
	message, err := websocket.NewPreparedMessage(typ, data)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.conns {
		if one == from {
			continue
		}
		select {
		case one.queue <- message:
		default:
			s.removeLocked(one)
			s.c.dimmed(fmt.Sprintf("#%d is too slow for the broadcast", one.number))
			go one.conn.Close(websocket.StatusTryAgainLater, "too slow for the broadcast")
		}
	}
}

func (one *served) writeQueue() {
	for message := range one.queue {
		one.conn.WritePrepared(context.Background(), message) // a failure is one of the reader's too
	}
}

// readInput sends each line of stdin to all.
func (s *server) readInput(ctx context.Context) {
	if s.c.inTerminal && s.c.outTerminal {
		if p := openPrompt(s.c); p != nil {
			for {
				line, err := p.readLine()
				if err != nil || ctx.Err() != nil {
					return
				}
				if line != "" {
					s.broadcast(nil, websocket.MessageText, []byte(line))
				}
			}
		}
	}
	in := bufio.NewReader(s.c.in)
	for {
		line, err := in.ReadBytes('\n')
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			s.broadcast(nil, websocket.MessageText, line)
		}
		if err != nil {
			if err != io.EOF {
				s.c.note("ws: stdin: " + err.Error())
			}
			return
		}
	}
}

// requestText returns the head of a request.
func requestText(r *http.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\nHost: %s\n", r.Method, r.RequestURI, r.Proto, r.Host)
	r.Header.Write(&b)
	return strings.TrimRight(strings.ReplaceAll(b.String(), "\r\n", "\n"), "\n")
}

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket"
)

// dialFlags are the options of all commands that connect to a server.
type dialFlags struct {
	headers      []string
	bearer       string
	subprotocols []string
	origin       string
	host         string
	proxy        string
	ca           string
	cert, key    string
	insecure     bool
	unix         string
	compression  compressionFlags
	timeout      time.Duration
	maxMessage   int
}

func (f *dialFlags) register(cmd *command) {
	f.timeout = 10 * time.Second
	f.maxMessage = 64 << 20
	cmd.list(&f.headers, "H,header", "'NAME: VALUE'", "add a header to the handshake; may be given more than once")
	cmd.text(&f.bearer, "bearer", "TOKEN", "file", "send \"Authorization: Bearer TOKEN\"; @FILE reads the token from a file")
	cmd.list(&f.subprotocols, "s,subprotocol", "NAME", "offer a subprotocol; may be given more than once")
	cmd.text(&f.origin, "origin", "URL", "", "send an Origin header, as a page of this origin would")
	cmd.text(&f.host, "host", "NAME", "", "send this Host header in place of the URL's host")
	cmd.text(&f.proxy, "proxy", "URL", "", "connect through a proxy (http, https or socks5), or \"none\"; by default HTTP_PROXY, HTTPS_PROXY and NO_PROXY are heeded")
	cmd.text(&f.ca, "ca", "FILE", "file", "trust the certificate authorities of this PEM file only")
	cmd.text(&f.cert, "cert", "FILE", "file", "the client's certificate, PEM")
	cmd.text(&f.key, "key", "FILE", "file", "its private key, PEM; default: the file of --cert")
	cmd.boolean(&f.insecure, "k,insecure", "do not verify the server's certificate")
	cmd.text(&f.unix, "unix", "PATH", "file", "connect to this Unix socket; the URL still says host and path")
	f.compression.register(cmd)
	cmd.duration(&f.timeout, "connect-timeout", "bound the opening handshake; default: 10s")
	cmd.integer(&f.maxMessage, 1, 1<<30, "max-message", "BYTES", "the longest message received; default: 64 MiB")
}

// compressionFlags are the options of permessage-deflate.
type compressionFlags struct {
	on, noTakeover bool
	sendBits       int
	receiveBits    int
	threshold      int
}

func (f *compressionFlags) register(cmd *command) {
	cmd.boolean(&f.on, "z,compress", "use permessage-deflate, if the peer agrees")
	cmd.boolean(&f.noTakeover, "no-takeover", "compress each message by itself; implies -z")
	cmd.integer(&f.sendBits, 8, 15, "window-send", "BITS", "the window that messages are compressed with, 8 to 15; implies -z")
	cmd.integer(&f.receiveBits, 8, 15, "window-receive", "BITS", "the window that the peer may use, 8 to 15; implies -z")
	cmd.integer(&f.threshold, 0, 1<<30, "compress-from", "BYTES", "compress messages of at least this size; implies -z")
	f.threshold = -1 // not given
}

func (f *compressionFlags) mode() websocket.CompressionMode {
	switch {
	case f.noTakeover:
		return websocket.CompressionNoContextTakeover
	case f.on || f.sendBits > 0 || f.receiveBits > 0 || f.threshold >= 0:
		return websocket.CompressionContextTakeover
	}
	return websocket.CompressionDisabled
}

// limit returns the CompressionThreshold of the options.
func (f *compressionFlags) limit() int {
	switch {
	case f.threshold == 0:
		return -1
	case f.threshold > 0:
		return f.threshold
	}
	return 0
}

// options returns what websocket.Dial needs.
func (f *dialFlags) options() (*websocket.DialOptions, error) {
	header := http.Header{}
	for _, line := range f.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, usagef("the header %q has no colon", line)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if f.bearer != "" {
		token := f.bearer
		if file, ok := strings.CutPrefix(token, "@"); ok {
			b, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("--bearer: %w", err)
			}
			token = strings.TrimSpace(string(b))
		}
		header.Set("Authorization", "Bearer "+token)
	}
	if f.origin != "" {
		header.Set("Origin", f.origin)
	}
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", "ws (github.com/seed70bc5565/websocket)")
	}
	return &websocket.DialOptions{
		HTTPHeader:                   header,
		Host:                         f.host,
		Subprotocols:                 f.subprotocols,
		CompressionMode:              f.compression.mode(),
		CompressionThreshold:         f.compression.limit(),
		CompressionSendWindowBits:    f.compression.sendBits,
		CompressionReceiveWindowBits: f.compression.receiveBits,
		ReadLimit:                    int64(f.maxMessage),
	}, nil
}

// A dialer makes connections as its options say.
type dialer struct {
	flags   *dialFlags
	options *websocket.DialOptions
	network network
}

// dialer checks the options, and reads their files.
func (f *dialFlags) dialer() (*dialer, error) {
	options, err := f.options()
	if err != nil {
		return nil, err
	}
	config, err := clientTLS(f.ca, f.cert, f.key, f.insecure)
	if err != nil {
		return nil, err
	}
	d := &dialer{flags: f, options: options, network: network{unix: f.unix, tls: config, proxy: http.ProxyFromEnvironment}}
	switch {
	case f.unix != "" || f.proxy == "none":
		d.network.proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	case f.proxy != "":
		u, err := url.Parse(f.proxy)
		if err != nil || u.Host == "" || proxyPorts[u.Scheme] == "" {
			return nil, usagef("--proxy must be the URL of a proxy, such as http://proxy:3128 or socks5://proxy:1080")
		}
		d.network.proxy = http.ProxyURL(u)
	}
	return d, nil
}

// dial connects to the URL. through is called with the connection below the
// handshake, and may put another in its place; it may be nil.
func (d *dialer) dial(ctx context.Context, target string, through func(net.Conn) net.Conn) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, d.flags.timeout)
	defer cancel()
	replaced := func(c net.Conn, err error) (net.Conn, error) {
		if err != nil || through == nil {
			return c, err
		}
		return through(c), nil
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return replaced(d.network.dial(ctx, address, false))
		},
		DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return replaced(d.network.dial(ctx, address, true))
		},
	}
	defer transport.CloseIdleConnections()
	options := *d.options
	options.HTTPClient = &http.Client{Transport: transport}
	return websocket.Dial(ctx, target, &options)
}

// completeURL makes a URL of what the user has typed: "localhost:8080" and
// ":8080/path" mean ws.
func completeURL(s string) string {
	if !strings.Contains(s, "://") {
		s = "ws://" + s
	}
	if scheme, rest, _ := strings.Cut(s, "://"); strings.HasPrefix(rest, ":") {
		s = scheme + "://localhost" + rest
	}
	return s
}

// clientTLS returns the configuration of a client's TLS.
func clientTLS(ca, cert, key string, insecure bool) (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: insecure, NextProtos: []string{"http/1.1"}}
	if ca != "" {
		pool, err := readPool(ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		config.RootCAs = pool
	}
	if key != "" && cert == "" {
		return nil, usagef("--key needs --cert")
	}
	if cert != "" {
		if key == "" {
			key = cert
		}
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("--cert: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func readPool(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s has no PEM certificate", file)
	}
	return pool, nil
}

// A network opens what lies below a handshake: TCP or a Unix socket, through a
// proxy or not, with TLS or not. RFC 6455, section 4.1, asks for CONNECT at a
// proxy for ws too.
type network struct {
	unix  string
	tls   *tls.Config
	proxy func(*http.Request) (*url.URL, error)
}

func (n *network) dial(ctx context.Context, address string, secure bool) (net.Conn, error) {
	c, err := n.plain(ctx, address, secure)
	if err != nil || !secure {
		return c, err
	}
	host, _, _ := net.SplitHostPort(address)
	return secured(ctx, c, n.tls, host)
}

func secured(ctx context.Context, c net.Conn, config *tls.Config, host string) (net.Conn, error) {
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	tc := tls.Client(c, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, tlsError{err}
	}
	return tc, nil
}

// A tlsError is one of the TLS handshake.
type tlsError struct{ err error }

func (e tlsError) Error() string { return "TLS: " + e.err.Error() }
func (e tlsError) Unwrap() error { return e.err }

// A proxyError is one of the way through a proxy.
type proxyError struct {
	status int // of its answer; 0: there was none
	err    error
}

func (e proxyError) Error() string { return "the proxy: " + e.err.Error() }
func (e proxyError) Unwrap() error { return e.err }

var proxyPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

func (n *network) plain(ctx context.Context, address string, secure bool) (net.Conn, error) {
	var d net.Dialer
	if n.unix != "" {
		return d.DialContext(ctx, "unix", n.unix)
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	via, err := n.proxy(&http.Request{URL: &url.URL{Scheme: scheme, Host: address}})
	if err != nil {
		return nil, proxyError{err: err}
	}
	if via == nil {
		return d.DialContext(ctx, "tcp", address)
	}
	port := proxyPorts[via.Scheme]
	if port == "" {
		return nil, proxyError{err: fmt.Errorf("its URL has the unknown scheme %q", via.Scheme)}
	}
	if via.Port() != "" {
		port = via.Port()
	}
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(via.Hostname(), port))
	if err == nil && via.Scheme == "https" {
		c, err = secured(ctx, c, &tls.Config{InsecureSkipVerify: n.tls.InsecureSkipVerify, RootCAs: n.tls.RootCAs}, via.Hostname())
	}
	if err != nil {
		return nil, proxyError{err: err}
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	tunnel := connectThrough
	if strings.HasPrefix(via.Scheme, "socks5") {
		tunnel = socksThrough
	}
	err = tunnel(c, address, via.User)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		var pe proxyError
		if !errors.As(err, &pe) {
			err = proxyError{err: err}
		}
		return nil, err
	}
	return c, nil
}

// connectThrough asks an HTTP proxy for a tunnel to address.
func connectThrough(c net.Conn, address string, user *url.Userinfo) error {
	req := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n"
	if user != nil {
		password, _ := user.Password()
		req += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)) + "\r\n"
	}
	if _, err := io.WriteString(c, req+"\r\n"); err != nil {
		return err
	}
	// Byte by byte, so that nothing is read of what follows the answer.
	resp, err := http.ReadResponse(bufio.NewReaderSize(oneByte{c}, 16), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return proxyError{resp.StatusCode, fmt.Errorf("it answered CONNECT with status %s", resp.Status)}
	}
	return nil
}

// oneByte returns one byte with each Read.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

// socksThrough asks a SOCKS5 proxy for a connection to address (RFC 1928, and
// RFC 1929 for name and password).
func socksThrough(c net.Conn, address string, user *url.Userinfo) error {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	port, err := net.LookupPort("tcp", portText)
	if err != nil {
		return err
	}
	if len(host) > 255 {
		return errors.New("the name of the host is too long for SOCKS5")
	}
	const noAuth, password = 0, 2
	method := byte(noAuth)
	if user != nil {
		method = password
	}
	reply := make([]byte, 4)
	ask := func(request []byte, n int) error {
		if _, err := c.Write(request); err != nil {
			return err
		}
		_, err := io.ReadFull(c, reply[:n])
		return err
	}
	if err := ask([]byte{5, 1, method}, 2); err != nil {
		return err
	}
	if reply[0] != 5 || reply[1] != method {
		return errors.New("it does not take this way to log in, or does not speak SOCKS5")
	}
	if user != nil {
		name, secret := user.Username(), ""
		secret, _ = user.Password()
		if len(name) > 255 || len(secret) > 255 {
			return errors.New("name or password is too long for SOCKS5")
		}
		request := append([]byte{1, byte(len(name))}, name...)
		request = append(append(request, byte(len(secret))), secret...)
		if err := ask(request, 2); err != nil {
			return err
		}
		if reply[1] != 0 {
			return errors.New("it does not accept the name and the password")
		}
	}
	request := append([]byte{5, 1, 0, 3, byte(len(host))}, host...)
	if err := ask(append(request, byte(port>>8), byte(port)), 4); err != nil {
		return err
	}
	if reply[1] != 0 {
		texts := []string{1: "it failed", 2: "its rules forbid it", 3: "the network is unreachable", 4: "the host is unreachable",
			5: "the connection is refused", 6: "the time to live has expired", 7: "it does not know CONNECT", 8: "it does not know this kind of address"}
		if int(reply[1]) < len(texts) {
			return errors.New(texts[reply[1]])
		}
		return fmt.Errorf("it answered with the code %d", reply[1])
	}
	// The address that it uses, and its port, are of no use.
	var rest int
	switch reply[3] {
	case 1:
		rest = net.IPv4len
	case 4:
		rest = net.IPv6len
	case 3:
		if _, err := io.ReadFull(c, reply[:1]); err != nil {
			return err
		}
		rest = int(reply[0])
	default:
		return fmt.Errorf("it answered with an address of the unknown type %d", reply[3])
	}
	_, err = io.ReadFull(c, make([]byte, rest+2))
	return err
}

package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// dial opens the connection for req to addr, through the proxy if there is one.
func (t *roundTripper) dial(req *http.Request, addr string) (net.Conn, error) {
	var proxy *url.URL
	if t.d.Proxy != nil {
		var err error
		if proxy, err = t.d.Proxy(req); err != nil {
			return nil, err
		}
	}
	if proxy == nil {
		return t.open(req.URL.Scheme, addr)
	}
	var through func(conn net.Conn, proxy *url.URL, addr string) error
	switch proxy.Scheme {
	case "http", "https":
		through = connectHTTP
	case "socks5", "socks5h":
		through = connectSOCKS
	default:
		return nil, fmt.Errorf("websocket: the scheme %q of the proxy's URL is unknown", proxy.Scheme)
	}
	conn, err := t.open(req.URL.Scheme, hostPort(proxy))
	if err != nil {
		return nil, err
	}
	if proxy.Scheme == "https" {
		secure := tls.Client(conn, t.tlsConfig(proxy.Hostname()))
		if err := secure.HandshakeContext(t.ctx); err != nil {
			conn.Close()
			return nil, t.broken(conn, err)
		}
		conn = secure
	}
	stop := context.AfterFunc(t.ctx, func() { conn.Close() })
	err = through(conn, proxy, addr)
	if !stop() && err == nil {
		err = t.ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, t.broken(conn, err)
	}
	return conn, nil
}

// open opens a network connection as the Dialer says for a target of the given
// scheme. The deadline of the handshake is set on it.
func (t *roundTripper) open(scheme, addr string) (conn net.Conn, err error) {
	d := t.d
	switch {
	case scheme == "https" && d.NetDialTLSContext != nil:
		conn, err = d.NetDialTLSContext(t.ctx, "tcp", addr)
	case d.NetDialContext != nil:
		conn, err = d.NetDialContext(t.ctx, "tcp", addr)
	case d.NetDial != nil:
		conn, err = d.NetDial("tcp", addr)
	default:
		conn, err = (&net.Dialer{}).DialContext(t.ctx, "tcp", addr)
	}
	if err != nil {
		return nil, err
	}
	if deadline, ok := t.ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// connectHTTP asks an HTTP proxy for a tunnel to addr (RFC 9110, section
// 9.3.6).
func connectHTTP(conn net.Conn, proxy *url.URL, addr string) error {
	req := &http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Opaque: addr},
		Host:   addr,
		Header: make(http.Header),
	}
	if user := proxy.User; user != nil {
		if password, ok := user.Password(); ok {
			credentials := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
			req.Header.Set("Proxy-Authorization", "Basic "+credentials)
		}
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("websocket: the proxy refused CONNECT: %s", resp.Status)
	}
	if br.Buffered() > 0 {
		return errors.New("websocket: the proxy sent bytes of its own behind its response to CONNECT")
	}
	return nil
}

// Values of SOCKS 5 (RFC 1928).
const (
	socksVersion  = 5
	socksNoAuth   = 0
	socksPassword = 2
	socksConnect  = 1
	socksIPv4     = 1
	socksName     = 3
	socksIPv6     = 4
)

// socksReplies are the errors of section 6 of RFC 1928.
var socksReplies = []string{
	1: "general failure", 2: "connection not allowed", 3: "network unreachable", 4: "host unreachable",
	5: "connection refused", 6: "TTL expired", 7: "command not supported", 8: "address type not supported",
}

// connectSOCKS asks a SOCKS 5 proxy for a connection to addr (RFC 1928). The
// proxy resolves names.
func connectSOCKS(conn net.Conn, proxy *url.URL, addr string) error {
	if err := greetSOCKS(conn, proxy.User); err != nil {
		return fmt.Errorf("websocket: SOCKS proxy: %w", err)
	}
	request, err := appendSOCKSConnect(nil, addr)
	if err != nil {
		return fmt.Errorf("websocket: SOCKS proxy: %w", err)
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	if err := readSOCKSReply(conn); err != nil {
		return fmt.Errorf("websocket: failed to read connect reply from SOCKS5 proxy at %s: %w", proxy.Host, err) // programs look for the text
	}
	return nil
}

// greetSOCKS agrees on a method to authenticate, and does so (RFC 1929).
func greetSOCKS(conn net.Conn, user *url.Userinfo) error {
	hello := []byte{socksVersion, 1, socksNoAuth}
	name := user.Username()
	password, _ := user.Password()
	known := name != "" && len(name) <= 255 && len(password) <= 255 // RFC 1929 has no room for others
	if known {
		hello = []byte{socksVersion, 2, socksNoAuth, socksPassword}
	}
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	var answer [2]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	switch {
	case answer[0] != socksVersion:
		return fmt.Errorf("it speaks version %d", answer[0])
	case answer[1] == socksNoAuth:
		return nil
	case answer[1] != socksPassword || !known:
		return errors.New("it wants another authentication than the URL has")
	}
	p := append([]byte{1, byte(len(name))}, name...)
	p = append(append(p, byte(len(password))), password...)
	if _, err := conn.Write(p); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if answer[1] != 0 {
		return errors.New("it refused the user name and password")
	}
	return nil
}

func appendSOCKSConnect(dst []byte, addr string) ([]byte, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err
	}
	dst = append(dst, socksVersion, socksConnect, 0)
	ip := net.ParseIP(host)
	if v4 := ip.To4(); v4 != nil {
		dst = append(append(dst, socksIPv4), v4...)
	} else if ip != nil {
		dst = append(append(dst, socksIPv6), ip...)
	} else if len(host) > 255 {
		return nil, errors.New("the host name is longer than 255 bytes")
	} else {
		dst = append(append(dst, socksName, byte(len(host))), host...)
	}
	return append(dst, byte(port>>8), byte(port)), nil
}

// readSOCKSReply reads the answer to a request, and nothing behind it.
func readSOCKSReply(conn net.Conn) error {
	var head [5]byte // with the first byte of the address
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	if head[1] != 0 {
		text := "unknown error " + strconv.Itoa(int(head[1]))
		if int(head[1]) < len(socksReplies) {
			text = socksReplies[head[1]]
		}
		return errors.New(text)
	}
	rest := 2 // the port
	switch head[3] {
	case socksIPv4:
		rest += net.IPv4len - 1
	case socksIPv6:
		rest += net.IPv6len - 1
	case socksName:
		rest += int(head[4])
	default:
		return fmt.Errorf("address of unknown type %d", head[3])
	}
	_, err := io.ReadFull(conn, make([]byte, rest))
	return err
}

package h2peer

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Tunnel is a client's end for programs that speak HTTP/1.1. It answers the
// handshake of conn in the place of the server, and opens a stream of p with
// the same fields. Then it carries bytes until both directions have ended. A
// refusal is passed on with its status. It closes conn.
func (p *Peer) Tunnel(conn net.Conn) error {
	defer conn.Close()
	br := bufio.NewReader(conn)
	r, err := http.ReadRequest(br)
	if err != nil {
		return err
	}
	fields := Handshake(r.Host, r.RequestURI)
	for name, values := range r.Header {
		switch name {
		case "Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version":
			continue
		}
		for _, v := range values {
			fields = append(fields, Handshake("", "", strings.ToLower(name), v)[6:]...)
		}
	}
	s, err := p.Open(fields, false, false)
	if err != nil {
		return err
	}
	h, err := s.Header()
	if err != nil {
		return err
	}
	if h[":status"][0] != "200" {
		_, err := fmt.Fprintf(conn, "HTTP/1.1 %s Refused\r\nContent-Length: 0\r\n\r\n", h[":status"][0])
		return err
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	for name, values := range h {
		for _, v := range values {
			if strings.HasPrefix(name, "sec-websocket-") {
				fmt.Fprintf(conn, "%s: %s\r\n", name, v)
			}
		}
	}
	io.WriteString(conn, "\r\n")

	up := make(chan error, 1)
	go func() {
		_, err := io.Copy(s, br)
		s.CloseWrite()
		up <- err
	}()
	_, err = io.Copy(conn, s)
	// The server has ended the stream: TCP is ended as it would be.
	if c, ok := conn.(*net.TCPConn); ok {
		c.CloseWrite()
	}
	s.Reset(8) // CANCEL: nothing more is taken
	conn.Close()
	<-up
	return err
}

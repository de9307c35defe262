package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/seed70bc5565/websocket"
)

// The sentences here are the short form of docs/handshake-errors.md, which has
// more to say.

// A refusalText is what a status means whose answer has a text of this
// library's server.
type refusalText struct{ part, sentence string }

// refusalTexts are judged in order, before statusSentences.
var refusalTexts = map[int][]refusalText{
	400: {
		{"the handshake needs HTTP/1.1", "A proxy speaks HTTP/1.0 to the server; nginx needs proxy_http_version 1.1."},
		{"Sec-WebSocket-Protocol", "The server found the list of subprotocols to be invalid."},
		{"HTTP request to an HTTPS server", "The server speaks TLS: use wss in place of ws."},
	},
	403: {
		{`the origin "null"`, "The server admits no page without an origin of its own."},
		{"the origin", "The server does not let pages of this origin connect: it must name the origin in OriginPatterns, or get the right Host header."},
	},
	426: {
		{"there is no Upgrade header", "Something on the way drops the Upgrade header: a proxy must pass Upgrade and Connection on."},
		{"the Connection header", "A proxy passes Upgrade on, but not Connection."},
	},
	503: {
		{"shutting down", "The server is shutting down: try again later."},
		{"as many connections", "The server has as many connections as it takes: try again later."},
	},
}

// statusSentences say what a status in place of 101 means.
var statusSentences = map[int]string{
	200: "Something answered that does not know WebSocket: check the host and the path of the URL.",
	301: "The server redirects, and the redirect was not followed: use the final URL.",
	400: "The server, or a proxy, found the request to be no valid handshake.",
	401: "The server wants credentials: try --bearer, or -H 'Authorization: ...'.",
	403: "The server does not admit this client: its own check, or a firewall, refused.",
	404: "The path is wrong, or a proxy has no route for it.",
	405: "The server takes another method at this path: no WebSocket is served there.",
	407: "The HTTP proxy wants credentials: put them into its URL, as in --proxy http://name:password@proxy:3128.",
	408: "The request did not arrive in time for the server or a proxy.",
	426: "The server wants another protocol or version, or something on the way drops the Upgrade header.",
	429: "The server limits how often a client may ask: wait, as Retry-After says.",
	431: "The headers are too long for the server: cookies, mostly.",
	500: "The program of the server failed.",
	501: "The server cannot upgrade: middleware hides the connection from it.",
	502: "The proxy could not talk to the server behind it.",
	503: "The proxy has no server that is up, or the server is overloaded: try again later.",
	504: "The server behind the proxy did not answer in time.",
	505: "The server does not speak HTTP/1.1.",
}

// unsolicited is what net/http says of a server that speaks first.
const unsolicited = "readLoopPeekFailLocked"

// explain returns the exit code for an error of a dial, and a sentence that
// says what to look for, or "".
func explain(err error) (code int, sentence string) {
	var refused *websocket.HandshakeError
	if errors.As(err, &refused) {
		return exitRefused, explainRefusal(refused)
	}
	var proxy proxyError
	if errors.As(err, &proxy) && proxy.status != 0 {
		switch proxy.status {
		case http.StatusProxyAuthRequired:
			return exitUnreachable, statusSentences[407]
		case http.StatusForbidden, http.StatusMethodNotAllowed:
			return exitUnreachable, "The proxy does not tunnel to this host and port."
		}
		return exitUnreachable, "The proxy could not open a tunnel to the server."
	}
	var (
		dns         *net.DNSError
		unknown     x509.UnknownAuthorityError
		hostname    x509.HostnameError
		invalid     x509.CertificateInvalidError
		record      tls.RecordHeaderError
		ofTLS       tlsError
		unreachable = exitUnreachable
	)
	text := err.Error()
	switch {
	case errors.As(err, &dns):
		return unreachable, "The name of the host is wrong, or the resolver does not know it."
	case errors.Is(err, syscall.ECONNREFUSED):
		return unreachable, "No program listens at this address and port."
	case errors.Is(err, os.ErrNotExist):
		return unreachable, "There is no socket at this path."
	case errors.As(err, &unknown):
		return unreachable, "The authority of the certificate is not known: name it with --ca, or use -k to go without."
	case errors.As(err, &hostname):
		return unreachable, "The certificate is for another name than the host of the URL."
	case errors.As(err, &invalid):
		return unreachable, "The certificate has run out, or may not be used for this."
	case errors.As(err, &record), strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return unreachable, "The server does not speak TLS: use ws in place of wss."
	case strings.Contains(text, "remote error: tls: "): // the alert has no exported type
		return unreachable, "The server refused the TLS handshake: it may want a client's certificate (--cert)."
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return unreachable, "No answer in time: packets get lost (a firewall), or the server is busy."
	case errors.As(err, &ofTLS):
		return unreachable, "The TLS handshake failed: does the server speak TLS at this port?"
	case strings.Contains(text, "malformed HTTP"), strings.Contains(text, unsolicited):
		return unreachable, "What listens there does not speak HTTP/1.1; a server of TLS wants wss in place of ws."
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), strings.HasSuffix(text, "EOF"):
		return unreachable, "The server or a proxy ended the connection: it may want wss in place of ws, or ws in place of wss."
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return unreachable, "There is no way to this address."
	}
	var ofRequest *url.Error
	if errors.As(err, &ofRequest) {
		return unreachable, ""
	}
	return exitUsage, "" // of the arguments: nothing was sent
}

func explainRefusal(e *websocket.HandshakeError) string {
	if e.StatusCode == http.StatusSwitchingProtocols {
		return explainSwitch(e.Error())
	}
	for _, t := range refusalTexts[e.StatusCode] {
		if strings.Contains(string(e.Body), t.part) {
			return t.sentence
		}
	}
	status := e.StatusCode
	if status > 301 && status < 400 {
		status = 301
	}
	if sentence := statusSentences[status]; sentence != "" {
		return sentence
	}
	switch {
	case status >= 500:
		return statusSentences[500]
	case status >= 400:
		return statusSentences[400]
	}
	return statusSentences[200]
}

// explainSwitch explains a 101 that breaks the protocol.
func explainSwitch(text string) string {
	for _, t := range []refusalText{
		{"the Upgrade header", "A proxy drops the header, or the server switches to another protocol."},
		{"the Connection header", "A proxy drops the header."},
		{"Sec-WebSocket-Accept", "A cache, or something that answers 101 to every request: it is no WebSocket server."},
		{"subprotocol", "The server must choose one of the subprotocols that were offered: compare the names, they are case-sensitive."},
		{"Sec-WebSocket-Protocol", "The server must choose one subprotocol."},
		{"xtension", "The server uses extensions that do not fit the offer: try without -z, or with other windows."},
	} {
		if strings.Contains(text, t.part) {
			return t.sentence
		}
	}
	return "The server's answer breaks the protocol."
}

// dialFailed says that a dial failed, and why, and returns the error for run.
func dialFailed(ctx context.Context, c *console, err error) error {
	if ctx.Err() != nil {
		return exitError{exitInterrupted, nil}
	}
	code, sentence := explain(err)
	if code == exitUsage {
		return exitError{code, errors.New(strings.TrimPrefix(err.Error(), "websocket: dial: "))}
	}
	text := strings.TrimPrefix(err.Error(), "websocket: dial: ")
	var ofRequest *url.Error
	if errors.As(err, &ofRequest) { // its own text begins with the method and the URL
		text = ofRequest.Err.Error()
	}
	if strings.Contains(text, unsolicited) {
		text = "the server sent something before it was asked"
	}
	c.note(c.paint(red, "ws: "+sanitize(text)))
	if sentence != "" {
		c.note("    " + sentence)
	}
	return exitError{code, nil}
}

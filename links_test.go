package websocket

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A link makes the two ends of a transport: the Conn's and the peer's. Conn takes another path for each kind: a
// socket that it can wait on without a buffer, crypto/tls which it cannot, and any other net.Conn.
type link struct {
	name   string
	bubble bool // it works in a testing/synctest bubble
	make   func(t *testing.T) (ours, theirs net.Conn)
}

var links = []link{
	{"fake", true, func(t *testing.T) (ours, theirs net.Conn) { return fakeLink() }},
	{"tcp", false, tcpLink},
	{"tls", false, tlsLink},
}

func fakeLink() (ours, theirs net.Conn) { return netfake.Pipe(netfake.Options{}) }

func tcpLink(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if theirs, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

func tlsLink(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	a, b := tcpLink(t)
	server := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{testCertificate()}})
	client := tls.Client(b, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return server, client
}

var testCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

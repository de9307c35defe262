// Package behaviour asks this library and others the questions of the
// comparison in the README, over real connections.
package behaviour

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	patience  = 5 * time.Second        // for what must happen
	impatient = 100 * time.Millisecond // for what must not, at this end
	boring    = 2 * time.Second        // for what must not, at the other end
)

// A question is asked to every library. Its answers are "yes", "no", and "-"
// where the library leaves the matter to its caller.
type question struct {
	text    string // as the README has it
	answers [6]string
	// Exactly one of these is set. The function server is given the peer's end
	// of a TCP connection and our end of the WebSocket. The function client is
	// given them the other way around. Both return yes or no.
	server func(raw *rawPeer, s session) bool
	client func(raw *rawPeer, s session) bool
	// early is sent together with the handshake's last byte.
	early []byte
}

const masked, unmasked = true, false

var questions = []question{
	{
		text:    "A read that timed out inside a message goes on with the next call",
		answers: [6]string{"yes", "no", "no", "-", "no", "no"},
		server: func(raw *rawPeer, s session) bool {
			hello := frame(0x81, masked, "hello")
			raw.send(hello[:8])
			if got, err := s.read(impatient); err == nil {
				return got == "hello"
			}
			raw.send(hello[8:])
			got, err := s.read(patience)
			return err == nil && got == "hello"
		},
	},
	{
		text:    "A read that timed out between messages goes on with the next call",
		answers: [6]string{"yes", "no", "no", "-", "yes", "yes"},
		server: func(raw *rawPeer, s session) bool {
			if _, err := s.read(impatient); err == nil {
				return false
			}
			raw.send(frame(0x81, masked, "hello"))
			got, err := s.read(patience)
			return err == nil && got == "hello"
		},
	},
	{
		text:    "Any number of goroutines may write",
		answers: [6]string{"yes", "yes", "no", "yes", "-", "yes"}, // gobwas writes to the net.Conn: whether frames mix is chance
		server:  concurrentWriters,
	},
	{
		text:    "Reading on after an error returns errors, without a panic",
		answers: [6]string{"yes", "yes", "no", "-", "yes", "yes"},
		server: func(raw *rawPeer, s session) bool {
			raw.c.Close()
			for range 2000 {
				if _, err := s.read(patience); err == nil {
					return false
				}
			}
			return true
		},
	},
	{
		text:    "A message cut off by the end of the connection is an error",
		answers: [6]string{"yes", "yes", "yes", "yes", "yes", "no"},
		server: func(raw *rawPeer, s session) bool {
			hello := frame(0x81, masked, "hello")
			raw.send(hello[:len(hello)-2])
			raw.c.(*net.TCPConn).CloseWrite()
			_, err := s.read(patience)
			return err != nil
		},
	},
	{
		text:    "A message sent together with the handshake arrives",
		answers: [6]string{"yes", "yes", "no", "no", "no", "yes"},
		early:   frame(0x81, masked, "hello"),
		server: func(raw *rawPeer, s session) bool {
			got, err := s.read(boring)
			return err == nil && got == "hello"
		},
	},
	{
		text:    "A client refuses frames that are masked",
		answers: [6]string{"yes", "no", "yes", "yes", "yes", "yes"},
		client:  refuses(frame(0x81, masked, "hello")),
	},
	{
		text:    "Lengths that are not in their shortest form are refused",
		answers: [6]string{"yes", "no", "no", "no", "no", "no"},
		server:  refuses([]byte{0x81, 0x80 | 126, 0, 2, 0, 0, 0, 0, 'h', 'i'}),
	},
	{
		text:    "Text that is not UTF-8 is refused, by default",
		answers: [6]string{"yes", "no", "no", "no", "yes", "no"},
		server:  refuses(frame(0x81, masked, "\xff\xfe")),
	},
	{
		text:    "By default a message of 1 GiB is refused before its payload arrives",
		answers: [6]string{"yes", "no", "no", "yes", "no", "yes"},
		server:  refuses(binary.BigEndian.AppendUint64([]byte{0x82, 0x80 | 127}, 1<<30), []byte{0, 0, 0, 0}),
	},
}

// refuses sends a session bytes that it must not take. It reports whether the
// session's read fails, or its peer gets a close frame or the end of the
// connection.
func refuses(parts ...[]byte) func(raw *rawPeer, s session) bool {
	return func(raw *rawPeer, s session) bool {
		raw.send(bytes.Join(parts, nil))
		refused := make(chan bool, 2)
		go func() {
			_, err := s.read(patience)
			refused <- err != nil && err != errNoTimeout
		}()
		go func() {
			first, err := raw.br.ReadByte()
			refused <- err != nil || first == 0x88
		}()
		select {
		case yes := <-refused:
			return yes
		case <-time.After(boring):
			return false
		}
	}
}

// concurrentWriters has eight goroutines write at once, and reads whether whole
// frames come out.
func concurrentWriters(raw *rawPeer, s session) bool {
	const writers, each, size = 8, 200, 20_000
	payload := bytes.Repeat([]byte{0xAA}, size)
	var writing sync.WaitGroup
	panics := make(chan any, writers)
	for range writers {
		writing.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					panics <- v
					raw.c.Close()
				}
			}()
			for range each {
				if s.write(payload) != nil {
					return
				}
			}
		})
	}
	time.Sleep(impatient) // until the socket is full and the writers meet each other
	whole := true
	for range writers * each {
		var header [4]byte
		if _, err := io.ReadFull(raw.br, header[:]); err != nil || header != [4]byte{0x82, 126, size >> 8, size & 0xff} {
			whole = false
			break
		}
		if got, err := io.CopyN(io.Discard, raw.br, size); err != nil || got != size {
			whole = false
			break
		}
	}
	raw.c.Close()
	writing.Wait()
	return whole && len(panics) == 0
}

// TestAnswers asks every question to every library, and compares with the
// answers given here and with the README's table.
func TestAnswers(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range questions {
		t.Run(q.text, func(t *testing.T) {
			t.Parallel()
			row := "| " + q.text + " | " + strings.Join(q.answers[:], " | ") + " |"
			if !strings.Contains(string(readme), row) {
				t.Errorf("README.md lacks the row\n%s", row)
			}
			for i, lib := range libraries {
				if q.answers[i] == "-" {
					continue
				}
				answer := "no"
				if q.ask(t, lib) {
					answer = "yes"
				}
				if answer != q.answers[i] {
					t.Errorf("%s: %s, want %s", lib.name, answer, q.answers[i])
				}
			}
		})
	}
}

// ask asks q to lib. A panic of the library is a no.
func (q *question) ask(t *testing.T, lib library) (yes bool) {
	t.Helper()
	guard := func(f func(*rawPeer, session) bool, raw *rawPeer, s session) bool {
		defer func() {
			if v := recover(); v != nil {
				t.Logf("%s panics: %v", lib.name, v)
			}
		}()
		return f(raw, s)
	}
	if q.client != nil {
		raws, url := rawServer(t)
		s, err := lib.dial(url)
		if err != nil {
			t.Fatalf("%s: %v", lib.name, err)
		}
		defer s.end()
		return guard(q.client, <-raws, s)
	}
	raws, answers := make(chan *rawPeer, 1), make(chan bool, 1)
	srv := httptest.NewServer(lib.handler(func(s session) {
		defer s.end()
		answers <- guard(q.server, <-raws, s)
	}))
	defer srv.Close()
	raw, err := rawDial(srv.Listener.Addr().String(), q.early)
	if err != nil {
		if q.early != nil {
			return false // the handshake fails because of what came with it
		}
		t.Fatalf("%s: %v", lib.name, err)
	}
	defer raw.c.Close()
	raws <- raw
	select {
	case yes := <-answers:
		return yes
	case <-time.After(4 * patience):
		t.Errorf("%s does not come to an end", lib.name)
		return false
	}
}

// A rawPeer is a peer without a WebSocket library.
type rawPeer struct {
	c  net.Conn
	br *bufio.Reader
}

func (p *rawPeer) send(b []byte) {
	p.c.Write(b) // a peer that refuses the beginning may have gone by the end
}

// frame encodes a short frame; its mask, if it has one, is 1, 2, 3, 4.
func frame(first byte, mask bool, payload string) []byte {
	b := []byte{first, byte(len(payload))}
	if !mask {
		return append(b, payload...)
	}
	b[1] |= 0x80
	key := [4]byte{1, 2, 3, 4}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return b
}

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// rawDial opens a WebSocket connection. It sends early right behind the
// request.
func rawDial(addr string, early []byte) (*rawPeer, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	request := fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\nOrigin: http://%[1]s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", addr, sampleKey)
	if _, err := c.Write(append([]byte(request), early...)); err != nil {
		return nil, err
	}
	c.SetReadDeadline(time.Now().Add(4 * patience))
	br := bufio.NewReaderSize(c, 1<<16)
	resp, err := http.ReadResponse(br, nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("the response is %s", resp.Status)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return &rawPeer{c, br}, nil
}

// rawServer accepts WebSocket connections.
func rawServer(t *testing.T) (raws <-chan *rawPeer, url string) {
	t.Helper()
	accepted := make(chan *rawPeer, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { c.Close() })
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(sum[:]))
		accepted <- &rawPeer{c, rw.Reader}
	}))
	t.Cleanup(srv.Close)
	return accepted, "ws" + strings.TrimPrefix(srv.URL, "http") + "/"
}

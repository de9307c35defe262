package gorilladiff

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const text, binaryMessage, closeMessage, ping, pong = 1, 2, 8, 9, 10

func answer(w io.Writer, req *http.Request, compress bool, more string) {
	if compress {
		more += "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	}
	fmt.Fprintf(w, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
		acceptOf(req.Header.Get("Sec-WebSocket-Key")), more)
}

// acceptOf returns the Sec-WebSocket-Accept for key.
func acceptOf(key string) string {
	h := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(h[:])
}

func payloadOfClose(code int, reason string) string {
	return string([]byte{byte(code >> 8), byte(code)}) + reason
}

// A scene is played with the connection of a server and with that of a client.
type scene struct {
	name    string
	differs string // why it may differ; empty: it may not
	set     settings
	play    func(s *stage)
}

// The same for each way of a connection to end.
func (s *stage) afterwards() {
	s.read()
	_, _, err := s.c.NextReader()
	s.say("NextReader: %s", s.err(err))
	s.say("WriteMessage: %s", s.err(s.c.WriteMessage(text, []byte("late"))))
	s.say("WriteControl: %s", s.err(s.c.WriteControl(ping, nil, time.Now().Add(patience))))
	s.say("WriteControl close: %s", s.err(s.c.WriteControl(closeMessage, s.formatClose(1000, ""), time.Now().Add(patience))))
	_, err = s.c.NextWriter(text)
	s.say("NextWriter: %s", s.err(err))
	s.say("WriteJSON: %s", s.err(s.c.WriteJSON(1)))
	s.c.Close()
	s.wire()
}

func scenes() []scene {
	var list []scene
	add := func(name string, play func(s *stage)) { list = append(list, scene{name: name, play: play}) }
	differ := func(name, why string, play func(s *stage)) {
		list = append(list, scene{name: name, differs: why, play: play})
	}

	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4999} {
		add(fmt.Sprintf("close frame %d", code), func(s *stage) {
			s.peer.send(fin|8, payloadOfClose(code, "why"))
			err := s.read()
			s.say("IsCloseError %v %v %v", s.isClose(err, code), s.isClose(err, 1, 2), s.isClose(fmt.Errorf("x: %v", err), code))
			s.say("IsUnexpected %v %v %v", s.isUnexpected(err, code), s.isUnexpected(err), s.isUnexpected(err, 1006, 1001))
			s.afterwards()
		})
	}
	add("close frame without a code", func(s *stage) {
		s.peer.send(fin|8, "")
		s.read()
		s.afterwards()
	})
	for _, code := range []int{0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000} {
		add(fmt.Sprintf("invalid close frame %d", code), func(s *stage) {
			s.peer.send(fin|8, payloadOfClose(code, ""))
			s.answers()
			s.say("%v", s.closedBy(s.readErr()))
			s.c.Close()
			s.wire()
		})
	}
	add("close frame, reason not UTF-8", func(s *stage) {
		s.peer.send(fin|8, payloadOfClose(1000, "\xff"))
		s.answers()
		s.say("%v", s.closedBy(s.readErr()))
		s.c.Close()
	})
	add("close frame while a message is read", func(s *stage) {
		s.peer.send(text, "half")
		s.peer.send(fin|8, payloadOfClose(1001, "bye"))
		_, r, err := s.c.NextReader()
		s.say("NextReader: %s", s.err(err))
		p, err := io.ReadAll(r)
		s.say("ReadAll: %q %s", p, s.err(err))
		_, err = r.Read(make([]byte, 9))
		s.say("Read: %s", s.err(err))
		s.afterwards()
	})

	end := func(name, sent string) {
		add("end of the stream "+name, func(s *stage) {
			f := []byte(sent)
			if strings.HasPrefix(sent, "frame:") {
				f = s.peer.frame(fin|text, "hello")
				f = f[:len(f)-2]
			} else if sent == "fragment" {
				f = s.peer.frame(text, "half")
			}
			s.peer.bytes(f)
			s.peer.Close()
			err := s.readErr()
			s.say("%s", s.err(err))
			s.say("IsUnexpected %v %v", s.isUnexpected(err, 1000), s.isUnexpected(err, 1006))
			s.say("%s", s.err(s.readErr()))
			_, _, err = s.c.NextReader()
			s.say("NextReader: %s", s.err(err))
			s.say("Close %s", s.err(s.c.Close()))
		})
	}
	end("between messages", "")
	end("in a header", "\x81")
	end("in a payload", "frame:")
	end("between fragments", "fragment")
	add("end of the stream in a payload, by NextReader", func(s *stage) {
		f := s.peer.frame(fin|text, "hello")
		s.peer.bytes(f[:len(f)-2])
		s.peer.Close()
		_, r, err := s.c.NextReader()
		s.say("%s", s.err(err))
		p, err := io.ReadAll(r)
		s.say("%q %s", p, s.err(err))
		_, err = r.Read(make([]byte, 3))
		s.say("%s", s.err(err))
	})
	add("end of the stream in a JSON message", func(s *stage) {
		f := s.peer.frame(fin|text, `{"a":1}`)
		s.peer.bytes(f[:len(f)-2])
		s.peer.Close()
		var v any
		s.say("%s", s.err(s.c.ReadJSON(&v)))
	})
	add("reset", func(s *stage) {
		s.peer.reset()
		err := s.readErr()
		var oe *net.OpError
		s.say("%v %v %v", errors.As(err, &oe), strings.HasSuffix(err.Error(), "connection reset by peer"), s.isUnexpected(err))
	})

	add("after Close", func(s *stage) {
		s.say("%s", s.err(s.c.Close()))
		s.read()
		_, _, err := s.c.NextReader()
		s.say("NextReader: %s", s.err(err))
		s.say("WriteMessage: %s", s.err(s.c.WriteMessage(text, []byte("late"))))
		s.say("WriteMessage: %s", s.err(s.c.WriteMessage(text, []byte("late"))))
		s.say("WriteControl: %s", s.err(s.c.WriteControl(ping, nil, time.Now().Add(patience))))
		s.say("WriteJSON: %s", s.err(s.c.WriteJSON(1)))
		s.say("ReadJSON: %s", s.err(s.c.ReadJSON(new(int))))
		s.say("Close: %s", s.err(s.c.Close()))
		s.say("SetReadDeadline: %s", s.err(s.c.SetReadDeadline(time.Time{})))
		s.say("SetWriteDeadline: %s", s.err(s.c.SetWriteDeadline(time.Time{})))
	})
	add("Close while another goroutine reads", func(s *stage) {
		errs := make(chan error)
		go func() {
			_, _, err := s.c.ReadMessage()
			errs <- err
		}()
		s.c.Close()
		err := <-errs
		s.say("%s %v", s.err(err), s.isUnexpected(err, 1001))
		s.wire()
	})
	add("Close while a message is read", func(s *stage) {
		s.peer.send(text, "half")
		_, r, err := s.c.NextReader()
		s.say("%s", s.err(err))
		p := make([]byte, 10)
		n, err := r.Read(p)
		s.say("%q %s", p[:n], s.err(err))
		s.c.Close()
		n, err = r.Read(p)
		s.say("%q %s", p[:n], s.err(err))
	})

	differ("reads after a deadline", "ours goes on", func(s *stage) {
		s.c.SetReadDeadline(time.Now().Add(-time.Second))
		s.read()
		s.read()
		s.c.SetReadDeadline(time.Now().Add(patience))
		s.peer.send(fin|text, "hello")
		s.read()
	})
	add("a read after a deadline", func(s *stage) {
		s.c.SetReadDeadline(time.Now().Add(-time.Second))
		err := s.read()
		s.say("%v", s.isUnexpected(err, 1000))
		s.read()
		s.say("WriteMessage: %s", s.err(s.c.WriteMessage(text, []byte("x"))))
		s.c.Close()
		s.wire()
	})
	differ("writes after a deadline", "ours goes on", func(s *stage) {
		s.c.SetWriteDeadline(time.Now().Add(-time.Second))
		s.say("%s", s.err(s.c.WriteMessage(text, []byte("x"))))
		s.c.SetWriteDeadline(time.Time{})
		s.say("%s", s.err(s.c.WriteMessage(text, []byte("x"))))
	})
	add("a write after a deadline", func(s *stage) {
		s.c.SetWriteDeadline(time.Now().Add(-time.Second))
		s.say("%s", s.err(s.c.WriteMessage(text, []byte("x"))))
		s.say("%s", s.err(s.c.WriteMessage(text, []byte("x"))))
		s.say("%s", s.err(s.c.WriteMessage(ping, []byte("x"))))
		s.say("%s", s.err(s.c.WriteJSON(1)))
		w, err := s.c.NextWriter(text)
		if err == nil {
			io.WriteString(w, "x")
			err = w.Close()
		}
		s.say("%s", s.err(err))
		s.c.Close()
		s.wire()
	})
	add("WriteControl, deadline in the past", func(s *stage) {
		s.say("%s", s.err(s.c.WriteControl(ping, []byte("x"), time.Now().Add(-time.Second))))
		s.say("%s", s.err(s.c.WriteControl(ping, []byte("y"), time.Time{})))
		s.say("%s", s.err(s.c.WriteControl(closeMessage, s.formatClose(1000, ""), time.Now().Add(-time.Second))))
		s.say("%s", s.err(s.c.WriteMessage(text, []byte("alive"))))
		s.c.Close()
		s.wire()
	})

	add("handlers replaced while reading", func(s *stage) {
		s.c.SetPingHandler(func(p string) error {
			s.say("ping %q", p)
			s.c.SetPingHandler(func(p string) error {
				s.say("second handler %q", p)
				s.c.SetPingHandler(nil)
				return nil
			})
			s.c.SetPongHandler(func(p string) error { s.say("pong %q", p); s.c.SetPongHandler(nil); return nil })
			return nil
		})
		s.c.SetCloseHandler(func(code int, text string) error {
			s.say("close %d %q", code, text)
			return nil
		})
		s.peer.send(fin|pong, "unseen")
		s.peer.send(fin|ping, "a")
		s.peer.send(text, "hel")
		s.peer.send(fin|ping, "b")
		s.peer.send(fin|pong, "c")
		s.peer.send(fin|pong, "d")
		s.peer.send(fin|0, "lo")
		s.peer.send(fin|ping, "e")
		s.peer.send(fin|8, payloadOfClose(3333, "why"))
		s.read()
		s.read()
		s.read()
		s.say("WriteMessage: %s", s.err(s.c.WriteMessage(text, []byte("still open"))))
		s.say("WriteControl: %s", s.err(s.c.WriteControl(closeMessage, s.formatClose(3333, "x"), time.Now().Add(patience))))
		s.c.Close()
		s.wire()
	})
	for _, h := range []string{"ping", "pong", "close"} {
		for _, handlerErr := range []error{errors.New("mine"), io.EOF, io.ErrUnexpectedEOF} {
			add(fmt.Sprintf("%s handler fails with %v", h, handlerErr), func(s *stage) {
				var op byte
				switch h {
				case "ping":
					s.c.SetPingHandler(func(string) error { return handlerErr })
					op = ping
				case "pong":
					s.c.SetPongHandler(func(string) error { return handlerErr })
					op = pong
				default:
					s.c.SetCloseHandler(func(int, string) error { return handlerErr })
					op = 8
				}
				s.peer.send(fin|op, "")
				s.peer.send(fin|text, "behind")
				_, _, err := s.c.ReadMessage()
				s.say("%s %v", s.err(err), err)
				s.say("%s", s.err(s.readErr()))
				s.say("%s", s.err(s.c.WriteMessage(text, []byte("alive"))))
				s.c.Close()
				s.wire()
			})
		}
	}
	add("default handlers called", func(s *stage) {
		s.say("%v %v %v", s.c.PingHandler() != nil, s.c.PongHandler() != nil, s.c.CloseHandler() != nil)
		s.say("%s", s.err(s.c.PingHandler()("p")))
		s.say("%s", s.err(s.c.PongHandler()("p")))
		s.say("%s", s.err(s.c.CloseHandler()(1001, "text")))
		s.say("%s", s.err(s.c.PingHandler()("q")))
		s.say("%s", s.err(s.c.CloseHandler()(1001, "text")))
		s.say("%s", s.err(s.c.WriteMessage(text, nil)))
		s.peer.send(fin|ping, "late")
		s.peer.send(fin|text, "hello")
		s.read()
		s.peer.send(fin|8, payloadOfClose(1001, ""))
		s.read()
		s.c.Close()
		s.say("%s", s.err(s.c.PingHandler()("q")))
		s.wire()
	})
	differ("default handlers after Close", "ours leaves it to the read to tell", func(s *stage) {
		s.c.Close()
		s.say("%s", s.err(s.c.PingHandler()("q")))
		s.say("%s", s.err(s.c.CloseHandler()(1001, "text")))
	})
	add("pings are answered while a message is read", func(s *stage) {
		s.peer.send(text, "hel")
		s.peer.send(fin|ping, strings.Repeat("p", 125))
		s.peer.send(fin|ping, "")
		s.peer.send(fin|0, "lo")
		s.read()
		s.c.Close()
		s.wire()
	})

	add("a writer left open, and a new one", func(s *stage) {
		a, err := s.c.NextWriter(text)
		s.say("%s", s.err(err))
		io.WriteString(a, "one")
		b, err := s.c.NextWriter(binaryMessage)
		s.say("%s", s.err(err))
		n, err := io.WriteString(a, "late")
		s.say("%d %v", n, err)
		s.say("%v", a.Close())
		s.say("%s", s.err(s.c.WriteControl(ping, []byte("between"), time.Now().Add(patience))))
		io.WriteString(b, "two")
		s.say("%s", s.err(s.c.WriteMessage(text, []byte("three"))))
		n, err = b.Write([]byte("x"))
		s.say("%d %v", n, err)
		c, err := s.c.NextWriter(text)
		s.say("%s", s.err(err))
		s.say("%s", s.err(s.c.WriteJSON("four")))
		s.say("%v %v", c.Close(), c.Close())
		_, err = s.c.NextWriter(3)
		s.say("%v", err)
		s.c.Close()
		s.wire()
	})
	add("a writer left open, and bad types", func(s *stage) {
		a, _ := s.c.NextWriter(text)
		io.WriteString(a, "one")
		_, err := s.c.NextWriter(0)
		s.say("%v", err)
		_, err = io.WriteString(a, "two")
		s.say("%v", err)
		s.say("%v", a.Close())
		s.c.Close()
		s.wire()
	})
	add("a writer left open, and a close frame", func(s *stage) {
		a, _ := s.c.NextWriter(text)
		io.WriteString(a, "one")
		s.say("%s", s.err(s.c.WriteControl(closeMessage, s.formatClose(1000, ""), time.Now().Add(patience))))
		_, err := io.WriteString(a, "two")
		s.say("%v", err)
		s.say("%s", s.err(a.Close()))
		s.say("%s", s.err(a.Close()))
		s.c.Close()
		s.wire()
	})
	add("an empty message, by a writer", func(s *stage) {
		a, _ := s.c.NextWriter(text)
		s.say("%v", a.Close())
		a, _ = s.c.NextWriter(text)
		n, err := a.Write(nil)
		s.say("%d %v", n, err)
		s.say("%v", a.Close())
		s.say("%v %v", s.c.WriteMessage(text, nil), s.c.WriteMessage(binaryMessage, []byte{}))
		s.c.Close()
		s.wire()
	})
	for _, op := range []int{ping, pong, closeMessage} {
		add(fmt.Sprintf("control frames of type %d by WriteMessage and NextWriter", op), func(s *stage) {
			s.say("too long: %v", s.c.WriteMessage(op, make([]byte, 126)) != nil)
			s.say("too long: %v", s.c.WriteControl(op, make([]byte, 126), time.Now().Add(patience)) != nil)
			a, err := s.c.NextWriter(op)
			s.say("%v", err)
			a.Write(make([]byte, 100))
			_, err = a.Write(make([]byte, 100))
			s.say("too long: %v", err != nil || a.Close() != nil)
			a, err = s.c.NextWriter(op)
			s.say("%v", err)
			a.Write(s.formatClose(1000, "x"))
			s.say("%v", a.Close())
			s.say("%v", s.c.WriteMessage(op, s.formatClose(1000, "y")))
			s.say("%v", s.c.WriteControl(op, s.formatClose(1000, "z"), time.Time{}))
			s.c.Close()
			s.wire()
		})
	}
	add("bad types of messages", func(s *stage) {
		for _, typ := range []int{-1, 0, 3, 7, 11, 16, 129} {
			_, err := s.c.NextWriter(typ)
			_, prepareErr := s.prepare(typ, nil)
			s.say("%d: %v, %v, %v, %v", typ, s.c.WriteMessage(typ, nil), err, s.c.WriteControl(typ, nil, time.Time{}), prepareErr != nil)
		}
		s.say("%v %v", s.c.WriteControl(text, nil, time.Time{}), s.c.WriteControl(binaryMessage, nil, time.Time{}))
		s.c.Close()
		s.wire()
	})
	add("close frames sent", func(s *stage) {
		s.say("%v", s.c.WriteMessage(closeMessage, nil))
		s.say("%s", s.err(s.c.WriteMessage(closeMessage, nil)))
		s.say("%s", s.err(s.c.WriteMessage(text, nil)))
		s.say("%s", s.err(s.c.WriteControl(pong, nil, time.Time{})))
		m, err := s.prepare(text, []byte("x"))
		s.say("%v %s", err, s.err(m(s.c)))
		s.peer.send(fin|text, "still")
		s.read()
		s.peer.send(fin|8, payloadOfClose(1000, "done"))
		s.read()
		s.afterwards()
	})

	for _, term := range []string{"", "\n", "--"} {
		add(fmt.Sprintf("JoinMessages %q", term), func(s *stage) {
			s.peer.send(fin|text, "one")
			s.peer.send(fin|binaryMessage, "")
			s.peer.send(text, "tw")
			s.peer.send(fin|0, "o")
			s.peer.send(fin|8, payloadOfClose(1000, ""))
			p, err := io.ReadAll(s.join(s.c, term))
			s.say("%q %s", p, s.err(err))
		})
		add(fmt.Sprintf("JoinMessages %q, cut", term), func(s *stage) {
			s.peer.send(fin|text, "one")
			s.peer.send(text, "tw")
			s.peer.Close()
			p, err := io.ReadAll(s.join(s.c, term))
			s.say("%q %s", p, s.err(err))
		})
	}

	limit := func(name string, n int64, send func(s *stage)) {
		add("SetReadLimit "+name, func(s *stage) {
			s.c.SetReadLimit(n)
			send(s)
			s.answers()
			for range 3 {
				if s.read() != nil {
					break
				}
			}
			s.read()
			s.say("WriteMessage: %s", s.err(s.c.WriteMessage(text, []byte("late"))))
			s.c.Close()
			s.wire()
		})
	}
	limit("exact", 5, func(s *stage) {
		s.peer.send(fin|text, "hello")
		s.peer.send(fin|text, "hello!")
	})
	limit("by fragments", 5, func(s *stage) {
		s.peer.send(text, "hel")
		s.peer.send(0, "lo")
		s.peer.send(fin|0, "")
		s.peer.send(fin|text, "hello!")
	})
	differ("a message that is cut", "gorilla returns what has come with the error", func(s *stage) {
		s.peer.send(text, "hel")
		s.peer.Close()
		s.read()
	})
	limit("and control frames", 5, func(s *stage) {
		s.peer.send(text, "hel")
		s.peer.send(fin|ping, "longer than that")
		s.peer.send(fin|0, "lo")
		s.peer.send(fin|8, payloadOfClose(1000, "also longer"))
	})
	limit("0", 0, func(s *stage) {
		s.peer.send(fin|text, "hello")
		s.peer.send(fin|8, "")
	})
	limit("negative", -1, func(s *stage) {
		s.peer.send(fin|text, "hello")
		s.peer.send(fin|8, "")
	})
	limit("and a header of 1 GB", 5, func(s *stage) {
		f := s.peer.frame(fin|binaryMessage, strings.Repeat("x", 1<<16))
		f[6] = 0x40 // of the length
		s.peer.bytes(f[:14])
	})
	add("SetReadLimit while a message is read", func(s *stage) {
		s.peer.send(text, "hello")
		s.peer.send(fin|0, "world")
		_, r, err := s.c.NextReader()
		s.say("%v", err)
		p := make([]byte, 5)
		n, err := io.ReadFull(r, p)
		s.say("%d %v", n, err)
		s.c.SetReadLimit(7)
		s.answers()
		n, err = r.Read(p)
		s.say("%d %s", n, s.err(err))
		s.read()
		s.c.Close()
		s.wire()
	})

	for name, f := range map[string]func(p *peer) []byte{
		"opcode 3":                  func(p *peer) []byte { return p.frame(fin|3, "") },
		"opcode 11":                 func(p *peer) []byte { return p.frame(fin|11, "") },
		"RSV1":                      func(p *peer) []byte { return p.frame(fin|rsv1|1, "") },
		"RSV2":                      func(p *peer) []byte { return p.frame(fin|0x20|1, "") },
		"RSV3 on a ping":            func(p *peer) []byte { return p.frame(fin|0x10|9, "") },
		"a ping of 126 bytes":       func(p *peer) []byte { return p.frame(fin|9, strings.Repeat("x", 126)) },
		"a ping in fragments":       func(p *peer) []byte { return p.frame(9, "x") },
		"a continuation of nothing": func(p *peer) []byte { return p.frame(fin|0, "x") },
		"a message in a message":    func(p *peer) []byte { return append(p.frame(1, "x"), p.frame(fin|1, "x")...) },
		"the wrong masking":         func(p *peer) []byte { return (&peer{masked: !p.masked}).frame(fin|1, "x") },
	} {
		add("protocol error: "+name, func(s *stage) {
			s.peer.bytes(f(s.peer))
			s.answers()
			err := s.readErr()
			again := s.readErr()
			s.say("%v %v %v, the same again %v", err != nil, s.isUnexpected(err), s.isClose(err, 1002), err == again)
			s.say("WriteMessage: %s", s.err(s.c.WriteMessage(text, []byte("late"))))
			s.c.Close()
			s.wire()
		})
	}

	add("readers", func(s *stage) {
		s.peer.send(fin|text, "one")
		s.peer.send(fin|text, "two")
		s.peer.send(fin|binaryMessage, "")
		s.peer.send(fin|text, "four")
		typ, a, err := s.c.NextReader()
		s.say("%d %v", typ, err)
		p := make([]byte, 2)
		n, err := a.Read(p)
		s.say("%q %v", p[:n], err)
		n, err = a.Read(nil)
		s.say("%d %v", n, err)
		typ, b, err := s.c.NextReader()
		s.say("%d %v", typ, err)
		n, err = a.Read(p)
		s.say("stale: %d %v", n, err)
		rest, err := io.ReadAll(b)
		s.say("%q %v", rest, err)
		n, err = b.Read(p)
		s.say("%d %v", n, err)
		typ, b, err = s.c.NextReader()
		s.say("%d %v", typ, err)
		n, err = b.Read(p)
		s.say("%d %v", n, err)
		s.read()
		n, err = b.Read(p)
		s.say("%d %v", n, err)
	})
	add("an empty message, by ReadMessage", func(s *stage) {
		s.peer.send(fin|text, "")
		_, p, err := s.c.ReadMessage()
		s.say("%v %v", p != nil, err)
	})
	for _, doc := range []string{`{"a":1}`, `{"a":1} trailing`, `{"a":`, ``, `nope`, `{"a":"x"}`, `[]`, "\n", `null`} {
		add(fmt.Sprintf("ReadJSON of %q", doc), func(s *stage) {
			s.peer.send(fin|binaryMessage, doc)
			s.peer.send(fin|text, "next")
			var v struct{ A int }
			err := s.c.ReadJSON(&v)
			s.say("%T %v %d", err, err, v.A)
			s.read()
		})
	}
	add("WriteJSON", func(s *stage) {
		s.say("%v", s.c.WriteJSON(map[string]any{"a": "<&>", "b": nil}))
		s.say("%v", s.c.WriteJSON(nil))
		s.c.Close()
		s.wire()
	})
	differ("WriteJSON of what has no JSON", "gorilla sends an empty message", func(s *stage) {
		err := s.c.WriteJSON(make(chan int))
		s.say("%T %v", err, err)
		s.c.Close()
		s.wire()
	})
	for _, op := range []int{text, binaryMessage, ping, pong, closeMessage} {
		add(fmt.Sprintf("PreparedMessage of type %d", op), func(s *stage) {
			data := s.formatClose(1000, "x")
			m, err := s.prepare(op, data)
			data[2] = 'y'
			s.say("%v", err)
			s.say("%s", s.err(m(s.c)))
			s.say("%s", s.err(m(s.c)))
			s.c.Close()
			s.wire()
		})
	}
	add("FormatCloseMessage, CloseError", func(s *stage) {
		for _, code := range []int{0, 1, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016, 3000, 65535} {
			s.say("%q %q", s.formatClose(code, ""), s.formatClose(code, "why"))
			s.say("%v; %v", s.closeError(code, ""), s.closeError(code, "why"))
			s.say("%v %v", s.isClose(s.closeError(code, ""), 1000, 1001), s.isUnexpected(s.closeError(code, ""), 1000, 1001))
		}
		s.say("%v %v %v", s.isClose(nil, 1000), s.isUnexpected(nil), s.isUnexpected(io.EOF))
	})
	add("SetCompressionLevel", func(s *stage) {
		for _, level := range []int{-3, -2, -1, 0, 1, 9, 10} {
			s.say("%d %v", level, s.c.SetCompressionLevel(level))
		}
	})
	list = append(list,
		scene{name: "compressed", set: settings{compress: true}, play: func(s *stage) {
			doc := strings.Repeat("hello ", 500)
			s.say("%v", s.c.WriteMessage(text, []byte(doc)) == nil)
			s.c.EnableWriteCompression(false)
			s.say("%v", s.c.WriteMessage(text, []byte(doc)) == nil)
			s.c.EnableWriteCompression(true)
			w, _ := s.c.NextWriter(text)
			io.WriteString(w, doc)
			s.say("%v", w.Close())
			m, _ := s.prepare(text, []byte(doc))
			s.say("%v", m(s.c))
			s.peer.send(fin|rsv1|text, "\xf2\x48\xcd\xc9\xc9\x07\x00") // Hello, RFC 7692, section 7.2.3.1
			s.peer.send(fin|rsv1|text, "\x00")                         // empty
			s.peer.send(fin|text, "plain")
			s.peer.send(fin|rsv1|text, "\xff\xff") // no deflate
			s.answers()
			s.read()
			s.read()
			s.read()
			s.say("%v", s.readErr() != nil)
			s.c.Close()
			for _, f := range (<-s.sent)[:4] {
				s.say("%.2s", f)
			}
		}},
		scene{name: "handlers of a compressed connection", set: settings{compress: true}, play: func(s *stage) {
			s.peer.send(rsv1|text, "\xf2\x48\xcd")
			s.peer.send(fin|ping, "between")
			s.peer.send(fin|0, "\xc9\xc9\x07\x00")
			s.peer.send(fin|8, payloadOfClose(1001, ""))
			s.read()
			s.read()
			s.c.Close()
			s.wire()
		}},
		scene{name: "the end of a compressed message", set: settings{compress: true}, play: func(s *stage) {
			s.peer.send(rsv1|text, "\xf2\x48\xcd")
			s.peer.Close()
			s.say("%s", s.err(s.readErr()))
			s.say("%s", s.err(s.readErr()))
		}},
	)
	return list
}

// readErr reads one message and returns the error.
func (s *stage) readErr() error {
	_, _, err := s.c.ReadMessage()
	return err
}

// closedBy tells of an error only whether it is a CloseError.
func (s *stage) closedBy(err error) string {
	if code, _, ok := s.closeCode(err); ok {
		return fmt.Sprintf("CloseError %d", code)
	}
	return fmt.Sprint(err != nil)
}

func TestConnections(t *testing.T) {
	for _, sc := range append(scenes(), uses()...) {
		for _, client := range []bool{false, true} {
			role := map[bool]string{false: "server", true: "client"}[client]
			for _, secure := range []bool{false, true} {
				name := sc.name + "/" + role
				if secure {
					name += "/TLS"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel() // some of them wait
					compare(t, sc.differs, func(s *stage) {
						s.client, s.secure = client, secure
						s.open(sc.set)
						sc.play(s)
					})
				})
			}
		}
	}
}

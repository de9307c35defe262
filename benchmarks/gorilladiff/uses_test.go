package gorilladiff

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// full says an error with its text, addresses aside.
func (s *stage) full(err error) string {
	if err == nil {
		return "no error"
	}
	text := strings.Replace(err.Error(), "writev ", "write ", 1) // the system call is its own matter
	return fmt.Sprintf("%s: %s", s.err(err), ports.ReplaceAllString(text, "ADDR"))
}

// soon is a deadline that passes while a scene plays.
func soon() time.Time { return time.Now().Add(20 * time.Millisecond) }

// inside is a deadline that passes inside a long write to a peer that takes
// nothing. On a busy machine the write needs a while to begin.
func inside() time.Time { return time.Now().Add(500 * time.Millisecond) }

// uses are scenes of what programs in the field do with a connection.
func uses() []scene {
	var list []scene
	add := func(name string, play func(s *stage)) { list = append(list, scene{name: name, play: play}) }
	differ := func(name, why string, play func(s *stage)) {
		list = append(list, scene{name: name, differs: why, play: play})
	}
	later := func() time.Time { return time.Now().Add(patience) }

	handlers := map[string]func(s *stage) error{
		"writes a message":        func(s *stage) error { return s.c.WriteMessage(text, []byte("of the handler")) },
		"writes JSON":             func(s *stage) error { return s.c.WriteJSON("of the handler") },
		"writes a ping":           func(s *stage) error { return s.c.WriteControl(ping, []byte("own"), later()) },
		"writes a pong":           func(s *stage) error { return s.c.WriteControl(pong, []byte("own"), later()) },
		"writes by WriteMessage":  func(s *stage) error { return s.c.WriteMessage(pong, []byte("own")) },
		"moves the read deadline": func(s *stage) error { return s.c.SetReadDeadline(later()) },
		"sets a passed deadline":  func(s *stage) error { return s.c.SetReadDeadline(time.Now().Add(-time.Second)) },
		"sets the read limit":     func(s *stage) error { s.c.SetReadLimit(3); return nil },
		"closes":                  func(s *stage) error { return s.c.Close() },
		"closes the transport":    func(s *stage) error { return s.c.NetConn().Close() },
		"says goodbye":            func(s *stage) error { return s.c.WriteControl(closeMessage, s.formatClose(1001, ""), later()) },
		"leaves a writer open": func(s *stage) error {
			w, err := s.c.NextWriter(text)
			if err == nil {
				_, err = io.WriteString(w, "open")
			}
			return err
		},
		"returns a CloseError": func(s *stage) error { return s.closeError(4000, "mine") },
		"returns a timeout":    func(s *stage) error { return os.ErrDeadlineExceeded },
		"returns net.ErrClosed": func(s *stage) error {
			return &net.OpError{Op: "x", Net: "tcp", Err: net.ErrClosed}
		},
	}
	for does, f := range handlers {
		for _, of := range []string{"ping", "pong", "close"} {
			play := func(s *stage) {
				op := byte(ping)
				handle := func(string) error {
					err := f(s)
					s.say("%s handler: %s", of, s.err(err))
					return err
				}
				switch of {
				case "ping":
					s.c.SetPingHandler(handle)
				case "pong":
					s.c.SetPongHandler(handle)
					op = pong
				default:
					s.c.SetCloseHandler(func(code int, reason string) error { return handle(reason) })
					op = 8
				}
				if op == 8 {
					s.peer.send(fin|8, payloadOfClose(1000, "bye"))
				} else {
					s.peer.send(text, "on")
					s.peer.send(fin|op, "x")
					s.peer.send(fin|0, "e")
				}
				s.peer.send(fin|text, "two")
				s.peer.send(fin|8, payloadOfClose(1000, "bye"))
				s.answers()
				err := s.read()
				s.say("%v %v", s.isClose(err, 1000, 4000), s.isUnexpected(err, 1000))
				s.read()
				s.read()
				s.say("WriteMessage: %s", s.err(s.c.WriteMessage(text, []byte("late"))))
				s.c.Close()
				s.wire()
			}
			name := fmt.Sprintf("a %s handler that %s", of, does)
			switch {
			case of != "close" && strings.HasPrefix(does, "returns"):
				differ(name, "gorilla returns what has come with the error", play)
			case of != "close" && does == "closes":
				differ(name, "what has arrived can still be read in gorilla", play)
			default:
				add(name, play)
			}
		}
	}

	add("1,000 reads, half of them after an error", func(s *stage) {
		for i := range 500 {
			s.peer.send(fin|text, fmt.Sprint(i))
		}
		s.peer.send(fin|8, payloadOfClose(1000, ""))
		var first error
		same := 0
		for range 1000 {
			if _, _, err := s.c.ReadMessage(); err != nil {
				if first == nil {
					first = err
				}
				if err == first {
					same++
				}
			}
		}
		s.say("%d %s", same, s.err(first))
	})
	differ("1,000 reads after an error", "gorilla panics", func(s *stage) {
		s.c.Close()
		defer func() { s.say("%v", recover()) }()
		for range 1000 {
			s.c.ReadMessage()
		}
	})

	differ("errors that were wrapped", "ours looks inside", func(s *stage) {
		err := fmt.Errorf("read: %w", s.closeError(1001, ""))
		s.say("%v %v %v %v", s.isClose(err, 1001), s.isClose(err, 1000), s.isUnexpected(err, 1000), s.isUnexpected(err, 1001))
		joined := errors.Join(errors.New("a"), s.closeError(1001, ""))
		s.say("%v %v", s.isClose(joined, 1001), s.isUnexpected(joined, 1000))
	})

	add("addresses", func(s *stage) {
		say := func() {
			s.say("%T %v, %T %v", s.c.LocalAddr(), s.c.LocalAddr().String() == s.peer.RemoteAddr().String(), s.c.RemoteAddr(),
				s.c.RemoteAddr().String() == s.peer.LocalAddr().String())
		}
		say()
		s.c.Close()
		say()
	})
	add("the transport: its type", func(s *stage) {
		s.say("%T %v", s.c.NetConn(), s.c.NetConn() == s.c.UnderlyingConn())
	})
	add("the transport: written", func(s *stage) {
		frame := (&peer{masked: s.client}).frame(fin|text, "by hand")
		n, err := s.c.UnderlyingConn().Write(frame)
		s.say("%d %s", n-len(frame), s.err(err))
		s.say("%s", s.err(s.c.WriteMessage(text, []byte("by Conn"))))
		s.c.UnderlyingConn().Write(frame)
		s.c.Close()
		s.wire()
	})
	add("the transport: closed behind a reply, with more to read", func(s *stage) {
		s.peer.bytes(append(s.peer.frame(fin|text, "one"), s.peer.frame(fin|text, "two")...))
		time.Sleep(20 * time.Millisecond) // both have come
		s.read()
		s.say("%s", s.err(s.c.WriteMessage(text, []byte("reply"))))
		s.say("%s", s.err(s.c.UnderlyingConn().(interface{ CloseWrite() error }).CloseWrite()))
		s.wire()
	})
	add("the transport: written behind a reply, with more to read", func(s *stage) {
		s.peer.bytes(append(s.peer.frame(fin|text, "one"), s.peer.frame(fin|text, "two")...))
		time.Sleep(20 * time.Millisecond) // both have come
		s.read()
		s.say("%s", s.err(s.c.WriteMessage(text, []byte("reply"))))
		s.c.NetConn().Write((&peer{masked: s.client}).frame(fin|text, "by hand"))
		s.read()
		s.c.Close()
		s.wire()
	})
	add("the transport: read", func(s *stage) {
		s.peer.send(fin|text, "one")
		s.read()
		s.peer.bytes([]byte("raw"))
		p := make([]byte, 3)
		n, err := io.ReadFull(s.c.UnderlyingConn(), p)
		s.say("%q %s", p[:n], s.err(err))
		s.peer.send(fin|text, "two")
		s.read()
	})
	add("the transport: read deadline", func(s *stage) {
		s.c.NetConn().SetReadDeadline(soon())
		s.say("%s", s.full(s.readErr()))
		s.say("%s", s.full(s.readErr()))
	})
	add("the transport: read deadline while another goroutine reads", func(s *stage) {
		errs := make(chan error)
		go func() { errs <- s.readErr() }()
		time.Sleep(20 * time.Millisecond)
		s.c.NetConn().SetReadDeadline(time.Now())
		s.say("%s", s.full(<-errs))
	})
	add("the transport: closed", func(s *stage) {
		s.say("%s", s.err(s.c.NetConn().Close()))
		s.read()
		s.say("WriteMessage: %s", s.err(s.c.WriteMessage(text, []byte("x"))))
		s.say("WriteControl: %s", s.err(s.c.WriteControl(ping, nil, later())))
	})
	add("the transport: closed, then a write", func(s *stage) {
		s.say("%s", s.err(s.c.NetConn().Close()))
		s.say("WriteMessage: %s", s.err(s.c.WriteMessage(text, []byte("x"))))
		s.say("WriteMessage: %s", s.err(s.c.WriteMessage(text, []byte("x"))))
		s.read()
	})
	add("the transport: closed while another goroutine reads", func(s *stage) {
		errs := make(chan error)
		go func() { errs <- s.readErr() }()
		time.Sleep(20 * time.Millisecond)
		s.c.NetConn().Close()
		s.say("%s", s.err(<-errs))
	})
	add("the transport: half closed", func(s *stage) {
		s.c.WriteMessage(text, []byte("last"))
		s.say("%v", s.c.NetConn().(interface{ CloseWrite() error }).CloseWrite())
		s.peer.send(fin|text, "still")
		s.read()
		s.say("WriteMessage fails: %v", s.c.WriteMessage(text, []byte("x")) != nil)
		s.peer.send(fin|text, "still")
		s.read()
		s.wire()
	})

	add("writes to a peer that has reset", func(s *stage) {
		s.peer.reset()
		var err error
		for range 1000 {
			if err = s.c.WriteMessage(text, make([]byte, 1000)); err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		var oe *net.OpError
		s.say("%v, %v %v", err != nil, errors.As(err, &oe), strings.Contains(fmt.Sprint(err), "broken pipe") || strings.Contains(fmt.Sprint(err), "connection reset by peer"))
		again := s.c.WriteMessage(text, nil)
		s.say("the same %v", fmt.Sprint(again) == fmt.Sprint(err))
		s.say("the same of WriteControl %v", fmt.Sprint(s.c.WriteControl(ping, nil, later())) == fmt.Sprint(err))
	})

	add("texts of errors", func(s *stage) {
		s.c.SetReadDeadline(soon())
		err := s.readErr()
		s.say("%s", s.full(err))
		s.c.SetWriteDeadline(time.Now().Add(-time.Second))
		err = s.c.WriteMessage(text, nil)
		s.say("%s", s.full(err))
		s.say("%s", s.full(s.c.WriteControl(ping, nil, time.Now().Add(-time.Second))))
	})
	add("texts of errors: a peer that takes nothing", func(s *stage) {
		s.c.SetWriteDeadline(inside())
		err := s.c.WriteMessage(binaryMessage, make([]byte, 16<<20))
		s.say("%s", s.full(err))
		s.say("%s", s.full(s.c.WriteMessage(text, nil)))
		s.say("%s", s.full(s.c.WriteControl(ping, nil, later())))
	})
	differ("a read after a write was cut inside its frame", "ours ends the connection, over TLS within CloseTimeout", func(s *stage) {
		if s.secure {
			s.say("%s", s.door.name)
			return
		}
		s.c.SetWriteDeadline(inside())
		s.say("%v", s.c.WriteMessage(binaryMessage, make([]byte, 16<<20)) != nil)
		s.peer.send(fin|text, "hello")
		s.read()
	})
	add("texts of errors: a control frame while a write waits", func(s *stage) {
		if s.client {
			return // gorilla's control frames go between fragments, until the peer's buffers are full
		}
		written := make(chan error)
		go func() { written <- s.c.WriteMessage(binaryMessage, make([]byte, 16<<20)) }()
		s.peer.br.Peek(1) // the write has begun, and holds the connection
		s.say("%s", s.full(s.c.WriteControl(ping, nil, soon())))
		s.say("the default handler: %v", s.c.PingHandler()("x"))
		s.c.Close()
		s.say("%s", s.err(<-written))
	})
	add("texts of errors after Close", func(s *stage) {
		s.c.Close()
		say := s.full
		if s.secure { // crypto/tls says no addresses
			say = s.err
		}
		s.say("%s", say(s.readErr()))
		s.say("%s", say(s.c.WriteMessage(text, nil)))
		s.say("%s", say(s.c.WriteControl(ping, nil, later())))
		s.say("%s", say(s.c.WriteControl(closeMessage, nil, later())))
		s.say("%s", say(s.c.Close()))
		s.say("%s", say(s.c.SetReadDeadline(time.Time{})))
	})
	add("texts of errors: arguments", func(s *stage) {
		s.say("%s", s.full(s.c.WriteMessage(0, nil)))
		s.say("%s", s.c.WriteControl(ping, make([]byte, 126), later()))
		w, _ := s.c.NextWriter(text)
		w.Close()
		s.say("%s", s.full(w.Close()))
		s.say("%s", s.full(s.c.SetCompressionLevel(10)))
		s.c.WriteControl(closeMessage, nil, later())
		s.say("%s", s.full(s.c.WriteMessage(text, nil)))
		s.say("%s", s.full(s.c.WriteControl(ping, nil, later())))
	})
	add("the read deadline passes while a message is read", func(s *stage) {
		s.peer.send(text, "half")
		_, r, err := s.c.NextReader()
		s.say("%s", s.err(err))
		s.c.SetReadDeadline(soon())
		p, err := io.ReadAll(r)
		s.say("%q %s", p, s.full(err))
		_, err = r.Read(make([]byte, 1))
		s.say("%s", s.full(err))
	})
	add("the read deadline passes in a frame", func(s *stage) {
		s.peer.bytes(s.peer.frame(fin|text, "half")[:7])
		s.c.SetReadDeadline(soon())
		_, r, err := s.c.NextReader()
		s.say("%s", s.full(err))
		if err == nil {
			_, err = io.ReadAll(r)
			s.say("%s", s.full(err))
		}
	})
	add("WriteControl, deadline of its own", func(s *stage) {
		s.c.SetWriteDeadline(time.Now().Add(-time.Second))
		s.say("%s", s.err(s.c.WriteControl(ping, []byte("a"), later())))
		s.say("%s", s.err(s.c.WriteControl(ping, []byte("b"), time.Time{})))
		s.c.SetWriteDeadline(time.Time{})
		s.say("%s", s.err(s.c.WriteMessage(text, []byte("c"))))
		s.say("%s", s.err(s.c.WriteControl(closeMessage, s.formatClose(1005, "unseen"), later())))
		s.c.Close()
		s.wire()
	})
	add("a goodbye, then Close", func(s *stage) {
		s.say("%s", s.err(s.c.WriteMessage(closeMessage, s.formatClose(1000, "bye"))))
		s.say("%s", s.err(s.c.Close()))
		s.wire()
	})
	add("a goodbye and the answer", func(s *stage) {
		s.c.SetReadDeadline(later())
		s.say("%s", s.err(s.c.WriteControl(closeMessage, s.formatClose(1000, "bye"), later())))
		s.peer.send(fin|text, "on the way")
		s.peer.send(fin|ping, "too")
		s.peer.send(fin|8, payloadOfClose(1000, "bye"))
		s.read()
		s.read()
		s.say("%s", s.err(s.c.Close()))
		s.wire()
	})
	add("a second close frame of the peer", func(s *stage) {
		s.c.SetCloseHandler(func(int, string) error { return nil })
		s.peer.send(fin|8, payloadOfClose(1000, "one"))
		s.peer.send(fin|8, payloadOfClose(1001, "two"))
		s.read()
		s.read()
		s.say("%s", s.err(s.c.WriteMessage(text, []byte("x"))))
		s.say("%s", s.err(s.c.WriteControl(closeMessage, s.formatClose(1000, ""), later())))
		s.c.Close()
		s.wire()
	})

	add("a reader left half read", func(s *stage) {
		s.peer.send(text, "one")
		s.peer.send(0, "two")
		s.peer.send(fin|ping, "p")
		s.peer.send(fin|0, "three")
		s.peer.send(fin|text, "next")
		_, r, err := s.c.NextReader()
		s.say("%v", err)
		p := make([]byte, 4)
		n, err := io.ReadFull(r, p)
		s.say("%q %v", p[:n], err)
		s.read()
		n, err = r.Read(p)
		s.say("%q %v", p[:n], err)
		s.c.Close()
		s.wire()
	})
	add("a reader left half read, and an error behind it", func(s *stage) {
		s.peer.send(text, "one")
		s.peer.send(fin|8, payloadOfClose(1001, ""))
		_, r, _ := s.c.NextReader()
		_, err := r.Read(make([]byte, 1))
		s.say("%v", err)
		s.read()
		_, err = r.Read(make([]byte, 1))
		s.say("%s", s.err(err))
		_, err = r.Read(nil)
		s.say("%s", s.err(err))
	})
	add("a reader at its end, and the connection too", func(s *stage) {
		s.peer.send(fin|text, "one")
		s.peer.send(fin|8, payloadOfClose(1001, ""))
		_, r, _ := s.c.NextReader()
		p, err := io.ReadAll(r)
		s.say("%q %v", p, err)
		s.read()
		_, err = r.Read(make([]byte, 1))
		s.say("%s", s.err(err))
	})
	add("JoinMessages, by small reads, with a half read message before", func(s *stage) {
		s.peer.send(fin|text, "before")
		s.peer.send(fin|text, "one")
		s.peer.send(fin|text, "")
		s.peer.send(fin|text, "two")
		_, r, _ := s.c.NextReader()
		r.Read(make([]byte, 2))
		j := s.join(s.c, "|")
		for range 14 {
			p := make([]byte, 2)
			if s.c.SetReadDeadline(later()); bytes.HasSuffix([]byte(s.script.String()), []byte("\"two|\"\n")) {
				break
			}
			n, err := j.Read(p)
			s.say("%q %v", p[:n], err)
			if string(p[:n]) == "|" && strings.Contains(s.script.String(), "tw") {
				break
			}
		}
	})
	for _, doc := range []string{"", " ", "\n\n", `"half`, `{"a":1}{"a":2}`, "null", "\xff"} {
		add(fmt.Sprintf("ReadJSON of %q, in fragments", doc), func(s *stage) {
			s.peer.send(binaryMessage, doc)
			s.peer.send(fin|0, "")
			var v any
			err := s.c.ReadJSON(&v)
			s.say("%v %s", v, s.full(err))
			s.say("%v", err == io.ErrUnexpectedEOF)
			s.peer.send(fin|text, "next")
			s.read()
		})
	}

	for name, chunks := range map[string][]int{
		"of 4,096": {4096}, "of 4,097": {4097}, "of 10,000": {10000}, "4,000 and 100": {4000, 100}, "of 1 MB": {1 << 20}, "many": {1000, 1000, 1000, 1000, 1000, 1000},
		"nothing": {}, "nothing at all": {0}, "4,096 and nothing": {4096, 0},
	} {
		add("a message by NextWriter: "+name, func(s *stage) {
			got := make(chan string, 1)
			go func() {
				var all string
				first := s.peer.next()
				all = first[:2]
				total := 0
				for f := first; f != "end"; f = s.peer.next() {
					var n int
					fmt.Sscanf(f[strings.Index(f, "masked")+len("masked "):], "true %d", &n)
					if n == 0 {
						fmt.Sscanf(f[strings.Index(f, "masked")+len("masked "):], "false %d", &n)
					}
					total += n
				}
				got <- fmt.Sprintf("%.1s %d", all[1:], total)
			}()
			w, err := s.c.NextWriter(binaryMessage)
			s.say("%v", err)
			for _, n := range chunks {
				m, err := w.Write(bytes.Repeat([]byte("x"), n))
				s.say("%d %v", m, err)
			}
			s.say("%v %v", w.Close(), w.Close())
			s.c.Close()
			s.say("%s", <-got)
		})
		add("a message by io.Copy to NextWriter: "+name, func(s *stage) {
			w, err := s.c.NextWriter(binaryMessage)
			s.say("%v", err)
			for _, n := range chunks {
				if n > 10000 {
					continue
				}
				m, err := io.Copy(w, strings.NewReader(strings.Repeat("x", n)))
				s.say("%d %v", m, err)
				m, err = io.Copy(w, io.MultiReader(strings.NewReader(strings.Repeat("x", n)), failingReader{}))
				s.say("%d %v", m, err)
				k, err := io.WriteString(w, strings.Repeat("y", n))
				s.say("%d %v", k, err)
			}
			s.say("%v", w.Close())
			s.c.Close()
		})
	}

	// What is compressed, and what is not.
	doc := strings.Repeat("all work and no play makes a dull boy. ", 100)
	type step struct {
		name string
		do   func(s *stage)
	}
	write := step{"WriteMessage", func(s *stage) { s.say("%v", s.c.WriteMessage(text, []byte(doc))) }}
	next := step{"NextWriter", func(s *stage) {
		w, _ := s.c.NextWriter(text)
		io.WriteString(w, doc)
		s.say("%v", w.Close())
	}}
	json := step{"WriteJSON", func(s *stage) { s.say("%v", s.c.WriteJSON(doc)) }}
	prepared := step{"WritePreparedMessage", func(s *stage) {
		m, _ := s.prepare(text, []byte(doc))
		s.say("%v %v", m(s.c), m(s.c))
	}}
	off := step{"off", func(s *stage) { s.c.EnableWriteCompression(false) }}
	on := step{"on", func(s *stage) { s.c.EnableWriteCompression(true) }}
	level := func(n int) step {
		return step{fmt.Sprintf("level %d", n), func(s *stage) { s.say("%v", s.c.SetCompressionLevel(n)) }}
	}
	inside := step{"off and on inside a message", func(s *stage) {
		w, _ := s.c.NextWriter(text)
		s.c.EnableWriteCompression(false)
		io.WriteString(w, doc)
		s.say("%v", w.Close())
		w, _ = s.c.NextWriter(text)
		s.c.EnableWriteCompression(true)
		io.WriteString(w, doc)
		s.say("%v", w.Close())
	}}
	control := step{"a ping", func(s *stage) { s.say("%v", s.c.WriteMessage(ping, []byte("p"))) }}
	for _, compress := range []bool{false, true} {
		for _, steps := range [][]step{
			{write, off, write, on, write}, {next, off, next, on, next}, {json, off, json, on, json}, {prepared, off, prepared, on, prepared},
			{level(9), write, next, level(1), prepared, write}, {level(-2), write, prepared, next}, {off, level(9), write, on, write},
			{inside, write}, {control, write, off, control, prepared, write},
		} {
			var names []string
			for _, st := range steps {
				names = append(names, st.name)
			}
			list = append(list, scene{name: fmt.Sprintf("compression %v: %s", compress, strings.Join(names, ", ")), set: settings{compress: compress}, play: func(s *stage) {
				got := make(chan []string, 1)
				go func() { got <- s.peer.messages() }()
				for _, st := range steps {
					st.do(s)
				}
				s.c.Close()
				s.say("%q", <-got)
			}})
		}
	}
	list = append(list, scene{name: "WriteBufferPool", differs: "ours needs no pool and calls none", set: settings{pooled: true}, play: func(s *stage) {
		s.say("%v", s.c.WriteMessage(text, []byte("one")))
		w, _ := s.c.NextWriter(text)
		io.WriteString(w, "two")
		s.say("%v", w.Close())
		s.say("%d gets, %d puts", s.pool.gets.Load(), s.pool.puts.Load())
		s.c.Close()
		s.wire()
	}})
	list = append(list, scene{name: "readers of compressed messages left half read", set: settings{compress: true}, play: func(s *stage) {
		s.peer.send(rsv1|text, "\xf2\x48\xcd")
		s.peer.send(fin|0, "\xc9\xc9\x07\x00")
		s.peer.send(fin|rsv1|text, "\xf2\x48\xcd\xc9\xc9\x07\x00")
		s.peer.send(fin|text, "plain")
		_, r, err := s.c.NextReader()
		s.say("%v", err)
		p := make([]byte, 2)
		n, err := io.ReadFull(r, p)
		s.say("%q %v", p[:n], err)
		s.read()
		n, err = r.Read(p)
		s.say("%d %v", n, err != nil)
		s.read()
	}})
	return list
}

// countingPool is a pool that counts.
type countingPool struct {
	sync.Pool
	gets, puts atomic.Int32
}

func (p *countingPool) Get() any  { p.gets.Add(1); return p.Pool.Get() }
func (p *countingPool) Put(x any) { p.puts.Add(1); p.Pool.Put(x) }

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("the source fails") }

// messages reads all messages that still come, and tells which of them were
// compressed. Frames of a message are put together.
func (p *peer) messages() (all []string) {
	var whole []byte
	var first byte
	for {
		b0, payload, ok := p.frameOf()
		if !ok {
			return append(all, "end")
		}
		if b0&8 != 0 {
			all = append(all, fmt.Sprintf("%02x %q", b0, payload))
			continue
		}
		if b0&0xf != 0 {
			first, whole = b0, nil
		}
		whole = append(whole, payload...)
		if b0&fin == 0 {
			continue
		}
		if first&rsv1 != 0 {
			whole, _ = io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(whole), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
		}
		all = append(all, fmt.Sprintf("%02x, %d bytes, %.20q", first|fin, len(whole), whole))
	}
}

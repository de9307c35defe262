package suite

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// playAgainst plays a case of the suite as the client. The script gets the
// other end of the connection, which is open.
func playAgainst(t *testing.T, id string, script func(conn net.Conn)) (*session, *Result, time.Duration) {
	t.Helper()
	cases, err := Select(Cases(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	mine, its := net.Pipe()
	s := newSession(cases[0], mine, false)
	done := make(chan bool)
	go func() {
		defer close(done)
		defer its.Close()
		script(its)
	}()
	start := time.Now()
	s.run(nil)
	took := time.Since(start)
	<-done
	return s, s.result("", ""), took
}

// A peer that reads nothing cannot keep a case from its end.
func TestPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r, took := playAgainst(t, "1.1.1", func(conn net.Conn) { time.Sleep(time.Hour) })
		if took > 20*time.Second || r.Passed() {
			t.Errorf("after %v: %s", took, r)
		}
	})
}

// The suite does not keep the flood of a peer.
func TestFloods(t *testing.T) {
	ping := []byte{0x89, 0}
	long := append([]byte{0x82, 127}, binary.BigEndian.AppendUint64(nil, 32<<20)...)
	for _, tt := range []struct {
		name  string
		flood []byte
	}{
		{"pings", bytes.Repeat(ping, 1<<20)},
		{"empty messages", bytes.Repeat([]byte{0x81, 0}, 1<<20)},
		{"long pongs", bytes.Repeat(append([]byte{0x8a, 125}, make([]byte, 125)...), 1<<16)},
		{"a long message", append(long, make([]byte, 32<<20)...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r, _ := playAgainst(t, "2.1", func(conn net.Conn) {
					conn.Write(tt.flood)
					time.Sleep(time.Minute)
				})
				if n := len(s.received); n > mostEvents {
					t.Errorf("%d events are kept", n)
				}
				size := cap(s.in.payload)
				for _, e := range s.received {
					size += cap(e.data)
				}
				if size > 3*mostKept {
					t.Errorf("%d bytes are kept", size)
				}
				if left := s.w.left; left > 2*mostBacklog {
					t.Errorf("%d bytes wait to be written", left)
				}
				if r.Passed() {
					t.Error(r)
				}
			})
		})
	}
}

// A close frame after the other does not hold up the end of TCP.
func TestFloodOfCloseFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r, took := playAgainst(t, "7.1.1", func(conn net.Conn) {
			go io.Copy(io.Discard, conn)
			for range 30 {
				conn.Write([]byte{0x88, 2, 3, 0xe8})
				time.Sleep(time.Second / 2)
			}
		})
		if took > 3*time.Second || r.Passed() {
			t.Errorf("after %v: %s", took, r)
		}
	})
}

// The limits of long cases are up to 1000 s. A peer that has fallen silent is
// not waited for so long.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, reads := range []bool{true, false} {
			_, r, took := playAgainst(t, "9.7.6", func(conn net.Conn) {
				if reads {
					io.Copy(io.Discard, conn)
				} else {
					time.Sleep(time.Minute)
				}
			})
			if took > 2*silence || r.Behavior != Failed {
				t.Errorf("the peer reads: %v; after %v: %s", reads, took, r)
			}
		}
	})
}

// TestNoAnswers: a server that takes connections and answers no request is
// given up.
func TestNoAnswers(t *testing.T) {
	answers := patience{left: 2}
	c, silent := Cases()[0], &Result{Detail: &Detail{OpenTimeout: true}}
	answers.note(c, silent)
	if err := answers.err(); err != nil {
		t.Error("one request without an answer:", err)
	}
	answers.note(c, silent)
	if err := answers.err(); err == nil {
		t.Error("two requests without an answer: the server is not given up")
	}
	answers.note(c, &Result{Detail: &Detail{}})
	if err := answers.err(); err != nil {
		t.Error("a server that has answered is given up:", err)
	}
}

// A server that greets its clients, and does no compression, is told so in the
// cases of compression.
func TestMessageWithoutCompression(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r, _ := playAgainst(t, "12.1.1", func(conn net.Conn) {
			go io.Copy(io.Discard, conn)
			conn.Write([]byte("\x81\x07welcome\x88\x02\x03\xe8"))
		})
		if r.Behavior != Unimplemented {
			t.Error(r)
		}
	})
}

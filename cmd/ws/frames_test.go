package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"testing"
)

// appendFrame is a naive encoder.
func appendFrame(dst []byte, first byte, key []byte, payload []byte) []byte {
	dst = append(dst, first)
	var mask byte
	if key != nil {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, mask|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, mask|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, mask|127), uint64(n))
	}
	dst = append(dst, key...)
	for i, b := range payload {
		if key != nil {
			b ^= key[i&3]
		}
		dst = append(dst, b)
	}
	return dst
}

var frameKey = []byte{0xde, 0xad, 0xbe, 0xef}

// Each frame has one line. The second columns are what the bytes say, however
// they are cut.
var frameLines = []struct {
	bytes []byte
	line  string
}{
	{appendFrame(nil, 0x81, nil, []byte("hello")), `< FIN=1 RSV=000 opcode=1 text length=5 "hello"`},
	{appendFrame(nil, 0x81, frameKey, []byte("hello")), `< FIN=1 RSV=000 opcode=1 text mask=deadbeef length=5 "hello"`},
	{appendFrame(nil, 0x01, nil, nil), `< FIN=0 RSV=000 opcode=1 text length=0`},
	{appendFrame(nil, 0x80, nil, []byte("rest\n")), `< FIN=1 RSV=000 opcode=0 continuation length=5 "rest\n"`},
	{appendFrame(nil, 0x82, nil, []byte{0, 255}), `< FIN=1 RSV=000 opcode=2 binary length=2 00ff`},
	{appendFrame(nil, 0xc1, nil, []byte{0xca, 0x48}), `< FIN=1 RSV=100 opcode=1 text length=2 compressed ca48`},
	{appendFrame(nil, 0xb3, nil, []byte("x")), `< FIN=1 RSV=011 opcode=3 reserved length=1 78`},
	{appendFrame(nil, 0x89, nil, []byte("p")), `< FIN=1 RSV=000 opcode=9 ping length=1 "p"`},
	{appendFrame(nil, 0x8a, frameKey, nil), `< FIN=1 RSV=000 opcode=10 pong mask=deadbeef length=0`},
	{appendFrame(nil, 0x88, nil, []byte("\x03\xe8bye")), `< FIN=1 RSV=000 opcode=8 close length=5 1000 (normal closure) "bye"`},
	{appendFrame(nil, 0x88, frameKey, []byte("\x0f\xa1")), `< FIN=1 RSV=000 opcode=8 close mask=deadbeef length=2 4001 (private code)`},
	{appendFrame(nil, 0x88, nil, nil), `< FIN=1 RSV=000 opcode=8 close length=0`},
	{appendFrame(nil, 0x88, nil, []byte{3}), `< FIN=1 RSV=000 opcode=8 close length=1 1005 (no code)`},
	{appendFrame(nil, 0x81, nil, bytes.Repeat([]byte("a"), 60)), `< FIN=1 RSV=000 opcode=1 text length=60 "` + strings.Repeat("a", 60) + `"`},
	{appendFrame(nil, 0x81, nil, bytes.Repeat([]byte("a"), 200)), `< FIN=1 RSV=000 opcode=1 text length=200 "` + strings.Repeat("a", 60) + `"...`},
	{appendFrame(nil, 0x81, frameKey, bytes.Repeat([]byte("é"), 40000)), `< FIN=1 RSV=000 opcode=1 text mask=deadbeef length=80000 "` + strings.Repeat("é", 30) + `"...`},
	{appendFrame(nil, 0x81, nil, append([]byte("a"), bytes.Repeat([]byte("é"), 99)...)), `< FIN=1 RSV=000 opcode=1 text length=199 "a` + strings.Repeat("é", 29) + `"...`},
	{appendFrame(nil, 0x8a, nil, bytes.Repeat([]byte("b"), 125)), `< FIN=1 RSV=000 opcode=10 pong length=125 "` + strings.Repeat("b", 125) + `"`},
	{appendFrame(nil, 0x89, nil, bytes.Repeat([]byte("b"), 200)), `< FIN=1 RSV=000 opcode=9 ping length=200 "` + strings.Repeat("b", 60) + `"...`},
	{appendFrame(nil, 0x81, nil, []byte(`{"a":"b"}`)), "< FIN=1 RSV=000 opcode=1 text length=9 `{\"a\":\"b\"}`"},
	{appendFrame(nil, 0x81, nil, []byte("\"\u202e\"")), `< FIN=1 RSV=000 opcode=1 text length=5 "\"\u202e\""`},
	{appendFrame(nil, 0x81, nil, []byte("\x1b[2J")), `< FIN=1 RSV=000 opcode=1 text length=4 "\x1b[2J"`},
}

func TestFrameParser(t *testing.T) {
	var all []byte
	var want []string
	for _, fl := range frameLines {
		all = append(all, fl.bytes...)
		want = append(want, fl.line)
	}
	for _, piece := range []int{1, 2, 3, 7, 61, 4096, len(all)} {
		var got []string
		p := frameParser{emit: func(f frame) { got = append(got, f.String()) }}
		for chunk := range slices.Chunk(all, piece) {
			p.feed(chunk)
		}
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("in pieces of %d: line %d of %d, want %d:\n%q\n%q", piece, i, len(got), len(want), got[min(i, len(got)-1):], want[i])
			}
		}
	}
}

// A frame is shown before its payload is whole, and nothing is shown twice.
func TestFrameParserIsEarly(t *testing.T) {
	n := 0
	p := frameParser{emit: func(frame) { n++ }}
	b := appendFrame(nil, 0x82, nil, make([]byte, 1000))
	p.feed(b[:4+shownPayload-1])
	if n != 0 {
		t.Error("shown too early")
	}
	p.feed(b[4+shownPayload-1 : 4+shownPayload])
	if n != 1 {
		t.Error("not shown")
	}
	p.feed(b[4+shownPayload:])
	if n != 1 {
		t.Error("shown again")
	}
	p.feed(b)
	if n != 2 {
		t.Error("the next one is not shown")
	}
}

func FuzzFrameParser(f *testing.F) {
	for _, fl := range frameLines {
		f.Add(fl.bytes, 1)
	}
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5}, 2)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		if piece < 1 {
			return
		}
		var whole, pieces []string
		one := frameParser{emit: func(f frame) { whole = append(whole, f.String()) }}
		one.feed(b)
		many := frameParser{emit: func(f frame) { pieces = append(pieces, f.String()) }}
		for chunk := range slices.Chunk(b, piece) {
			many.feed(chunk)
		}
		if !slices.Equal(whole, pieces) {
			t.Errorf("whole: %q\nin pieces: %q", whole, pieces)
		}
	})
}

// The frames begin behind the handshake, whatever came before on the same
// connection.
func TestTracedConn(t *testing.T) {
	hello := appendFrame(nil, 0x81, nil, []byte("hello"))
	reply := appendFrame(nil, 0x81, frameKey, []byte("reply"))
	const (
		request  = "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
		moved    = "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 4\r\n\r\nbody"
		accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
	)
	type move struct {
		sent bool
		data string
	}
	for name, tt := range map[string]struct {
		client bool
		moves  []move
		want   []string
	}{
		"client": {true, []move{{true, request}, {false, accepted + string(hello)}, {true, string(reply)}}, []string{"< text", "> text"}},
		"client, pieces": {true, []move{{true, request[:9]}, {true, request[9:]}, {false, accepted[:20]}, {false, accepted[20:]}, {false, string(hello[:3])},
			{false, string(hello[3:])}}, []string{"< text"}},
		"client, redirect": {true, []move{{true, request}, {false, moved}, {true, request}, {false, accepted}, {true, string(reply)}}, []string{"> text"}},
		"client, refused":  {true, []move{{true, request}, {false, "HTTP/1.1 403 Forbidden\r\n\r\n" + string(hello)}}, nil},
		"server":           {false, []move{{false, request}, {true, accepted}, {true, string(hello)}, {false, string(reply)}}, []string{"> text", "< text"}},
		"server, early":    {false, []move{{false, request + string(reply)}, {true, accepted}}, []string{"< text"}},
		"server, another request": {false, []move{{false, "GET / HTTP/1.1\r\n\r\n"}, {true, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"},
			{false, request}, {true, accepted}, {false, string(reply)}}, []string{"< text"}},
	} {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		var got []string
		tr := &tracer{}
		tr.begin(func(f frame) { got = append(got, f.String()[:2]+opcodeNames[f.opcode]) })
		c := newTracedConn(ours, tr, tt.client)
		buf := make([]byte, 1024)
		for _, m := range tt.moves {
			if m.sent {
				go theirs.Read(buf)
				c.Write([]byte(m.data))
			} else {
				go theirs.Write([]byte(m.data))
				c.Read(buf)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// Both sides of a real connection show the same frames, in opposite directions.
func TestFramesOfBothSides(t *testing.T) {
	for _, tls := range []bool{false, true} {
		args := []string{"listen", "--frames", "--once", "-z", "localhost:0"}
		if tls {
			args = append(args, "--tls")
		}
		server := start(t.Context(), strings.NewReader(""), args...)
		url := server.err.wait(t, `listening on (\S+)`)[1]
		r := ws(t, "hello\n", "-k", "-z", "--frames", "-n", "1", url)
		r.want(t, exitOK, "hello\n", `(?m)^> FIN=1 RSV=000 opcode=1 text mask=[0-9a-f]{8} length=5 "hello"
< FIN=1 RSV=000 opcode=1 text length=5 "hello"
> FIN=1 RSV=000 opcode=8 close mask=[0-9a-f]{8} length=2 1000 \(normal closure\)
< FIN=1 RSV=000 opcode=8 close length=2 1000 \(normal closure\)
closed: 1000`)
		if code := <-server.code; code != exitOK {
			t.Errorf("the server ended with %d", code)
		}
		server.err.wait(t, `(?m)^#1 < FIN=1 RSV=000 opcode=1 text mask=[0-9a-f]{8} length=5 "hello"
#1 > FIN=1 RSV=000 opcode=1 text length=5 "hello"
#1 < FIN=1 RSV=000 opcode=8 close mask=[0-9a-f]{8} length=2 1000 \(normal closure\)
#1 > FIN=1 RSV=000 opcode=8 close length=2 1000 \(normal closure\)
#1 closed by the peer: 1000 \(normal closure\)`)
	}
}

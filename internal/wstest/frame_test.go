package wstest

import (
	"bytes"
	"encoding/hex"
	"io"
	"reflect"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples of RFC 6455, section 5.7, and what must never be sent.
func TestEncode(t *testing.T) {
	tests := []struct {
		name   string
		role   Role
		frames []Frame
		want   string // prefix
		length int    // of all, if longer than want
	}{
		{"unmasked text", Server, []Frame{Final(Text, "Hello")}, "81 05 48 65 6c 6c 6f", 0},
		{"masked text", Client, []Frame{Final(Text, "Hello")}, "81 85 37 fa 21 3d 7f 9f 4d 51 58", 0},
		{"fragmented text", Server, Fragments(Text, "Hel", "lo"), "01 03 48 65 6c 80 02 6c 6f", 0},
		{"ping", Server, []Frame{Final(Ping, "Hello")}, "89 05 48 65 6c 6c 6f", 0},
		{"masked pong", Client, []Frame{Final(Pong, "Hello")}, "8a 85 37 fa 21 3d 7f 9f 4d 51 58", 0},
		{"256 bytes", Server, []Frame{Final(Binary, strings.Repeat("x", 256))}, "82 7e 01 00", 260},
		{"65536 bytes", Server, []Frame{Final(Binary, strings.Repeat("x", 65536))}, "82 7f 00 00 00 00 00 01 00 00", 65546},
		{"125 bytes", Server, []Frame{Final(Binary, strings.Repeat("x", 125))}, "82 7d", 127},
		{"126 bytes", Server, []Frame{Final(Binary, strings.Repeat("x", 126))}, "82 7e 00 7e", 130},
		{"65535 bytes", Server, []Frame{Final(Binary, strings.Repeat("x", 65535))}, "82 7e ff ff", 65539},
		{"close 1000", Server, []Frame{CloseFrame(1000, "bye")}, "88 05 03 e8 62 79 65", 0},
		{"close without code", Server, []Frame{CloseFrame(0, "")}, "88 00", 0},
		{"RSV", Server, []Frame{{Fin: true, RSV: 5, Op: 3}}, "d3 00", 0},
		{"own key", Client, []Frame{{Op: Text, Key: [4]byte{1, 2, 3, 4}, Payload: []byte("\x01\x02\x03\x04\x01")}}, "01 85 01 02 03 04 00 00 00 00 00", 0},
		{"unmasked client", Client, []Frame{{Fin: true, Op: Text, Mask: Unmasked}}, "81 00", 0},
		{"masked server", Server, []Frame{{Fin: true, Op: Text, Mask: Masked}}, "81 80 37 fa 21 3d", 0},
		{"long form", Server, []Frame{{Fin: true, Op: Text, LenForm: 64, Payload: []byte("x")}}, "81 7f 00 00 00 00 00 00 00 01 78", 0},
		{"declared", Server, []Frame{{Fin: true, Op: Text, Declare: 1 << 63}}, "81 7f 80 00 00 00 00 00 00 00", 0},
	}
	for _, test := range tests {
		got := Encode(test.role, test.frames...)
		want := unhex(t, test.want)
		if !bytes.HasPrefix(got, want) || len(got) != max(test.length, len(want)) {
			t.Errorf("%s: %d bytes, %s; want %d, % x", test.name, len(got), Quote(got), max(test.length, len(want)), want)
		}
	}
}

func TestReadFrame(t *testing.T) {
	frames := []Frame{
		Final(Text, "Hello"), First(Binary, ""), Final(Continuation, strings.Repeat("x", 126)),
		Final(Binary, strings.Repeat("y", 65536)), {Fin: true, RSV: 7, Op: 15}, CloseFrame(1000, "bye"),
	}
	for _, role := range []Role{Client, Server} {
		stream := Encode(role, frames...)
		r := bytes.NewReader(stream)
		for _, want := range frames {
			got, err := ReadFrame(r)
			if err != nil || got.Fin != want.Fin || got.RSV != want.RSV || got.Op != want.Op || !bytes.Equal(got.Payload, want.Payload) {
				t.Fatalf("%v: got %v, %v; want %v", role, got, err, want)
			}
			if masked := got.Mask == Masked; masked != (role == Client) {
				t.Fatalf("%v: masked: %v", role, masked)
			}
			if want.RSV == 0 {
				if err := got.Check(role); err != nil {
					t.Errorf("%v: %v: %v", role, got, err)
				}
			}
			if err := got.Check(role.Other()); err == nil {
				t.Errorf("%v: %v passes as the other role's", role, got)
			}
		}
		if _, err := ReadFrame(r); err != io.EOF {
			t.Errorf("%v: at the end: %v", role, err)
		}
		short := Encode(role, Final(Text, strings.Repeat("z", 130)))
		for n := 1; n < len(short); n++ {
			if _, err := ReadFrame(bytes.NewReader(short[:n])); err != io.ErrUnexpectedEOF {
				t.Errorf("%v: cut after %d bytes: %v", role, n, err)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		frame Frame
		want  string
	}{
		{Frame{Fin: true, Op: Text, RSV: 4}, "RSV"},
		{Frame{Fin: true, Op: Text, LenForm: 16}, "16-bit"},
		{Frame{Fin: true, Op: Text, LenForm: 64}, "64-bit"},
		{Frame{Op: Ping}, "fragmented"},
		{Final(Ping, strings.Repeat("x", 126)), "126"},
		{Final(3, ""), "reserved"},
		{Final(11, ""), "reserved"},
		{Frame{Fin: true, Op: Text, Mask: Masked}, "masked"},
	}
	for _, test := range tests {
		f, err := ReadFrame(bytes.NewReader(Encode(Server, test.frame)))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Check(Server); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want an error with %q", f, err, test.want)
		}
	}
}

// One row for each sentence of RFC 6455 that a stream can break, and some
// streams that break none.
func TestDecode(t *testing.T) {
	big := strings.Repeat("x", 300)
	tests := []struct {
		name   string
		frames []Frame
		want   Outcome // Why is not compared
	}{
		{"nothing", nil, Outcome{}},
		{"messages", []Frame{Final(Text, "a"), Final(Binary, big)}, Outcome{Events: []Event{{Text, "a"}, {Binary, big}}}},
		{"fragments with a ping between", []Frame{First(Text, "a"), Final(Ping, "p"), Final(Continuation, "b")},
			Outcome{Events: []Event{{Ping, "p"}, {Text, "ab"}}}},
		{"code point over fragments", Fragments(Text, "\xe2", "\x82", "\xac"), Outcome{Events: []Event{{Text, "€"}}}},
		{"unfinished message", []Frame{Final(Text, "a"), First(Text, "bc")}, Outcome{Events: []Event{{Text, "a"}}, Rest: 8}},
		{"close", []Frame{CloseFrame(1000, "bye"), Final(3, "")}, Outcome{Events: []Event{{Close, "\x03\xe8bye"}}, Closed: true}},
		{"close without code", []Frame{CloseFrame(0, "")}, Outcome{Events: []Event{{Close, ""}}, Closed: true}},

		{"RSV", []Frame{{Fin: true, RSV: 1, Op: Text}}, Outcome{Code: 1002}},
		{"reserved data opcode", []Frame{Final(3, "")}, Outcome{Code: 1002}},
		{"reserved control opcode", []Frame{Final(11, "")}, Outcome{Code: 1002}},
		{"unmasked", []Frame{{Fin: true, Op: Text, Mask: Unmasked}}, Outcome{Code: 1002}},
		{"16-bit form of 125", []Frame{{Fin: true, Op: Text, LenForm: 16, Payload: []byte(big[:125])}}, Outcome{Code: 1002}},
		{"64-bit form of 65535", []Frame{{Fin: true, Op: Text, LenForm: 64, Declare: 65535}}, Outcome{Code: 1002}},
		{"2^63", []Frame{{Fin: true, Op: Text, Declare: 1 << 63}}, Outcome{Code: 1002}},
		{"stray continuation", []Frame{Final(Continuation, "")}, Outcome{Code: 1002}},
		{"message in a message", []Frame{First(Text, ""), Final(Text, "")}, Outcome{Code: 1002}},
		{"fragmented ping", []Frame{First(Ping, "")}, Outcome{Code: 1002}},
		{"ping of 126", []Frame{Final(Ping, big[:126])}, Outcome{Code: 1002}},
		{"close of 1", []Frame{Final(Close, "x")}, Outcome{Code: 1002}},
		{"close 1005", []Frame{Final(Close, ClosePayload(1005, ""))}, Outcome{Code: 1002}},
		{"close 2999", []Frame{CloseFrame(2999, "")}, Outcome{Code: 1002}},
		{"close reason", []Frame{CloseFrame(1000, "\xff")}, Outcome{Code: 1007}},
		{"text", []Frame{Final(Text, "\xff")}, Outcome{Code: 1007}},
		{"text ends early", []Frame{Final(Text, "\xe2\x82")}, Outcome{Code: 1007}},
		{"text fails in its first fragment", []Frame{First(Text, "\xed\xa0")}, Outcome{Code: 1007}},
		{"too big", []Frame{Final(Binary, strings.Repeat("x", 1001))}, Outcome{Code: 1009}},
		{"too big in two", Fragments(Binary, strings.Repeat("x", 1000), "x"), Outcome{Code: 1009}},
		{"frames without payload", Fragments(Binary, append(make([]string, SpareFrames+2), "xx", "", "")...), Outcome{Code: 1008}},
		{"limit", Fragments(Binary, strings.Repeat("x", 1000), ""), Outcome{Events: []Event{{Binary, strings.Repeat("x", 1000)}}}},
	}
	for _, test := range tests {
		stream := Encode(Client, test.frames...)
		got := Decode(stream, Rules{Sender: Client, ReadLimit: 1000})
		if (got.Code != 0) != (got.Why != "") {
			t.Errorf("%s: code %d, why %q", test.name, got.Code, got.Why)
		}
		got.Why = ""
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}

	// Early: the first byte that no text can have ends it, inside a frame.
	stream := Encode(Server, Final(Text, "abc\xf4\x90"+big))
	for n := range stream {
		want := 0
		if n >= 4+5 {
			want = 1007
		}
		if got := Decode(stream[:n], Rules{Sender: Server}); got.Code != want {
			t.Errorf("%d bytes of bad text: code %d, want %d", n, got.Code, want)
		}
	}
	if got := Decode(stream, Rules{Sender: Server, SkipUTF8: true}); got.Code != 0 || len(got.Events) != 1 {
		t.Errorf("SkipUTF8: %+v", got)
	}
}

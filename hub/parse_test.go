package hub

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/seed70bc5565/websocket"
)

var positions = []struct {
	p    Position
	text string
}{
	{Position{}, ""},
	{Position{1, 0}, "1-0"},
	{Position{0, 1}, "0-1"},
	{Position{0x9f3c01d2a4b5e677, 42}, "9f3c01d2a4b5e677-42"},
	{Position{math.MaxUint64, math.MaxUint64}, "ffffffffffffffff-18446744073709551615"},
}

func TestPosition(t *testing.T) {
	for _, tt := range positions {
		if got := tt.p.String(); got != tt.text {
			t.Errorf("%#v: %q, want %q", tt.p, got, tt.text)
		}
		if got, err := ParsePosition(tt.text); got != tt.p || err != nil {
			t.Errorf("ParsePosition(%q) = %#v, %v", tt.text, got, err)
		}
		b, err := json.Marshal(tt.p)
		if err != nil || string(b) != `"`+tt.text+`"` {
			t.Errorf("JSON: %s, %v", b, err)
		}
		p := Position{7, 7}
		if err := json.Unmarshal(b, &p); err != nil || p != tt.p {
			t.Errorf("from JSON %s: %#v, %v", b, p, err)
		}
	}
	for _, bad := range []string{
		"-", "1", "1-", "-1", "0-0", "01-1", "1-01", "1-1 ", " 1-1", "A-1", "1-a", "1--1", "1-+1", "00-1",
		"10000000000000000-1", "1-18446744073709551616", "1-99999999999999999999",
	} {
		if p, err := ParsePosition(bad); err == nil {
			t.Errorf("ParsePosition(%q) = %#v", bad, p)
		}
		p := Position{7, 7}
		if err := p.UnmarshalText([]byte(bad)); err == nil || p != (Position{7, 7}) {
			t.Errorf("UnmarshalText(%q): %#v, %v", bad, p, err)
		}
	}
}

func FuzzPosition(f *testing.F) {
	for _, tt := range positions {
		f.Add(tt.text)
		f.Add(tt.text + " ")
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, n, err := parsePosition(s)
		if err != nil {
			return
		}
		if n > maxPosition || string(appendPosition(nil, p)) != s[:n] {
			t.Errorf("%q: %#v of %d bytes is %q", s, p, n, appendPosition(nil, p))
		}
		if q, err := ParsePosition(s[:n]); err != nil || q != p {
			t.Errorf("%q: %v, %v", s[:n], q, err)
		}
	})
}

func TestEnvelope(t *testing.T) {
	for _, data := range []string{"", "x", "hello"} {
		for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
			p := appendEnvelope([]byte("before"), typ, []byte(data))
			gotType, got, err := parseEnvelope(p[len("before"):])
			if gotType != typ || string(got) != data || err != nil {
				t.Errorf("%v %q: %v %q, %v", typ, data, gotType, got, err)
			}
		}
	}
	for _, bad := range []string{"", "\x10", "\x13x", "\x01x", "\x21x", "hello"} {
		if _, _, err := parseEnvelope([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add([]byte("\x11text"))
	f.Add([]byte("\x12"))
	f.Fuzz(func(t *testing.T, p []byte) {
		typ, data, err := parseEnvelope(p)
		if err == nil && !bytes.Equal(appendEnvelope(nil, typ, data), p) {
			t.Errorf("%q: %v %q", p, typ, data)
		}
	})
}

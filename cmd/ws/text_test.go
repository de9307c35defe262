package main

import (
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
)

func TestSanitize(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"plain text, {} and ~", "plain text, {} and ~"},
		{"two\nlines\tand a tab", "two\nlines\tand a tab"},
		{"Grüße, 世界 👩‍👩‍👧 é", "Grüße, 世界 👩‍👩‍👧 é"},
		{"\x1b]0;title\x07\x1b[2J", `\x1b]0;title\a\x1b[2J`},
		{"back\rspace\b", `back\rspace\b`},
		{"\u009b31m", `\u009b31m`},
		{"abc\u202edef", `abc\u202edef`},
		{"\xff\xfe", `\xff\xfe`},
		{"\x00\x7f", `\x00\x7f`},
	} {
		if got := sanitize(tt.in); got != tt.want {
			t.Errorf("sanitize(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestPrettyJSON(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{"a":[1,2e400,"x"]}`, "{\n  \"a\": [\n    1,\n    2e400,\n    \"x\"\n  ]\n}"},
		{" true ", "true"},
		{`{"a":}`, ""},
		{"hello", ""},
		{"", ""},
	} {
		got, ok := prettyJSON([]byte(tt.in))
		if string(got) != tt.want || ok != (tt.want != "") {
			t.Errorf("%q: %q, %v", tt.in, got, ok)
		}
	}
}

func TestColourJSON(t *testing.T) {
	got := colourJSON("{\n  \"a\\\"b\": [\n    \"x: y\",\n    -1.5,\n    null\n  ]\n}")
	want := "{\n  B\"a\\\"b\"0: [\n    G\"x: y\"0,\n    Y-1.50,\n    Ynull0\n  ]\n}"
	want = strings.NewReplacer("B", blue, "G", green, "Y", yellow, "0,", plain+",", "0:", plain+":", "null0", "null"+plain).Replace(want)
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	colourJSON(`"torn`) // must not panic
	colourJSON(`"torn\`)
}

func TestQuantity(t *testing.T) {
	for n, want := range map[float64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 300 << 20: "300 MiB", 5 << 30: "5 GiB"} {
		if got := quantity(n); got != want {
			t.Errorf("quantity(%v) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%v) = %q, want %q", n, got, want)
		}
	}
}

func TestCloseText(t *testing.T) {
	for _, tt := range []struct {
		code   websocket.StatusCode
		reason string
		want   string
	}{
		{1000, "", "1000 (normal closure)"},
		{1008, "no \x1b", `1008 (policy violation) "no \x1b"`},
		{3456, "", "3456 (registered code)"},
		{4001, "bye", `4001 (private code) "bye"`},
		{2999, "", "2999 (unknown code)"},
	} {
		if got := closeText(tt.code, tt.reason); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

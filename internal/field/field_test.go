package field

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestHasToken(t *testing.T) {
	tests := []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"upgrade"}, true},
		{[]string{"Upgrade"}, true},
		{[]string{"UPGRADE"}, true},
		{[]string{" \tUpgrade\t "}, true},
		{[]string{"keep-alive, Upgrade"}, true},
		{[]string{"Upgrade,keep-alive"}, true},
		{[]string{",,Upgrade"}, true},
		{[]string{"keep-alive", "Upgrade"}, true},
		{[]string{"keep-alive, TE", "close ,Upgrade , x"}, true},
		{[]string{"notupgradeable"}, false},
		{[]string{"upgradeable"}, false},
		{[]string{"notupgrade"}, false},
		{[]string{"not upgrade"}, false},
		{[]string{"upgrade upgrade"}, false},
		{[]string{`"upgrade"`}, false},
		{[]string{"upgrade;q=1"}, false},
		{[]string{"up,grade"}, false},
		{[]string{"up", "grade"}, false},
		{[]string{"up\u212arade"}, false},
	}
	for _, tt := range tests {
		if got := HasToken(tt.lines, "upgrade"); got != tt.want {
			t.Errorf("HasToken(%q): got %v, want %v", tt.lines, got, tt.want)
		}
	}
	if HasToken([]string{"web\u017focket"}, "websocket") { // the long s folds to s in Unicode
		t.Error("a letter beyond ASCII matched")
	}
}

func TestParseTokens(t *testing.T) {
	tests := []struct {
		lines []string
		want  []string
		err   string
	}{
		{[]string{"chat"}, []string{"chat"}, ""},
		{[]string{"chat, superchat"}, []string{"chat", "superchat"}, ""},
		{[]string{"chat", "superchat,v2.x"}, []string{"chat", "superchat", "v2.x"}, ""},
		{[]string{",chat,,\tsuperchat ,"}, []string{"chat", "superchat"}, ""},
		{[]string{"chat, Chat"}, []string{"chat", "Chat"}, ""},
		{[]string{""}, nil, ""}, // says nothing
		{[]string{" , "}, nil, ""},
		{[]string{"chat, chat"}, nil, `more than once: "chat"`},
		{[]string{"chat", "chat"}, nil, `more than once: "chat"`},
		{[]string{"a,b,c,d,e,f,g,h,i,a"}, nil, `more than once: "a"`},
		{[]string{"a b"}, nil, `"a b" is not a token`},
		{[]string{"a/b"}, nil, `"a/b" is not a token`},
		{[]string{`"chat"`}, nil, "is not a token"},
		{[]string{"ch\u00e4t"}, nil, "is not a token"},
		{[]string{"chat\x00"}, nil, "is not a token"},
		{[]string{"chat\x7f"}, nil, "is not a token"},
		{[]string{distinctTokens(MaxElements), ", ,"}, strings.Split(strings.TrimSuffix(distinctTokens(MaxElements), ", "), ", "), ""},
		{[]string{distinctTokens(MaxElements), "chat"}, nil, "more than 100 elements"},
	}
	for _, tt := range tests {
		got, err := ParseTokens(tt.lines)
		if !reflect.DeepEqual(got, tt.want) || !matches(err, tt.err) {
			t.Errorf("ParseTokens(%q): got %q, %v, want %q and the error %q", tt.lines, got, err, tt.want, tt.err)
		}
	}
}

// matches reports whether err says want; there must be none if want is "".
func matches(err error, want string) bool {
	if err == nil || want == "" {
		return err == nil && want == ""
	}
	return strings.Contains(err.Error(), want)
}

func TestParseExtensions(t *testing.T) {
	tests := []struct {
		lines []string
		want  string // as AppendExtensions writes it
		err   string
	}{
		{[]string{"foo"}, "foo", ""},
		{[]string{"permessage-deflate; client_max_window_bits"}, "permessage-deflate; client_max_window_bits", ""},
		{[]string{"foo, bar; baz=2"}, "foo, bar; baz=2", ""},                // section 9.1
		{[]string{"foo", "bar; baz=2"}, "foo, bar; baz=2", ""},              // section 9.1: the same
		{[]string{`bar;baz="2"`}, "bar; baz=2", ""},                         // a quoted token
		{[]string{`bar;baz="\2\3"`}, "bar; baz=23", ""},                     // quoted pairs
		{[]string{" foo ;\ta = 1 ; b , , c "}, "foo; a=1; b, c", ""},        // implied white space
		{[]string{"foo; a=1; a=2, foo"}, "foo; a=1; a=2, foo", ""},          // what repetition means is the extension's matter
		{[]string{`foo; a="b,c"`}, "", `value "b,c" is not a token`},        // the comma does not end the element
		{[]string{`foo; a=""`}, "", `value "" is not a token`},              //
		{[]string{`foo; a="b`}, "", "string does not end"},                  //
		{[]string{`foo; a="b\`}, "", "string does not end"},                 //
		{[]string{`foo; a="b\"`}, "", "string does not end"},                //
		{[]string{`foo; a="`, `"`}, "", "string does not end"},              // a string does not go on in the next line
		{[]string{`foo; a="b"c`}, "", `a comma is expected at "c"`},         //
		{[]string{"foo bar"}, "", `a comma is expected at "bar"`},           //
		{[]string{"foo=1"}, "", `a comma is expected at "=1"`},              //
		{[]string{"foo;"}, "", `a token is expected at ""`},                 //
		{[]string{"foo; ;a"}, "", `a token is expected at ";a"`},            //
		{[]string{"foo; a="}, "", `a token is expected at ""`},              //
		{[]string{"foo; a=,b"}, "", `a token is expected at ",b"`},          //
		{[]string{"; a"}, "", `a token is expected at "; a"`},               //
		{[]string{`"foo"`}, "", "a token is expected"},                      //
		{[]string{"f\u00f6o"}, "", "a comma is expected"},                   //
		{[]string{""}, "", ""},                                              // says nothing
		{[]string{" ,", ","}, "", ""},                                       //
		{[]string{strings.Repeat("x", 200) + "/"}, "", `expected at "/"`},   //
		{[]string{"/" + strings.Repeat("x", 200)}, "", `xxx"...`},           // errors are short
		{[]string{"foo", "bar/"}, "", "a comma is expected"},                //
		{[]string{"foo; a\r\nSet-Cookie: x"}, "", "a comma is expected at"}, //
		{[]string{strings.Repeat("a,", 100)}, strings.Repeat("a, ", 99) + "a", ""},
		{[]string{strings.Repeat("a,", 100), "b"}, "", "more than 100 elements"},
		{[]string{"a" + strings.Repeat("; b", 100)}, "a" + strings.Repeat("; b", 100), ""},
		{[]string{"a" + strings.Repeat("; b", 101)}, "", "more than 100 elements"},
	}
	for _, tt := range tests {
		list, err := ParseExtensions(tt.lines)
		got := string(AppendExtensions(nil, list))
		if got != tt.want || !matches(err, tt.err) {
			t.Errorf("ParseExtensions(%q): got %q, %v, want %q and the error %q", tt.lines, got, err, tt.want, tt.err)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("ParseExtensions(%.20q): an error of %d bytes", tt.lines, len(err.Error()))
		}
	}
}

func FuzzExtensions(f *testing.F) {
	for _, s := range []string{"foo, bar; baz=2", `bar;baz="2"`, "permessage-deflate; client_max_window_bits, x", `a;b="\"`, ";,="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseExtensions([]string{s})
		if err != nil {
			if len(list) != 0 {
				t.Fatalf("%q: a list with the error %v", s, err)
			}
			return
		}
		written := string(AppendExtensions(nil, list))
		again, err := ParseExtensions([]string{written})
		if err != nil || !reflect.DeepEqual(list, again) {
			t.Fatalf("%q: written as %q, read as %v, %v, want %v", s, written, again, err, list)
		}
		for _, ext := range list {
			for _, p := range ext.Params {
				if !IsToken(p.Name) || p.Value != "" && !IsToken(p.Value) {
					t.Fatalf("%q: parameter %q", s, p)
				}
			}
			if !IsToken(ext.Name) {
				t.Fatalf("%q: name %q", s, ext.Name)
			}
		}
	})
}

// FuzzTokens compares the lists of tokens with the most naive reading of them.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{"keep-alive, Upgrade", ",,upgrade,", "upgrade upgrade", "a,b,a", "notupgradeable"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		var elements []string
		for _, e := range strings.Split(a+","+b, ",") {
			if e = strings.Trim(e, " \t"); e != "" {
				elements = append(elements, e)
			}
		}
		has, valid, seen := false, len(elements) <= MaxElements, map[string]bool{}
		for _, e := range elements {
			has = has || asciiLower(e) == "upgrade"
			valid = valid && !seen[e] && strings.Trim(e, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~") == "" &&
				!strings.ContainsAny(e, "()<>@,;:\\\"/[]?={} \t") && isPrintableASCII(e)
			seen[e] = true
		}
		if got := HasToken([]string{a, b}, "upgrade"); got != has {
			t.Errorf("HasToken(%q, %q): got %v", a, b, got)
		}
		got, err := ParseTokens([]string{a, b})
		if (err == nil) != valid || valid && !reflect.DeepEqual(got, elements) {
			t.Errorf("ParseTokens(%q, %q): got %q, %v, want %q, %v", a, b, got, err, elements, valid)
		}
	})
}

func asciiLower(s string) string {
	return string(bytes.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, []byte(s)))
}

func isPrintableASCII(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// distinctTokens is a list of n tokens, all different.
func distinctTokens(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "t%05d, ", i)
	}
	return b.String()
}

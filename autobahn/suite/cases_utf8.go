package suite

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// The tables of group 6. RFC 3629 tells which bytes are text, and unicode/utf8
// follows it.

const (
	greek     = "\u03ba\u1f79\u03c3\u03bc\u03b5"
	surrogate = "\xed\xa0\x80"     // U+D800, which UTF-8 must not hold
	tooHigh   = "\xf4\x90\x80\x80" // U+110000
	edited    = "edited"
	western1  = "Hello-\u00b5@\u00df\u00f6\u00e4"
	western2  = "\u00fc\u00e0\u00e1-UTF-8!!"
	word1007  = "The peer fails the connection: a close frame with 1007, or the end of TCP."
)

// utf8Groups are groups 6.5 to 6.23, after Markus Kuhn's stress test of UTF-8
// decoders.
func utf8Groups() [][]string {
	var prefixes []string
	for i := range len(greek) {
		prefixes = append(prefixes, greek[:i+1])
	}
	// span is all bytes from lo to hi, hi not included, each followed by after.
	span := func(lo, hi byte, after string) string {
		var b strings.Builder
		for c := lo; c < hi; c++ {
			b.WriteByte(c)
			b.WriteString(after)
		}
		return b.String()
	}
	unfinished := []string{
		"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf",
	}
	var nonCharacters []string
	for plane := rune(0); plane <= 16; plane++ {
		nonCharacters = append(nonCharacters, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	var specials []string
	for r := rune(0xfff9); r <= 0xffff; r++ {
		specials = append(specials, string(r))
	}
	return [][]string{
		{"hello$world", "hello\u00a2world", "hello\u20acworld", "hello\U00024b62world", greek},
		prefixes,
		// The first code points of each length, and those of lengths that are
		// no more.
		{"\x00", "\u0080", "\u0800", "\U00010000"},
		{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"},
		// The last ones.
		{"\x7f", "\u07ff", "\uffff", "\U0010ffff"},
		{"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"},
		// Boundaries.
		{"\ud7ff", "\ue000", "\ufffd", "\U0010ffff", tooHigh},
		// Continuation bytes without a start.
		{"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf", span(0x80, 0xbf, "")},
		// Starts without a continuation.
		{span(0xc0, 0xdf, " "), span(0xe0, 0xef, " "), span(0xf0, 0xf7, " "), span(0xf8, 0xfb, " "), span(0xfc, 0xfd, " ")},
		unfinished,
		{strings.Join(unfinished, "")},
		// Bytes that UTF-8 never has.
		{"\xfe", "\xff", "\xfe\xfe\xff\xff"},
		// Overlong: a slash, the highest of each length, NUL.
		{"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"},
		{"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"},
		{"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"},
		// Surrogates, alone and in pairs.
		{"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf"},
		{"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
			"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf"},
		nonCharacters,
		specials,
	}
}

func utf8Cases() []*Case {
	var cases []*Case
	good := func(id, sends, payload string, f ...frame) *Case {
		c := &Case{ID: id, Sends: sends, Expects: wordEchoed, script: oneWrite(f...), ok: []event{message(payload)},
			closing: closeNormally, limit: oneSecond, atLimit: closeAtLimit}
		cases = append(cases, c)
		return c
	}
	bad := func(id, sends string, script []step) *Case {
		c := &Case{ID: id, Sends: sends, Expects: word1007, script: script, closing: peerFails(1007), limit: oneSecond, wrongEndFails: true}
		cases = append(cases, c)
		return c
	}

	good("6.1.1", "An empty text message.", "", text(""))
	good("6.1.2", "A text message in three fragments, all empty.", "", first(text("")), first(cont("")), cont(""))
	middle := "middle frame payload"
	good("6.1.3", "A text message in three fragments, all but the second empty.", middle, first(text("")), first(cont(middle)), cont(""))

	western := western1 + western2
	good("6.2.1", "A text message with code points of two bytes.", western, text(western))
	good("6.2.2", "The same in two fragments, cut between code points.", western, first(text(western1)), cont(western2))
	good("6.2.3", "The same in fragments of one byte.", western, fragments(text(western), 1)...)
	good("6.2.4", "Greek in fragments of one byte.", greek, fragments(text(greek), 1)...)

	invalid := greek + surrogate + edited
	bad("6.3.1", fmt.Sprintf("A text message that is not UTF-8: %x.", invalid), oneWrite(text(invalid)))
	bad("6.3.2", "The same in fragments of one byte.", oneWrite(fragments(text(invalid), 1)...))

	// 6.4: the peer is to fail as soon as it can know.
	late := greek + tooHigh + edited
	frames := func(a, b, c string) []step {
		return []step{{frames: []frame{first(text(a))}}, {frames: []frame{first(cont(b))}}, {frames: []frame{cont(c)}}}
	}
	at := len(greek)
	for i, cut := range [][2]int{{at, at + 4}, {at + 1, at + 2}} {
		a, b, c := late[:cut[0]], late[cut[0]:cut[1]], late[cut[1]:]
		words := []string{"the second holds what is not UTF-8", "the second is the byte from which on it is not UTF-8"}[i]
		bad(fmt.Sprintf("6.4.%d", 1+i), "A text message in three fragments, 1 s between: "+words+".", frames(a, b, c))
		split := bad(fmt.Sprintf("6.4.%d", 3+i), "One text frame in three pieces, 1 s between: "+words+".", nil)
		split.script = []step{{part: &part{a, len(late)}}, {part: &part{payload: b}}, {part: &part{payload: c}, frames: []frame{cont("")}}}
	}
	for _, c := range cases[len(cases)-4:] {
		c.Expects = "The peer fails the connection with 1007, or by ending TCP, before the third part. NON-STRICT: after it."
		c.ok = []event{passed("A")}
		c.nonStrict = &[]event{passed("A"), passed("B")}
		c.script[1].pause, c.script[1].tag = oneSecond, "A"
		c.script[2].pause, c.script[2].tag = oneSecond, "B"
	}
	cases[len(cases)-2], cases[len(cases)-3] = cases[len(cases)-3], cases[len(cases)-2] // 6.4.2 before 6.4.3

	for i, group := range utf8Groups() {
		for j, payload := range group {
			id := fmt.Sprintf("6.%d.%d", 5+i, 1+j)
			if utf8.ValidString(payload) {
				good(id, fmt.Sprintf("A text message that is UTF-8: %x.", payload), payload, text(payload)).atLimit = killAtLimit
			} else {
				bad(id, fmt.Sprintf("A text message that is not UTF-8: %x.", payload), oneWrite(text(payload)))
			}
			cases[len(cases)-1].limit = 500 * time.Millisecond
		}
	}
	return cases
}

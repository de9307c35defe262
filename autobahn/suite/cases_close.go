package suite

import (
	"fmt"
	"strings"
)

// The tables of group 7: closing.
func closeCases() []*Case {
	var cases []*Case
	// closes sends the suite's close frame and what comes behind it; before is
	// what comes first.
	closes := func(id, sends, expects string, before []frame, closing frame, behind ...frame) *Case {
		script := []step{{frames: append(before[:len(before):len(before)], closing), close: true}}
		if len(behind) > 0 {
			script = append(script, step{frames: behind})
		}
		c := &Case{ID: id, Sends: sends, Expects: expects, script: script, closing: closeNormally,
			limit: oneSecond, closesNever: true, codeFails: true}
		cases = append(cases, c)
		return c
	}
	const answered = "A close frame with 1000 or without a code comes back, and nothing else."
	const refused = "A close frame with 1002 comes back, or the peer ends TCP."
	normal := closeFrame(1000, "")
	greeting := "Hello World!"

	cases = append(cases, &Case{ID: "7.1.1", Sends: "A text message; the suite closes after the echo.", Expects: wordEchoed,
		script: oneWrite(text(greeting)), ok: []event{message(greeting)}, closing: closeNormally, limit: oneSecond, codeFails: true})
	closes("7.1.2", "Two close frames.", answered, nil, normal, closeFrame(-1, ""))
	closes("7.1.3", "A close frame, and a ping.", answered, nil, normal, ping(""))
	closes("7.1.4", "A close frame, and a text message.", answered, nil, normal, text(greeting))
	closes("7.1.5", "A first fragment, a close frame, and the last fragment.", answered, []frame{first(text("fragment1"))}, normal, cont("fragment2"))
	c := closes("7.1.6", "A text message of 256 KiB, a short one, a close frame, and a ping.",
		"The RFC does not say whether the messages still come back.",
		[]frame{{opcode: opText, payload: "BAsd7&jh23", repeat: 256 << 10}, text(greeting)}, normal, ping(""))
	c.ok, c.nonStrict, c.informational, c.codeFails = []event{message(greeting)}, nothing(), true, false

	bad := closing{byMe: true, codes: []int{1002}}
	closes("7.3.1", "An empty close frame.", answered, nil, closeFrame(-1, ""))
	closes("7.3.2", "A close frame of one byte.", refused, nil, closeFrame(-1, "a")).closing = bad
	closes("7.3.3", "A close frame with a code.", answered, nil, normal)
	closes("7.3.4", "A close frame with a code and a reason.", answered, nil, closeFrame(1000, greeting))
	closes("7.3.5", "A close frame with a reason of 123 bytes, the longest.", answered, nil, closeFrame(1000, strings.Repeat("*", 123)))
	closes("7.3.6", "A close frame with a reason of 124 bytes.", refused, nil, closeFrame(1000, strings.Repeat("*", 124))).closing = bad
	closes("7.5.1", "A close frame whose reason is not UTF-8.", "A close frame with 1002 or 1007 comes back, or the peer ends TCP.", nil,
		closeFrame(1000, greek+surrogate+edited)).closing = closing{byMe: true, codes: []int{1002, 1007}}

	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		codes, words := []int{1000, code}, fmt.Sprintf("1000, %d", code)
		if code == 1000 {
			codes, words = codes[:1], "1000"
		}
		closes(fmt.Sprintf("7.7.%d", 1+i), fmt.Sprintf("A close frame with %d.", code),
			fmt.Sprintf("A close frame with %s or without a code comes back.", words), nil, closeFrame(code, "")).
			closing = closing{byMe: true, codes: codes, clean: true}
	}
	for i, code := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		closes(fmt.Sprintf("7.9.%d", 1+i), fmt.Sprintf("A close frame with %d, which must not be sent.", code), refused, nil,
			closeFrame(code, "")).closing = bad
	}
	for i, code := range []int{5000, 65535} {
		c := closes(fmt.Sprintf("7.13.%d", 1+i), fmt.Sprintf("A close frame with %d.", code),
			"The RFC says nothing of codes from 5000 on.", nil, closeFrame(code, ""))
		c.closing = closing{byMe: true, codes: []int{1000, code, 1002}}
		c.informational, c.codeFails = true, false
	}
	return cases
}

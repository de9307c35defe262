package suite

import (
	"fmt"
	"strings"
	"time"
)

// The tables of groups 1 to 5 and 10: framing, pings, reserved bits and
// opcodes, fragmentation.

const (
	hello      = "Hello, world!"
	noText     = "\x00\xff\xfe\xfd\xfc\xfb\x00\xff" // bytes that are not UTF-8
	pingText   = "ping payload"
	pongText   = "unsolicited pong payload"
	bytewise   = 1
	oneSecond  = time.Second
	wordEchoed = "The message comes back. The suite closes with 1000, and the peer answers."
	word1002   = "The peer fails the connection at once: a close frame with 1002, or the end of TCP."
)

// oneWrite sends all frames in one TCP write.
func oneWrite(f ...frame) []step { return []step{{frames: f}} }

// The ways to send the same frames: in one TCP write, one for each, and byte by
// byte.
var threeWays = []struct {
	words string
	step  step
}{
	{"in one TCP write", step{}},
	{"in a TCP write for each frame", step{sync: true}},
	{"byte by byte", step{chop: bytewise}},
}

func (s step) with(f ...frame) []step { s.frames = f; return []step{s} }

func nothing() *[]event { return new([]event) }

func basicCases() []*Case {
	var cases []*Case
	add := func(c Case) {
		if c.limit == 0 {
			c.limit = oneSecond
		}
		cases = append(cases, &c)
	}

	// 1.1 and 1.2: the three forms of the length.
	for kind, name := range []string{"text", "binary"} {
		for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
			f, e := text(strings.Repeat("*", n)), message(strings.Repeat("*", n))
			if kind == 1 {
				f, e = binFrame(strings.Repeat("\xfe", n)), binaryMessage(strings.Repeat("\xfe", n))
			}
			c := Case{ID: fmt.Sprintf("1.%d.%d", kind+1, i+1), Sends: fmt.Sprintf("A %s message of %d bytes.", name, n),
				Expects: wordEchoed, script: oneWrite(f), ok: []event{e}, closing: closeNormally}
			if n > 128 {
				c.limit = 10 * oneSecond
			}
			if i == 7 {
				c.script[0].chop = 997
				c.Sends = fmt.Sprintf("A %s message of %d bytes, in TCP writes of 997.", name, n)
			}
			add(c)
		}
	}

	// 2: pings and pongs.
	control := func(id int, sends string, way step, limit time.Duration, frames []frame, ok ...event) {
		add(Case{ID: fmt.Sprintf("2.%d", id), Sends: sends, Expects: "A pong for each ping, in order, with its payload. The suite closes with 1000.",
			script: way.with(frames...), ok: ok, closing: closeNormally, limit: limit, atLimit: closeAtLimit})
	}
	full := strings.Repeat("\xfe", 125)
	control(1, "A ping without payload.", step{}, 0, []frame{ping("")}, pongEvent(""))
	control(2, "A ping with a text.", step{}, 0, []frame{ping(hello)}, pongEvent(hello))
	control(3, "A ping with bytes that are not UTF-8.", step{}, 0, []frame{ping(noText)}, pongEvent(noText))
	control(4, "A ping of 125 bytes.", step{}, 0, []frame{ping(full)}, pongEvent(full))
	add(Case{ID: "2.5", Sends: "A ping of 126 bytes.", Expects: word1002, script: oneWrite(ping(full + "\xfe")), closing: peerFails(1002)})
	control(6, "A ping of 125 bytes, byte by byte.", step{chop: bytewise}, 2*oneSecond, []frame{ping(full)}, pongEvent(full))
	for i, payload := range []string{"", pongText} {
		add(Case{ID: fmt.Sprintf("2.%d", 7+i), Sends: fmt.Sprintf("A pong of %d bytes that no ping asked for, and a close frame.", len(payload)),
			Expects: "Nothing but the close frame comes back.", script: []step{{frames: []frame{pong(payload), closeFrame(1000, "")}, close: true}},
			closing: closeNormally, atLimit: closeAtLimit})
	}
	control(9, "A pong that no ping asked for, and a ping.", step{}, 0, []frame{pong(pongText), ping(pingText)}, pongEvent(pingText))
	var pings []frame
	var pongs []event
	for i := range 10 {
		payload := fmt.Sprintf("payload-%d", i)
		pings, pongs = append(pings, ping(payload)), append(pongs, pongEvent(payload))
	}
	control(10, "Ten pings.", step{}, 3*oneSecond, pings, pongs...)
	control(11, "Ten pings, byte by byte.", step{chop: bytewise}, 3*oneSecond, pings, pongs...)

	// 3 and 4: what no extension gave a meaning.
	fails := func(id, sends string, script []step, ok ...event) {
		c := Case{ID: id, Sends: sends, Expects: word1002, script: script, ok: ok, closing: peerFails(1002)}
		if len(ok) > 0 {
			c.Expects = "The first message comes back, then the peer fails the connection with 1002 or by ending TCP. NON-STRICT: the message does not come back."
			c.nonStrict = nothing()
		}
		add(c)
	}
	fails("3.1", "A text message with RSV 1.", oneWrite(withRSV(text(hello), 1)))
	for i, way := range threeWays {
		fails(fmt.Sprintf("3.%d", 2+i), fmt.Sprintf("A text message, one with RSV %d, and a ping, %s.", 2+i, way.words),
			way.step.with(text(hello), withRSV(text(hello), byte(2+i)), ping("")), message(hello))
	}
	fails("3.5", "A binary message with RSV 5.", oneWrite(withRSV(binFrame(noText), 5)))
	fails("3.6", "A binary message with RSV 6.", oneWrite(withRSV(binFrame(hello), 6)))
	fails("3.7", "A close frame with RSV 7.", oneWrite(withRSV(closeFrame(-1, ""), 7)))
	for group, low := range []byte{3, 11} {
		op := func(i byte, payload string) frame { return frame{opcode: low + i, payload: payload} }
		id := func(i int) string { return fmt.Sprintf("4.%d.%d", group+1, i) }
		fails(id(1), fmt.Sprintf("A frame with the reserved opcode %d, empty.", low), oneWrite(op(0, "")))
		fails(id(2), fmt.Sprintf("A frame with the reserved opcode %d, and a payload.", low+1), oneWrite(op(1, "reserved opcode payload")))
		for i, payload := range []string{"", "reserved opcode payload", "reserved opcode payload"} {
			way := threeWays[0]
			if i == 2 {
				way = threeWays[2]
			}
			fails(id(3+i), fmt.Sprintf("A text message, a frame with the reserved opcode %d, and a ping, %s.", int(low)+2+i, way.words),
				way.step.with(text(hello), op(byte(2+i), payload), ping("")), message(hello))
		}
	}

	// 5: fragmentation.
	whole := func(id int, sends string, script []step, ok ...event) {
		add(Case{ID: fmt.Sprintf("5.%d", id), Sends: sends, Expects: "The pongs at once, then the message, whole. The suite closes with 1000.",
			script: script, ok: ok, closing: closeNormally, atLimit: closeAtLimit})
	}
	const f1, f2, f3, f4, f5 = "fragment1", "fragment2", "fragment3", "fragment4", "fragment5"
	fails("5.1", "A ping in two fragments.", oneWrite(first(ping(f1)), cont(f2)))
	fails("5.2", "A pong in two fragments.", oneWrite(first(pong(f1)), cont(f2)))
	for i, way := range threeWays {
		whole(3+i, "A text message in two fragments, "+way.words+".", way.step.with(first(text(f1)), cont(f2)), message(f1+f2))
	}
	for i, way := range threeWays {
		whole(6+i, "A text message in two fragments, a ping between, "+way.words+".",
			way.step.with(first(text(f1)), ping(pingText), cont(f2)), pongEvent(pingText), message(f1+f2))
	}
	for i, way := range threeWays {
		fails(fmt.Sprintf("5.%d", 9+i), "A continuation with FIN where there is nothing to continue, and a text message, "+way.words+".",
			way.step.with(cont("non-continuation payload"), text(hello)))
	}
	for i, way := range threeWays {
		fails(fmt.Sprintf("5.%d", 12+i), "A continuation without FIN where there is nothing to continue, and a text message, "+way.words+".",
			way.step.with(first(cont("non-continuation payload")), text(hello)))
	}
	fails("5.15", "A text message in two fragments, a continuation without FIN, and a text message.",
		oneWrite(first(text(f1)), cont(f2), first(cont(f3)), text(f4)), message(f1+f2))
	for i, stray := range []frame{first(cont(f1)), cont(f1)} {
		fails(fmt.Sprintf("5.%d", 16+i), fmt.Sprintf("Twice a continuation with FIN %d where there is nothing to continue, and a text message in two fragments.", i),
			oneWrite(stray, first(text(f2)), cont(f3), stray, first(text(f2)), cont(f3)))
	}
	fails("5.18", "Two fragments, the second one a text frame in place of a continuation.", oneWrite(first(text(f1)), text(f2)))
	for i, way := range threeWays[:2] {
		a, b := way.step, way.step
		a.frames = []frame{first(text(f1)), first(cont(f2)), ping("pongme 1!")}
		b.frames = []frame{first(cont(f3)), first(cont(f4)), ping("pongme 2!"), cont(f5)}
		b.pause = oneSecond
		whole(19+i, "Two fragments, a ping, a pause of 1 s, two fragments, a ping, the last fragment, "+way.words+".",
			[]step{a, b}, pongEvent("pongme 1!"), pongEvent("pongme 2!"), message(f1+f2+f3+f4+f5))
	}

	// 10: many fragments.
	long := strings.Repeat("*", 65536)
	add(Case{ID: "10.1.1", Sends: "A text message of 65536 bytes in fragments of 1300.", Expects: wordEchoed,
		script: oneWrite(fragments(text(long), 1300)...), ok: []event{message(long)}, closing: closeNormally, limit: 10 * oneSecond})
	return cases
}

// fragments cuts f into frames of size bytes and one of what is left. As in the
// original, that one is empty if the length is a multiple of size. A payload of
// up to size bytes is not cut.
func fragments(f frame, size int) []frame {
	if len(f.payload) <= size {
		return []frame{f}
	}
	var all []frame
	for payload := f.payload; ; {
		n := min(size, len(payload))
		part := f
		part.payload, part.more = payload[:n], n == size
		all = append(all, part)
		if !part.more {
			return all
		}
		payload = payload[n:]
		f.opcode, f.rsv = opContinuation, 0
	}
}

package flate

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// The corpora of tests and benchmarks: what people send over WebSocket, made
// from a seed.

var corpora = []struct {
	name string
	make func(seed uint64, size int) []byte
}{
	{"json", jsonText},
	{"english", englishText},
	{"html", htmlText},
	{"binary", binaryData},
	{"random", randomData},
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x5eed)) }

// fill calls more until it has written size bytes, and cuts what is beyond.
func fill(size int, more func(b *strings.Builder)) []byte {
	var b strings.Builder
	for b.Len() < size {
		more(&b)
	}
	return []byte(b.String())[:size]
}

var words = strings.Fields(`the of and to in a is that it was for on are as with his they at be this from have or by one
	had not but what all were when we there can an your which their said if do will each about how up out them then she
	many some so these would other into has more her two like him see time could no make than first been its who now
	people my made over did down only way find use may water long little very after words called just where most know
	connection message window history compress network thousand between through another government important children
	example understand question information development particular together university experience everything`)

var firstNames = []string{"Alice", "Bob", "Carla", "Dmitri", "Elena", "Farid", "Grace", "Hiro", "Ines", "Jonas"}

func word(r *rand.Rand) string {
	// Roughly Zipf: common words come often.
	return words[int(float64(len(words))*r.Float64()*r.Float64())]
}

// jsonText is a run of events as a trading or chat back end would send them.
func jsonText(seed uint64, size int) []byte {
	r := newRand(seed)
	id := 100000 + r.IntN(900000)
	first := true
	return fill(size, func(b *strings.Builder) {
		if first {
			fmt.Fprintf(b, `{"type":"snapshot","channel":"room-%d","seq":%d,"events":[`, r.IntN(100), r.IntN(1e6))
			first = false
		} else {
			b.WriteByte(',')
		}
		id += 1 + r.IntN(9)
		fmt.Fprintf(b, `{"id":%d,"user":{"name":"%s","verified":%t},"text":"%s %s %s","price":%.2f,"volume":%d,"ts":"2025-06-%02dT%02d:%02d:%02dZ"}`,
			id, firstNames[r.IntN(len(firstNames))], r.IntN(2) == 0, word(r), word(r), word(r), 100*r.Float64(), r.IntN(1000),
			1+r.IntN(30), r.IntN(24), r.IntN(60), r.IntN(60))
	})
}

func englishText(seed uint64, size int) []byte {
	r := newRand(seed)
	return fill(size, func(b *strings.Builder) {
		n := 5 + r.IntN(15)
		for i := range n {
			w := word(r)
			if i == 0 {
				w = strings.ToUpper(w[:1]) + w[1:]
			} else {
				b.WriteByte(' ')
				if r.IntN(12) == 0 {
					b.WriteString("and, ")
				}
			}
			b.WriteString(w)
		}
		b.WriteString(". ")
	})
}

func htmlText(seed uint64, size int) []byte {
	r := newRand(seed)
	return fill(size, func(b *strings.Builder) {
		switch r.IntN(3) {
		case 0:
			fmt.Fprintf(b, "<div class=\"%s-%s\" id=\"n%d\">\n  <p>%s %s %s %s.</p>\n</div>\n", word(r), word(r), r.IntN(1e4), word(r),
				word(r), word(r), word(r))
		case 1:
			fmt.Fprintf(b, "<li class=\"item\"><a href=\"/%s/%s?id=%d\">%s</a></li>\n", word(r), word(r), r.IntN(1e5), word(r))
		default:
			fmt.Fprintf(b, "<tr><td>%d</td><td class=\"num\">%.3f</td><td>%s</td></tr>\n", r.IntN(1000), r.Float64()*1000, word(r))
		}
	})
}

// binaryData is a table of little-endian records with counters, flags and
// noise.
func binaryData(seed uint64, size int) []byte {
	r := newRand(seed)
	x, y := r.IntN(1<<16), r.IntN(1<<16)
	return fill(size, func(b *strings.Builder) {
		x += r.IntN(50)
		y -= r.IntN(50)
		b.Write([]byte{1, 0, byte(x), byte(x >> 8), byte(x >> 16), 0, byte(y), byte(y >> 8), byte(y >> 16), byte(r.IntN(4)), 0, 0,
			byte(r.IntN(256)), byte(r.IntN(256)), 0x80, 0x3f})
	})
}

func randomData(seed uint64, size int) []byte {
	r := newRand(seed)
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

package suite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"unicode/utf8"
)

// The data that groups 12 and 13 send. It is made here, always the same, of
// the kinds and about the sizes that the original has. Its lengths are
// multiples of 64 Ki, so that long slices come round again after a few
// messages.

type dataset struct {
	name   string
	binary bool
	make   func() []byte
	once   sync.Once
	bytes  []byte
	starts []int // of the code points, and the end; nil if each has one byte
	size   int   // in bytes, or in code points if it is text
}

var (
	jsonData   = &dataset{name: "large JSON", make: makeJSON}
	bitmapData = &dataset{name: "a bitmap", binary: true, make: makeBitmap}
	proseData  = &dataset{name: "prose", binary: true, make: makeProse}
	htmlData   = &dataset{name: "a large page of HTML", make: makeHTML}
	pdfData    = &dataset{name: "bytes that can hardly be compressed", binary: true, make: makeNoise}
)

func (d *dataset) load() {
	d.once.Do(func() {
		d.bytes = d.make()
		d.size = len(d.bytes)
		if d.binary {
			return
		}
		for i := range string(d.bytes) {
			d.starts = append(d.starts, i)
		}
		d.size = len(d.starts)
		d.starts = append(d.starts, len(d.bytes))
	})
}

// offset is where the i'th byte, or code point, begins.
func (d *dataset) offset(i int) int {
	if d.starts == nil {
		return i
	}
	return d.starts[i]
}

// slice returns n bytes, or code points, from i on; what follows the end is the
// beginning.
func (d *dataset) slice(i, n int) []byte {
	if i+n <= d.size {
		return d.bytes[d.offset(i):d.offset(i+n)]
	}
	head := d.bytes[d.offset(i):]
	return append(head[:len(head):len(head)], d.bytes[:d.offset(i+n-d.size)]...)
}

var words = strings.Fields(`a about after again air all along also always an and animal another answer any are around as ask at away back be because
been before began below between book both boy but by call came can carry change children city close come could country cut day did different do does
down each earth eat end enough even every example eye face family far father feet few find first follow food for found four from garden get girl give
go good got great group grow had hand hard has have he head hear help her here high him his home house how if important in into is it its just keep
kind know land large last late learn leave left let letter life light like line list little live long look made make man many mean men might mile
mother mountain move much must name near need never new next night no not now number of off often old on once one only open or other our out over own
page paper part people picture place plant play point put question quick quite read really right river run said same saw say school sea second see
seem sentence set she should show side small so some something sometimes song soon sound spell stand start state still stop story study such sun take
talk tell than that the their them then there these they thing think this those thought three through time to together too took tree try turn two under
until up us use very walk want was watch water way we well went were what when where which while white who why will with without word work world would
write year you young your Straße Größe über Äpfel señor garçon naïve 東京 Ελλάδα`)

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7692)) }

func sentence(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		// A few words are frequent, as in every language.
		w := words[int(float64(len(words))*r.Float64()*r.Float64())]
		if i == 0 {
			w = strings.ToUpper(w[:1]) + w[1:]
		} else {
			b.WriteByte(' ')
		}
		b.WriteString(w)
	}
	b.WriteByte('.')
	return b.String()
}

// cutTo cuts text to n code points.
func cutTo(b []byte, n int) []byte {
	at := 0
	for range n {
		_, size := utf8.DecodeRune(b[at:])
		at += size
	}
	return b[:at]
}

func makeJSON() []byte {
	const size = 3 << 16
	r := random(1)
	var b bytes.Buffer
	b.WriteString("[\n")
	for i := 0; b.Len() < size*2; i++ {
		fmt.Fprintf(&b, "  {\n    \"id\": %d,\n    \"name\": %q,\n    \"active\": %v,\n    \"balance\": %.2f,\n    \"position\": [%.6f, %.6f],\n    \"about\": %q,\n    \"tags\": [%q, %q]\n  },\n",
			i, sentence(r, 2), r.IntN(2) == 0, r.Float64()*10000, r.Float64()*180-90, r.Float64()*360-180, sentence(r, 20), words[r.IntN(len(words))], words[r.IntN(len(words))])
	}
	return cutTo(b.Bytes(), size)
}

func makeBitmap() []byte {
	const size = 4 << 16
	r := random(2)
	b := []byte("BM")
	b = binary.LittleEndian.AppendUint32(b, size)
	b = append(b, make([]byte, 48)...)
	for y := 0; len(b) < size; y++ {
		for x := range 512 {
			b = append(b, byte(x/4+y/4+x*y/4096)+byte(r.IntN(6)))
		}
	}
	return b[:size]
}

func makeProse() []byte {
	const size = 3 << 16
	r := random(3)
	var b bytes.Buffer
	for b.Len() < size {
		for range 3 + r.IntN(5) {
			b.WriteString(sentence(r, 5+r.IntN(20)))
			b.WriteString("\r\n")
		}
		b.WriteString("\r\n")
	}
	return b.Bytes()[:size]
}

func makeHTML() []byte {
	const size = 4 << 16
	r := random(4)
	var b bytes.Buffer
	b.WriteString("<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"><title>A page</title></head>\n<body>\n")
	for i := 0; b.Len() < size*2; i++ {
		fmt.Fprintf(&b, "<div class=\"section\" id=\"section-%d\">\n  <h2><a href=\"#section-%d\">%s</a></h2>\n  <p class=\"text\">%s</p>\n  <ul>\n    <li>%s</li>\n    <li>%s</li>\n  </ul>\n</div>\n",
			i, i+1, sentence(r, 4), sentence(r, 40), sentence(r, 6), sentence(r, 6))
	}
	return cutTo(b.Bytes(), size)
}

func makeNoise() []byte {
	const size = 16 << 16
	r := random(5)
	b := []byte("%PDF-1.4\n")
	// A peer that loses its context must fail 12.5 too, so text comes again. It
	// does so at the beginning only: what can be compressed takes time.
	for object := 1; len(b) < windowSize; object++ {
		b = fmt.Appendf(b, "%d 0 obj\n<< /Length 768 /Filter /FlateDecode >>\nstream\n", object)
		for range 768 / 8 {
			b = binary.LittleEndian.AppendUint64(b, r.Uint64())
		}
		b = append(b, "\nendstream\nendobj\n"...)
	}
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:size]
}

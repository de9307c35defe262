package flate

import (
	"fmt"
	"testing"
)

func BenchmarkEncoder(b *testing.B) {
	for _, takeover := range []bool{false, true} {
		for _, c := range corpora {
			for _, size := range []int{128, 512, 1 << 10, 4 << 10, 64 << 10} {
				b.Run(fmt.Sprintf("takeover=%t/%s/%d", takeover, c.name, size), func(b *testing.B) {
					// More than a window of different messages: takeover must
					// not meet the same one again.
					msgs := make([][]byte, max(8, 128<<10/size))
					for i := range msgs {
						msgs[i] = c.make(uint64(i), size)
					}
					e := NewEncoder(MaxWindowBits, takeover)
					dst := make([]byte, 0, 2*size+1024)
					sum, i := 0, 0
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for b.Loop() {
						out, ok := e.AppendMessage(dst[:0], msgs[i%len(msgs)])
						if !ok {
							out = msgs[i%len(msgs)]
						}
						sum += len(out)
						i++
					}
					b.ReportMetric(float64(sum)/float64(i), "wire-B")
				})
			}
		}
	}
}

func BenchmarkDecoder(b *testing.B) {
	for _, takeover := range []bool{false, true} {
		for _, c := range corpora[:4] {
			for _, size := range []int{128, 512, 1 << 10, 4 << 10, 64 << 10} {
				b.Run(fmt.Sprintf("takeover=%t/%s/%d", takeover, c.name, size), func(b *testing.B) {
					e := NewEncoder(MaxWindowBits, takeover)
					payloads := make([][]byte, max(8, 128<<10/size))
					for i := range payloads {
						payloads[i] = e.AppendChunk(nil, c.make(uint64(i), size), true)
					}
					d := NewDecoder(MaxWindowBits, takeover)
					dst := make([]byte, 0, 2*size)
					i := 0
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for b.Loop() {
						if i%len(payloads) == 0 && takeover {
							d = NewDecoder(MaxWindowBits, true) // the first message stands alone
						}
						if _, err := d.AppendMessage(dst, payloads[i%len(payloads)], -1); err != nil {
							b.Fatal(err)
						}
						i++
					}
				})
			}
		}
	}
}

//go:build (amd64 || arm64) && !purego

package simd

// XorMin is the least number of bytes that XorBlocks takes; it is as fast as
// words there, and faster above.
const XorMin = 32

// XorBlocks XORs the n bytes at src with key into dst, which is src or does not
// overlap it. The result is the key that fits the byte after them. Against
// words of 64 bits, AVX2 is 1.3 times as fast at 128 bytes, 1.9 times at 512,
// and 3 times at 4 KiB. There both fit the first cache. At 64 KiB, where they
// do not, it is 1.6 times as fast.
//
//go:noescape
func XorBlocks(dst, src *byte, n int, key, next uint32)

// WithoutVectors runs f as on a processor without vectors. It is for tests of
// the Go code that replaces it, and nothing may run at the same time.
func WithoutVectors(f func()) {
	defer func(before bool) { HasVectors = before }(HasVectors)
	HasVectors = false
	f()
}

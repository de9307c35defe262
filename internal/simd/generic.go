//go:build !(amd64 || arm64) || purego

package simd

// These functions replace the assembly. No call comes here.
const (
	HasVectors = false
	XorMin     = 0
	UTF8Min    = 0
)

// XorBlocks exists where HasVectors may be true.
func XorBlocks(dst, src *byte, n int, key, next uint32) {
	panic("simd: no XorBlocks in this build")
}

// UTF8Blocks exists where HasVectors may be true.
func UTF8Blocks(p *byte, n int) bool { panic("simd: no UTF8Blocks in this build") }

// WithoutVectors runs f, because there are no vectors.
func WithoutVectors(f func()) { f() }

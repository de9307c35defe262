//go:build (amd64 || arm64) && !purego

package utf8

import "github.com/seed70bc5565/websocket/internal/simd"

// The Go that other processors run must be tested where the assembly would hide
// it.
func init() {
	if !simd.HasVectors {
		return
	}
	u := utf8Variants[0]
	u.name, u.valid = "words", validWords
	utf8Variants = append(utf8Variants, u)
	u.name, u.valid = "blocks", func(p []byte) bool { // Valid without isASCII
		if len(p) < simd.UTF8Min {
			return validWords(p)
		}
		return simd.UTF8Blocks(&p[0], len(p)) && unfinished(p) == 0
	}
	utf8Variants = append(utf8Variants, u)
}

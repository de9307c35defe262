//go:build (amd64 || arm64) && !purego

package websocket

import "github.com/seed70bc5565/websocket/internal/simd"

// The Go that other processors run must be tested where the assembly would hide
// it.
func init() {
	if !simd.HasVectors {
		return
	}
	v := maskVariants[0]
	v.name = "words"
	v.mask = func(b []byte, key uint32) uint32 {
		defer func() { simd.HasVectors = true }()
		simd.HasVectors = false
		return mask(b, key)
	}
	v.copyMask = func(dst, src []byte, key uint32) uint32 {
		defer func() { simd.HasVectors = true }()
		simd.HasVectors = false
		return copyMask(dst, src, key)
	}
	maskVariants = append(maskVariants, v)
}

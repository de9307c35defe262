//go:build (amd64 || arm64) && !purego

package websocket

// The Go that other processors run must be tested where the assembly would hide it.
func init() {
	if !hasVectors {
		return
	}
	v := maskVariants[0]
	v.name = "words"
	v.mask = func(b []byte, key uint32) uint32 {
		defer func() { hasVectors = true }()
		hasVectors = false
		return mask(b, key)
	}
	v.copyMask = func(dst, src []byte, key uint32) uint32 {
		defer func() { hasVectors = true }()
		hasVectors = false
		return copyMask(dst, src, key)
	}
	maskVariants = append(maskVariants, v)

	u := utf8Variants[0]
	u.name, u.valid = "words", validWords
	utf8Variants = append(utf8Variants, u)
}

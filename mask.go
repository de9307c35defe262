package websocket

import "math/bits"

// mask XORs b with the masking key, whose first byte on the wire is in the lowest 8 bits (as in header.key), and
// returns the key rotated so that it fits the byte after b (RFC 6455, section 5.3: "j = i MOD 4").
//
// Masking and unmasking are the same operation.
func mask(b []byte, key uint32) uint32 {
	for i := range b {
		b[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
	return key
}

// copyMask copies src to the start of dst and masks the copy as mask does; it returns the key for the byte after src.
// dst must be at least as long as src. The two may begin at the same byte or not overlap at all.
func copyMask(dst, src []byte, key uint32) uint32 {
	dst = dst[:len(src):len(dst)] // panics when dst is too short, whatever its capacity
	copy(dst, src)
	return mask(dst, key)
}

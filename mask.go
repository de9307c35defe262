package websocket

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"sync"

	"github.com/seed70bc5565/websocket/internal/simd"
)

// mask XORs b with the masking key (RFC 6455, section 5.3: "j = i MOD 4"). The
// first byte of the key on the wire is in the lowest 8 bits, as in header.key.
// The result is the key rotated so that it fits the byte after b.
//
// Masking and unmasking are the same operation.
func mask(b []byte, key uint32) uint32 { return copyMask(b, b, key) }

// copyMask copies src to the start of dst and masks the copy as mask does. It
// returns the key for the byte after src. The slice dst must be at least as
// long as src. The two may begin at the same byte or not overlap at all.
//
// From simd.XorMin bytes up it is assembly where there is any. The rest is Go
// for every processor and byte order: words of 64 bits, 9 times as fast as
// single bytes at 128 bytes. The last 4 or 8 bytes are one word that may
// overlap the word before it. It is loaded before anything is stored, and
// stored at the end. So nothing from 4 bytes up is done byte by byte. Where the
// length changes from message to message, that alone is a factor of 1.7 at 128
// bytes and of 2 at 32. The reason is that a loop over the rest ends with a
// branch predicted wrong.
func copyMask(dst, src []byte, key uint32) uint32 {
	n := len(src)
	dst = dst[:n:len(dst)] // panics when dst is too short, whatever its capacity
	next := bits.RotateLeft32(key, -8*n)
	switch {
	case n >= simd.XorMin && simd.HasVectors:
		simd.XorBlocks(&dst[0], &src[0], n, key, next)
		return next
	case n >= 8:
	case n >= 4:
		tail := binary.LittleEndian.Uint32(src[n-4:]) ^ next
		binary.LittleEndian.PutUint32(dst, binary.LittleEndian.Uint32(src)^key)
		binary.LittleEndian.PutUint32(dst[n-4:], tail)
		return next
	case n > 0: // the first, the middle and the last byte
		mid := n >> 1
		b0, b1, b2 := src[0]^byte(key), src[mid]^byte(key>>(8*mid)), src[n-1]^byte(next>>24)
		dst[0], dst[mid], dst[n-1] = b0, b1, b2
		return next
	default:
		return key
	}

	k := uint64(key)<<32 | uint64(key)
	// The key that fits the byte after the end also fits the word at n-8.
	last, tail := dst[n-8:], binary.LittleEndian.Uint64(src[n-8:])^(uint64(next)<<32|uint64(next))
	for len(src) > 64 && len(dst) > 64 {
		xorWord(dst, src, k)
		xorWord(dst[8:], src[8:], k)
		xorWord(dst[16:], src[16:], k)
		xorWord(dst[24:], src[24:], k)
		xorWord(dst[32:], src[32:], k)
		xorWord(dst[40:], src[40:], k)
		xorWord(dst[48:], src[48:], k)
		xorWord(dst[56:], src[56:], k)
		dst, src = dst[64:], src[64:]
	}
	if len(src) > 32 && len(dst) > 32 {
		xorWord(dst, src, k)
		xorWord(dst[8:], src[8:], k)
		xorWord(dst[16:], src[16:], k)
		xorWord(dst[24:], src[24:], k)
		dst, src = dst[32:], src[32:]
	}
	if len(src) > 16 && len(dst) > 16 {
		xorWord(dst, src, k)
		xorWord(dst[8:], src[8:], k)
		dst, src = dst[16:], src[16:]
	}
	if len(src) > 8 && len(dst) > 8 {
		xorWord(dst, src, k)
	}
	binary.LittleEndian.PutUint64(last, tail)
	return next
}

func xorWord(dst, src []byte, k uint64) {
	binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(src)^k)
}

// keyBlock holds masking keys that were read from crypto/rand together. That is
// a quarter of the cost of reading each by itself.
type keyBlock struct {
	left  int
	bytes [512]byte
}

var keyPool = sync.Pool{New: func() any { return new(keyBlock) }}

// newMaskingKey returns a fresh masking key that no peer can foresee (RFC 6455,
// section 5.3).
func newMaskingKey() uint32 {
	k := keyPool.Get().(*keyBlock)
	key := k.next()
	keyPool.Put(k)
	return key
}

// next returns a key of the block, which it reads again when it is used up.
func (k *keyBlock) next() uint32 {
	if k.left == 0 {
		rand.Read(k.bytes[:]) // never fails: it ends the program instead
		k.left = len(k.bytes)
	}
	k.left -= 4
	key := k.bytes[k.left : k.left+4]
	v := binary.LittleEndian.Uint32(key)
	clear(key) // a key is used once
	return v
}

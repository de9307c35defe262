//go:build (amd64 || arm64) && !purego

package websocket

// xorBlocksMin is the least number of bytes that xorBlocks takes.
const xorBlocksMin = 32

// xorBlocks XORs the n bytes at src with key into dst, which is src or does not overlap it.
//
//go:noescape
func xorBlocks(dst, src *byte, n int, key uint32)

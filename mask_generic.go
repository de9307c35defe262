//go:build !(amd64 || arm64) || purego

package websocket

const (
	hasVectors   = false
	xorBlocksMin = 0
)

func xorBlocks(dst, src *byte, n int, key, next uint32) {
	panic("websocket: no xorBlocks in this build")
}

//go:build !(amd64 || arm64) || purego

package websocket

const utf8BlocksMin = 0

func utf8Blocks(p *byte, n int) bool { panic("websocket: no utf8Blocks in this build") }

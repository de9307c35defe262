//go:build !linux

package websocket

var polledLinks []link

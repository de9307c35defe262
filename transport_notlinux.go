//go:build !linux

package websocket

import "net"

func tellsQueue(net.Conn) bool { return false }

func queueLen(net.Conn) int { return 0 }

//go:build unix && !linux

package websocket

import "syscall"

// sysWritev is not called here, where sockets are written through net.
func sysWritev(fd uintptr, a, _ []byte) (int, syscall.Errno) { return sysWrite(fd, a) }

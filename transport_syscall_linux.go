//go:build linux && !race && !msan && !asan

package websocket

import (
	"syscall"
	"unsafe"
)

// sysRead and sysWrite are syscall.Read and syscall.Write without the two
// frames of those. With them the stack of a connection that waits would be 4
// KiB, not 2. They are nosplit, as syscall.Syscall is, because they would be
// the deepest functions that look whether the stack has room.
//
// Neither is called with an empty p. n is -1 if they fail.

//go:nosplit
func sysRead(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.Syscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

//go:nosplit
func sysWrite(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.Syscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

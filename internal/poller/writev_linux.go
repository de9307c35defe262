package poller

import (
	"syscall"
	"unsafe"
)

// maxWrite is the most bytes that one system call is given.
const maxWrite = 1 << 30

// Writev writes what the descriptor takes of a and then b, with one system
// call. It returns -1 or 0 bytes with an error.
func Writev(fd uintptr, a, b []byte) (int, syscall.Errno) {
	a = a[:min(len(a), maxWrite)]
	b = b[:min(len(b), maxWrite-len(a))]
	if len(b) == 0 {
		n, err := syscall.Write(int(fd), a)
		errno, _ := err.(syscall.Errno)
		return n, errno
	}
	v := [2]syscall.Iovec{{Base: unsafe.SliceData(a)}, {Base: unsafe.SliceData(b)}}
	v[0].SetLen(len(a))
	v[1].SetLen(len(b))
	n, _, errno := syscall.Syscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&v)), uintptr(len(v)))
	return int(n), errno
}

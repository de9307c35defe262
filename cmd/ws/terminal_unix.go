//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package main

import (
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// coloursWork says that a terminal understands escape sequences.
const coloursWork = true

// A terminal is one whose lines the program edits itself. Ctrl-C and Ctrl-Z
// still are signals.
type terminal struct {
	fd     uintptr
	before syscall.Termios

	mu     sync.Mutex
	closed bool
}

// opened is the terminal to give back when the process has to end at once.
var opened atomic.Pointer[terminal]

func ioctl(fd, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

func isTerminal(f *os.File) bool {
	var t syscall.Termios
	return ioctl(f.Fd(), getTermios, unsafe.Pointer(&t)) == nil
}

// openTerminal switches the editing and the echo of the terminal off.
func openTerminal(f *os.File) (*terminal, error) {
	t := &terminal{fd: f.Fd()}
	if err := ioctl(t.fd, getTermios, unsafe.Pointer(&t.before)); err != nil {
		return nil, err
	}
	if err := t.edit(); err != nil {
		return nil, err
	}
	opened.Store(t)
	return t, nil
}

func (t *terminal) edit() error {
	mode := t.before
	mode.Iflag &^= syscall.ICRNL | syscall.INLCR | syscall.IXON
	mode.Lflag &^= syscall.ICANON | syscall.ECHO | syscall.IEXTEN
	mode.Cc[syscall.VMIN], mode.Cc[syscall.VTIME] = 1, 0
	return ioctl(t.fd, setTermios, unsafe.Pointer(&mode))
}

// restore gives the terminal back as it was.
func (t *terminal) restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		ioctl(t.fd, setTermios, unsafe.Pointer(&t.before))
	}
}

// restoreTerminal gives back the terminal that is open, if there is one.
func restoreTerminal() {
	if t := opened.Load(); t != nil {
		os.Stdout.WriteString(pasteMarksOff + "\r\n")
		t.restore()
	}
}

// onResume lets f be called when the process goes on after Ctrl-Z, and when the
// window has another size.
func (t *terminal) onResume(f func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCONT, syscall.SIGWINCH)
	go func() {
		for range signals {
			t.mu.Lock()
			if t.closed {
				t.mu.Unlock()
				return
			}
			t.edit()
			t.mu.Unlock()
			f()
		}
	}()
}

// width returns the number of columns.
func (t *terminal) width() int {
	var size struct{ rows, columns, x, y uint16 }
	if err := ioctl(t.fd, syscall.TIOCGWINSZ, unsafe.Pointer(&size)); err != nil || size.columns == 0 {
		return 80
	}
	return int(size.columns)
}

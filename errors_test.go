package websocket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestIsErrIsErrorsIs(t *testing.T) {
	reset := syscall.Errno(104)
	plain := []error{nil, io.EOF, reset, os.ErrDeadlineExceeded, net.ErrClosed, errAbruptEnd, errNotNow, closedNormally, serverClosed, errDeadPeer,
		CloseError{StatusNormalClosure, ""}, CloseError{StatusInternalError, ""}, closedInside{CloseError{StatusNormalClosure, ""}},
		&net.OpError{Op: "read", Err: net.ErrClosed}, &net.OpError{Op: "read", Err: os.NewSyscallError("read", reset)}, writeError{io.EOF}}
	for _, err := range plain {
		for _, err := range []error{err, apiError("read", err), apiError("read", apiError("write", err)), fmt.Errorf("wrapped: %w", err)} {
			for _, target := range []error{io.EOF, os.ErrDeadlineExceeded, net.ErrClosed} {
				if got, want := isErr(err, target), errors.Is(err, target); got != want {
					t.Errorf("isErr(%#v, %v) = %v, errors.Is says %v", err, target, got, want)
				}
			}
		}
	}
}

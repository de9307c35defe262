package websocket

import (
	"errors"
	"fmt"
	"testing"
)

// errors.As finds a CloseError by value and by pointer: the compiler takes
// both, so both are true.
func TestCloseErrorAsPointer(t *testing.T) {
	want := CloseError{Code: 4001, Reason: "why"}
	for _, err := range []error{want, fmt.Errorf("read: %w", want), closedInside{want}} {
		var v CloseError
		if !errors.As(err, &v) || v != want {
			t.Errorf("%v by value: %v", err, v)
		}
		var p *CloseError
		if !errors.As(err, &p) || *p != want {
			t.Errorf("%v by pointer: %v", err, p)
		}
	}
}

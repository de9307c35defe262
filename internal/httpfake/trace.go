package httpfake

import (
	"net/http"
	"strings"
	"testing"
)

// WantCalls fails the test unless each call that a trace noted begins as
// wanted.
func WantCalls(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("told %q, want %q", got, want)
	}
	for i := range got {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("told %q, want %q", got[i], want[i])
		}
	}
}

// WantPanic calls f, which panics with http.ErrAbortHandler.
func WantPanic(t *testing.T, name string, f func()) {
	t.Helper()
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("%s: panicked with %v", name, v)
		}
	}()
	f()
}

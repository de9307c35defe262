package wstest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Start runs f on a goroutine and returns a channel that gets its error.
func Start(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// Running reports whether f, started with Start, has not ended. It waits until
// all goroutines of the bubble wait.
func Running(done <-chan error) bool {
	synctest.Wait()
	return len(done) == 0
}

// Await waits for what other goroutines are about to do.
func Await(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come")
		}
	}
}

// Matches reports whether err says want; there must be none if want is "".
func Matches(err error, want string) bool {
	if err == nil || want == "" {
		return err == nil && want == ""
	}
	return strings.Contains(err.Error(), want)
}

//go:build race

package flate

// lighter is 1 where the tests take larger steps. The race detector makes them
// ten times as slow, and has little to find in code that starts no goroutine.
const lighter = 1

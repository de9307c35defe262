//go:build race

package websocket

// raceEnabled: under the race detector sync.Pool drops things at random, so
// memory cannot be counted.
const raceEnabled = true

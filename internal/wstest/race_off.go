//go:build !race

package wstest

// RaceEnabled tells tests whether the race detector is in this build.
const RaceEnabled = false

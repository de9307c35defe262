//go:build !race

package flate

const lighter = 0 // see race_test.go

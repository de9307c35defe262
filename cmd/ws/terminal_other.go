//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package main

import (
	"errors"
	"os"
)

// Here the terminal edits its lines itself, and gets no escape sequences.
const coloursWork = false

type terminal struct{}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func openTerminal(*os.File) (*terminal, error) { return nil, errors.ErrUnsupported }
func restoreTerminal()                         {}

func (t *terminal) onResume(func()) {}
func (t *terminal) restore()        {}
func (t *terminal) width() int      { return 80 }

//go:build !linux

package load

import "errors"

// Run needs epoll and the CPU clocks of Linux.
func Run(j Job, hold func(Result)) (Result, error) {
	return Result{}, errors.New("the benchmarks run on Linux only")
}

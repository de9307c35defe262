//go:build !linux

package load

import (
	"errors"
	"os/exec"
	"time"
)

var errLinuxOnly = errors.New("the benchmarks run on Linux only")

// Run needs epoll and the CPU clocks of Linux.
func Run(j Job, hold func(Result)) (Result, error) { return Result{}, errLinuxOnly }

// RunSwarm needs epoll.
func RunSwarm(job Swarm) error { return errLinuxOnly }

// startPinned needs the affinities of Linux.
func startPinned(cmd *exec.Cmd, cpu int) error { return errLinuxOnly }

// CPUTime needs the CPU clocks of Linux.
func CPUTime(pid int) (time.Duration, error) { return 0, errLinuxOnly }

// RSS and PeakRSS need /proc.
func RSS(pid int) (int64, error)     { return 0, errLinuxOnly }
func PeakRSS(pid int) (int64, error) { return 0, errLinuxOnly }

package main

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
)

// A usage is what is in use at one moment.
type usage struct {
	busy, idle float64 // CPU time since some moment, in any unit
	used       uint64  // bytes of memory
	total      uint64  // bytes of memory, 0 if that is not known
}

// A meter measures.
type meter struct {
	what string // "This machine", or what else is measured
	read func() (usage, error)
}

func newMeter() meter {
	if _, err := readProc(); err == nil {
		return meter{"This machine", readProc}
	}
	return meter{"The server's process (this system has no /proc)", readRuntime}
}

func readProc() (usage, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return usage{}, err
	}
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return usage{}, err
	}
	return parseProc(stat, meminfo)
}

var errProc = errors.New("/proc/stat or /proc/meminfo is not as expected")

// parseProc reads the first line of /proc/stat, "cpu" and the times spent in
// user, nice, system, idle, iowait and so on. It reads two lines of
// /proc/meminfo.
func parseProc(stat, meminfo []byte) (u usage, err error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 6 || string(fields[0]) != "cpu" {
		return usage{}, errProc
	}
	for i, f := range fields[1:min(len(fields), 9)] { // the two behind, of guests, are counted in user and nice already
		n, err := strconv.ParseUint(string(f), 10, 64)
		switch {
		case err != nil:
			return usage{}, errProc
		case i == 3 || i == 4: // idle, iowait
			u.idle += float64(n)
		default:
			u.busy += float64(n)
		}
	}
	var available uint64
	for line := range bytes.Lines(meminfo) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if value = bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB")); string(name) == "MemTotal" {
			u.total, err = strconv.ParseUint(string(value), 10, 64)
		} else if string(name) == "MemAvailable" {
			available, err = strconv.ParseUint(string(value), 10, 64)
		}
		if err != nil {
			return usage{}, errProc
		}
	}
	if u.total == 0 || available > u.total {
		return usage{}, errProc
	}
	u.total *= 1024
	u.used = u.total - available*1024
	return u, nil
}

// readRuntime asks the Go runtime, which counts the CPU at each garbage
// collection: so there is one.
func readRuntime() (usage, error) {
	runtime.GC()
	samples := []metrics.Sample{
		{Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"}, {Name: "/memory/classes/total:bytes"},
	}
	metrics.Read(samples)
	total, idle := samples[0].Value.Float64(), samples[1].Value.Float64()
	return usage{busy: total - idle, idle: idle, used: samples[2].Value.Uint64()}, nil
}

// load returns how much of the CPU was in use between two measurements, from 0
// to 1.
func load(before, now usage) float64 {
	busy, idle := now.busy-before.busy, now.idle-before.idle
	if busy+idle <= 0 {
		return 0
	}
	return min(max(busy/(busy+idle), 0), 1)
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// A footprint is what the process holds when nothing goes on.
type footprint struct {
	goroutines int
	files      int   // open; -1: the system does not tell
	heap       int64 // bytes of live objects
	rss        int64 // bytes; -1: the system does not tell
}

func (f footprint) String() string {
	return fmt.Sprintf("%d goroutines, %d open files, %.1f MiB heap, %.1f MiB resident", f.goroutines, f.files,
		float64(f.heap)/(1<<20), float64(f.rss)/(1<<20))
}

// A footprint may have so much more than the baseline.
//
// Goroutines and files have none of their own to spare: a few are in the
// runtime's and net/http's hands for a moment. The heap is exact except for
// what package runtime and net/http keep for themselves. Their bookkeeping of
// stacks and timers follows the most that there ever was at a time. A minute
// has some 20,000 connections. So a leak of 400 bytes for each is found in a
// minute, and of 15 bytes in half an hour. The resident set has the
// fragmentation of the heap besides.
const (
	spareGoroutines = 4
	spareFiles      = 4
	spareHeap       = 8 << 20
	spareRSS        = 48 << 20
)

// settle waits until what has ended is gone, and measures what is left.
func settle() footprint {
	var f footprint
	last := -1
	for range 60 { // until nothing changes any more; timers that have been stopped and finalizers take a moment
		debug.FreeOSMemory()
		f = measure()
		if f.goroutines == last {
			break
		}
		last = f.goroutines
		time.Sleep(500 * time.Millisecond)
	}
	time.Sleep(time.Second)
	debug.FreeOSMemory() // the pools keep what they have for two collections
	debug.FreeOSMemory()
	return measure()
}

func measure() footprint {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f := footprint{goroutines: runtime.NumGoroutine(), files: -1, heap: int64(m.HeapAlloc), rss: -1}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		f.files = len(files)
	}
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, resident int64
		if _, err := fmt.Fscan(bytes.NewReader(statm), &size, &resident); err == nil {
			f.rss = resident * int64(os.Getpagesize())
		}
	}
	return f
}

// exceeds returns an error that names what f has in excess of before.
func (f footprint) exceeds(before footprint) error {
	var errs []error
	compare := func(what string, now, then, spare int64) {
		if now > then+spare {
			errs = append(errs, fmt.Errorf("%s: %d, which is more than the baseline of %d and %d", what, now, then, spare))
		}
	}
	compare("goroutines", int64(f.goroutines), int64(before.goroutines), spareGoroutines)
	compare("open files", int64(f.files), int64(before.files), spareFiles)
	compare("bytes on the heap", f.heap, before.heap, spareHeap)
	compare("bytes resident", f.rss, before.rss, spareRSS)
	return errors.Join(errs...)
}

//go:build !linux

// Command rawepoll is the floor of the benchmarks for servers that have no
// goroutine for each connection. It runs on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "rawepoll: epoll is in Linux only")
	os.Exit(1)
}

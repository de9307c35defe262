//go:build !js

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "client runs in a browser: go run ./examples/wasm compiles and serves it")
	os.Exit(1)
}

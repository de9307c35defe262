// Package jstest tests Dial and Conn as programs of js/wasm use them, in a
// browser and in Node: see its command exec.
package jstest

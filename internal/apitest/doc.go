// Package apitest tests the package websocket from outside: its tests use
// exported names only. They are programs as users write them: servers of
// net/http, clients, listeners. Tests that need unexported names are in the
// root.
//
// A file is named after the source file that it tests, as in the root. The file
// memory_test.go measures what an idle connection keeps. The file coder_test.go
// declares the API of github.com/coder/websocket.
package apitest

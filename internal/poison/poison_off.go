//go:build !websocketpoison

// Package poison is empty, unless the tests are built with the tag
// websocketpoison: see poison.go.
package poison

// On says whether the pools are poisoned.
const On = false

// Byte is what memory is poisoned with.
const Byte = 0xdb

// The rest is never called: it stands behind On.

func Take[T any](func(*T), func(*T) bool) *T { return nil }
func Give[T any](*T, func(*T))               {}
func Fill([]byte)                            {}
func Intact([]byte) bool                     { return true }
func InUse() []string                        { return nil }
func Forget()                                {}

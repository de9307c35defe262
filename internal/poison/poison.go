//go:build websocketpoison

// Package poison takes the place of the library's pools in tests that are built
// with the tag websocketpoison. It shows memory that is used when it should not
// be. A piece that is given back is overwritten, and is the first to be handed
// out again. Code that still reads it sees poison or another connection's
// bytes. Code that still writes to it is found when the piece is taken. It also
// finds a piece that is given back twice, and one that never is.
//
// Without the tag On is a constant false, and none of this is in the program.
package poison

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
)

// On says whether the pools are poisoned.
const On = true

// Byte is what memory is poisoned with. As text it is not UTF-8, as the begin
// of a frame it has reserved bits set.
const Byte = 0xdb

var (
	mu   sync.Mutex
	free = map[reflect.Type][]any{} // by the type of the pointer, the latest last
	in   = map[any]bool{}           // what is in free
	out  = map[any][]uintptr{}      // what is in use, and by whom it was taken
)

// Take hands out a piece, which holds poison: the latest that was given back,
// or a new one. The function spoil poisons a piece. The result intact reports
// whether the piece is still as spoil left it.
func Take[T any](spoil func(*T), intact func(*T) bool) *T {
	mu.Lock()
	defer mu.Unlock()
	typ := reflect.TypeFor[*T]()
	var p *T
	if list := free[typ]; len(list) > 0 {
		p = list[len(list)-1].(*T)
		free[typ] = list[:len(list)-1]
		delete(in, p)
		if !intact(p) {
			panic(fmt.Sprintf("poison: a %T was written to after it was given back", *p))
		}
	} else {
		p = new(T)
		spoil(p)
	}
	pcs := make([]uintptr, 12)
	out[p] = pcs[:runtime.Callers(2, pcs)]
	return p
}

// Give takes a piece back. One that Take has not handed out, as the sync.Pool
// would take too, must not overlap with any that it has.
func Give[T any](p *T, spoil func(*T)) {
	mu.Lock()
	defer mu.Unlock()
	if in[p] {
		panic(fmt.Sprintf("poison: a %T was given back twice", *p))
	}
	if out[p] == nil {
		aloneLocked(p, out)
		aloneLocked(p, in)
	}
	delete(out, p)
	spoil(p)
	in[p] = true
	typ := reflect.TypeFor[*T]()
	free[typ] = append(free[typ], p)
}

// aloneLocked panics if p overlaps with one of known.
func aloneLocked[V any](p any, known map[any]V) {
	bounds := func(p any) (from, to uintptr) {
		v := reflect.ValueOf(p)
		return v.Pointer(), v.Pointer() + v.Type().Elem().Size()
	}
	from, to := bounds(p)
	for other := range known {
		if f, t := bounds(other); f < to && from < t {
			panic(fmt.Sprintf("poison: what was given back as a %T is a part of a %T", p, other))
		}
	}
}

var pattern = []byte{Byte, Byte, Byte, Byte}

// Fill poisons b.
func Fill(b []byte) {
	for n := copy(b, pattern); n > 0 && n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

// Intact reports whether b is as Fill has left it.
func Intact(b []byte) bool { return bytes.Count(b, pattern[:1]) == len(b) }

// InUse returns what is in use: for each piece a text that says where it was
// taken.
func InUse() []string {
	mu.Lock()
	defer mu.Unlock()
	var pieces []string
	for p, pcs := range out {
		var text strings.Builder
		fmt.Fprintf(&text, "%T\n", p)
		frames := runtime.CallersFrames(pcs)
		for {
			frame, more := frames.Next()
			fmt.Fprintf(&text, "\t%s:%d %s\n", frame.File, frame.Line, frame.Function)
			if !more {
				break
			}
		}
		pieces = append(pieces, text.String())
	}
	return pieces
}

// Forget forgets what is in use: tests begin with it that count from there on.
func Forget() {
	mu.Lock()
	defer mu.Unlock()
	clear(out)
}

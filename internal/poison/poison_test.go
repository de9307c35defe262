//go:build websocketpoison

package poison

import (
	"strings"
	"testing"
)

type small [64]byte

func spoil(p *small)       { Fill(p[:]) }
func intact(p *small) bool { return Intact(p[:]) }

func take() *small  { return Take(spoil, intact) }
func give(p *small) { Give(p, spoil) }

// panics returns what f panics with.
func panics(t *testing.T, f func()) (text string) {
	t.Helper()
	defer func() {
		text, _ = recover().(string)
	}()
	f()
	t.Error("no panic")
	return ""
}

func TestPoison(t *testing.T) {
	a := take()
	if a[0] != Byte || a[63] != Byte {
		t.Errorf("a new piece holds %x", *a)
	}
	*a = small{1, 2, 3}
	if where := InUse(); len(where) != 1 || !strings.Contains(where[0], "TestPoison") {
		t.Errorf("in use: %q", where)
	}
	give(a)
	if !Intact(a[:]) {
		t.Errorf("given back, it holds %x", *a)
	}
	if where := InUse(); len(where) != 0 {
		t.Errorf("in use: %q", where)
	}
	if got := panics(t, func() { give(a) }); !strings.Contains(got, "given back twice") {
		t.Errorf("given back twice: %s", got)
	}
	if b := take(); b != a {
		t.Error("what was given back is not handed out again")
	}
	give(a)
	a[63] = 0
	if got := panics(t, func() { take() }); !strings.Contains(got, "written to after") {
		t.Errorf("written to after it was given back: %s", got)
	}

	whole := Take(func(p *[128]byte) {}, func(*[128]byte) bool { return true })
	if got := panics(t, func() { give((*small)(whole[10:74])) }); !strings.Contains(got, "a part of") {
		t.Errorf("a part of a piece: %s", got)
	}
	give(new(small)) // a foreign one is taken, as a sync.Pool takes it
}

package bufpool

import "github.com/seed70bc5565/websocket/internal/poison"

// The twin of bufpool.go where the pools are poisoned: in tests only. Nothing
// else calls these functions, so that the linker leaves them out.

// take is Get.
func take(n int) []byte {
	switch {
	case n <= Small:
		return poison.Take(spoil[[Small]byte], intact[[Small]byte])[:]
	case n <= Medium:
		return poison.Take(spoil[[Medium]byte], intact[[Medium]byte])[:]
	case n <= Large:
		return poison.Take(spoil[[Large]byte], intact[[Large]byte])[:]
	case n <= Huge:
		return poison.Take(spoil[[Huge]byte], intact[[Huge]byte])[:]
	}
	return make([]byte, n)
}

// give is Put, for a buffer in its whole capacity.
func give(b []byte) {
	switch len(b) {
	case Small:
		poison.Give((*[Small]byte)(b), spoil)
	case Medium:
		poison.Give((*[Medium]byte)(b), spoil)
	case Large:
		poison.Give((*[Large]byte)(b), spoil)
	case Huge:
		poison.Give((*[Huge]byte)(b), spoil)
	}
}

// A piece is the memory of a pooled buffer.
type piece interface {
	[Small]byte | [Medium]byte | [Large]byte | [Huge]byte
}

func spoil[P piece](p *P) { poison.Fill(pieceBytes(p)) }

func intact[P piece](p *P) bool { return poison.Intact(pieceBytes(p)) }

func pieceBytes[P piece](p *P) []byte {
	switch p := any(p).(type) {
	case *[Small]byte:
		return p[:]
	case *[Medium]byte:
		return p[:]
	case *[Large]byte:
		return p[:]
	case *[Huge]byte:
		return p[:]
	}
	return nil
}

package websocket

import "github.com/seed70bc5565/websocket/internal/poison"

// What buffer.go does where the pools are poisoned: in tests only. Nothing else calls these functions, so that the
// linker leaves them out.

// takeBuf is getBuf.
func takeBuf(n int) []byte {
	switch {
	case n <= bufSmall:
		return poison.Take(spoil[[bufSmall]byte], intact[[bufSmall]byte])[:]
	case n <= bufMedium:
		return poison.Take(spoil[[bufMedium]byte], intact[[bufMedium]byte])[:]
	case n <= bufLarge:
		return poison.Take(spoil[[bufLarge]byte], intact[[bufLarge]byte])[:]
	case n <= bufHuge:
		return poison.Take(spoil[[bufHuge]byte], intact[[bufHuge]byte])[:]
	}
	return make([]byte, n)
}

// giveBuf is putBuf, for a buffer in its whole capacity.
func giveBuf(b []byte) {
	switch len(b) {
	case bufSmall:
		poison.Give((*[bufSmall]byte)(b), spoil)
	case bufMedium:
		poison.Give((*[bufMedium]byte)(b), spoil)
	case bufLarge:
		poison.Give((*[bufLarge]byte)(b), spoil)
	case bufHuge:
		poison.Give((*[bufHuge]byte)(b), spoil)
	}
}

// A piece is the memory of a pooled buffer.
type piece interface {
	[bufSmall]byte | [bufMedium]byte | [bufLarge]byte | [bufHuge]byte
}

func spoil[P piece](p *P) { poison.Fill(pieceBytes(p)) }

func intact[P piece](p *P) bool { return poison.Intact(pieceBytes(p)) }

func pieceBytes[P piece](p *P) []byte {
	switch p := any(p).(type) {
	case *[bufSmall]byte:
		return p[:]
	case *[bufMedium]byte:
		return p[:]
	case *[bufLarge]byte:
		return p[:]
	case *[bufHuge]byte:
		return p[:]
	}
	return nil
}

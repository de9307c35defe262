package flate

import "github.com/seed70bc5565/websocket/internal/poison"

// The parts that tests poison of each kind of piece in the pools. That is all
// that a piece may hold of the messages it was used for. Its next user must not
// look at it before it has written it.

const (
	poison16 = poison.Byte | poison.Byte<<8
	poison32 = poison16 | poison16<<16
)

func spoilScratch(s *scratch) {
	for i := range s.table {
		s.table[i] = poison16
	}
	for i := range s.seqs {
		s.seqs[i] = sequence{poison16, poison16, poison16, poison.Byte, poison.Byte}
	}
	for _, a := range []*alphabet{&s.lit, &s.dist, &s.head.code} {
		for i := range maxSymbols {
			a.lens[i], a.code[i], a.order[i], a.inner[i] = poison.Byte, poison32, poison32, poison32
		}
	}
}

func intactScratch(s *scratch) bool {
	for _, v := range s.table {
		if v != poison16 {
			return false
		}
	}
	return s.seqs[0].length == poison16
}

func spoilStream(t *stream) {
	poison.Fill(t.buf[:cap(t.buf)])
	poison.Fill(t.pending[:cap(t.pending)])
	table := t.table[:cap(t.table)]
	for i := range table {
		table[i] = poison16
	}
}

func intactStream(t *stream) bool {
	return poison.Intact(t.buf[:cap(t.buf)]) && poison.Intact(t.pending[:cap(t.pending)]) && len(t.table) == 0
}

func spoilInflater(z *inflater) {
	poison.Fill(z.past.buf[:cap(z.past.buf)])
	for i := range z.litTable {
		z.litTable[i] = noCode
	}
	for i := range z.distTable {
		z.distTable[i] = noCode
	}
	for i := range z.head.table {
		z.head.table[i] = noCode
	}
	for i := range z.head.symbols {
		z.head.symbols[i] = poison16
	}
	z.length, z.distance, z.lit, z.dist = 0, 0, nil, nil
}

func intactInflater(z *inflater) bool {
	return poison.Intact(z.past.buf[:cap(z.past.buf)]) && z.src == nil && z.lit == nil && z.state == stateBlock
}

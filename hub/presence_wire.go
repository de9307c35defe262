package hub

import (
	"encoding/binary"
	"errors"
)

// The processes of a hub tell each other about their members. A message is one
// byte, the id of the process in 8 bytes, and what its kind has. The upper half
// of the byte is the version of the format, the lower half the kind:
//
//	beat    flags (1 byte), seq: the process lives, and its latest change is seq
//	change  seq, records: what has changed since seq-1
//	state   seq, part, parts, records: all that there is at seq, in several messages
//	ask     ids of processes (8 bytes each) that are to send their state
//	bye     the process ends
//
// Numbers are uvarints if nothing else is said. A record is one byte, its op,
// and what the op has; a text is its length and its bytes:
//
//	opTopic   text: what follows is about this topic
//	opList    the topic is listed, and has no members
//	opAdd     number, text (ID), text (Data): a member
//	opRemove  number
//	opCount   number: the topic is not listed, and has so many members
const gossipVersion = 1 << 4

const (
	kindBeat byte = iota + 1
	kindChange
	kindState
	kindAsk
	kindBye
)

// flagHello asks all processes for a beat.
const flagHello byte = 1

const (
	opTopic byte = iota + 1
	opList
	opAdd
	opRemove
	opCount
)

const (
	gossipHeader = 1 + 8
	// maxGossip is where a message is full. It may be longer by one record.
	maxGossip = 32 << 10
	// maxCount bounds the number of members that a process may claim.
	maxCount = 1 << 26
)

var errBadGossip = errors.New("hub: not a message about members")

// A gossipMessage is a parsed message. It shares no memory with what was
// parsed.
type gossipMessage struct {
	kind        byte
	from        uint64
	flags       byte
	seq         uint64
	part, parts uint64
	asked       []uint64
	records     []record
}

// A record is one of a change or a state.
type record struct {
	op     byte
	topic  string // opTopic is in all that follow
	number uint64
	member *Member
}

func appendGossip(dst []byte, kind byte, from uint64) []byte {
	dst = append(dst, gossipVersion|kind)
	return binary.BigEndian.AppendUint64(dst, from)
}

func appendText[T string | []byte](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendNumber(dst []byte, op byte, n uint64) []byte {
	return binary.AppendUvarint(append(dst, op), n)
}

func appendAdd(dst []byte, number uint64, m *Member) []byte {
	dst = appendNumber(dst, opAdd, number)
	dst = appendText(dst, m.ID)
	return appendText(dst, m.Data)
}

// parseGossip parses a message, all of it.
func parseGossip(b []byte) (*gossipMessage, error) {
	if len(b) < gossipHeader || b[0]&0xf0 != gossipVersion {
		return nil, errBadGossip
	}
	m := &gossipMessage{kind: b[0] & 0x0f, from: binary.BigEndian.Uint64(b[1:])}
	r := gossipReader{b: b[gossipHeader:]}
	switch m.kind {
	case kindBeat:
		m.flags, m.seq = r.byte(), r.number()
	case kindChange:
		m.seq = r.number()
		m.records = r.records()
	case kindState:
		m.seq, m.part, m.parts = r.number(), r.number(), r.number()
		m.records = r.records()
		r.bad = r.bad || m.part >= m.parts
	case kindAsk:
		for len(r.b) >= 8 {
			m.asked = append(m.asked, binary.BigEndian.Uint64(r.b))
			r.b = r.b[8:]
		}
	case kindBye:
	default:
		r.bad = true
	}
	if r.bad || len(r.b) > 0 || m.from == 0 {
		return nil, errBadGossip
	}
	return m, nil
}

// A gossipReader reads from b. A value that it cannot read is zero, and makes
// it bad.
type gossipReader struct {
	b   []byte
	bad bool
}

func (r *gossipReader) fail() { r.b, r.bad = nil, true }

func (r *gossipReader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *gossipReader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *gossipReader) text() []byte {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *gossipReader) records() (all []record) {
	topic, has := "", false
	for len(r.b) > 0 {
		v := record{op: r.byte(), topic: topic}
		switch v.op {
		case opTopic:
			topic, has = string(r.text()), true
			continue
		case opList:
		case opAdd:
			v.number = r.number()
			id, data := string(r.text()), r.text()
			v.member = &Member{ID: id}
			if len(data) > 0 {
				v.member.Data = append([]byte(nil), data...)
			}
			if len(id)+len(data) > MaxMemberBytes {
				r.fail()
			}
		case opRemove:
			v.number = r.number()
		case opCount:
			if v.number = r.number(); v.number > maxCount {
				r.fail()
			}
		default:
			r.fail()
		}
		if !has {
			r.fail()
		}
		all = append(all, v)
	}
	return all
}

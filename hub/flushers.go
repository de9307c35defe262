package hub

import (
	"runtime"
	"sync"

	"github.com/seed70bc5565/websocket"
)

// Flushers are the goroutines that write to the connections of a hub's
// subscribers. One takes a subscriber that has messages, writes them, and takes
// the next. A write may block for as long as the peer wants. So while
// subscribers wait to be taken, one flusher more is ready to run: the spare. It
// runs when a processor has nothing else to do, because another flusher blocks
// or has ended. So there are as many flushers as there are writes that block,
// one for each processor, and the spare.
//
// One goroutine for each subscriber would be simpler. A broadcast would then
// make as many as there are subscribers. Go never frees what it keeps for a
// goroutine, and their stacks would lie between those of the handlers.
type flushers struct {
	begin   func() // flush; immutable, made once
	relieve func() // yield, and then flush; immutable, made once

	mu    sync.Mutex  // guards what follows; taken inside the lock of a subscriber
	first *Subscriber // the list of those who wait, linked by Subscriber.next
	last  *Subscriber
	spare bool // a flusher is about to take one; set while the list is not empty
}

// The most that a flusher takes out of a queue at once. With the headers it
// fits into a buffer of 32 KiB, which a connection has as long as its peer
// takes nothing.
const (
	batchMessages = 64
	batchBytes    = 31 << 10
)

// A batch holds what a flusher writes at once. On its stack it would make the
// stack grow beyond the 2 KiB that a goroutine begins with. That cost more than
// all else in a delivery.
type batch [batchMessages]*websocket.PreparedMessage

var batches = sync.Pool{New: func() any { return new(batch) }}

// maxTurns is how many subscribers a flusher serves before it ends. The spare
// then goes on, behind the goroutines that have waited for a processor.
const maxTurns = 32

func (f *flushers) init() {
	f.begin = f.flush
	f.relieve = func() {
		runtime.Gosched()
		f.flush()
	}
}

// call has a flusher come to s. The caller has locked s, and s is not in the
// list.
func (f *flushers) call(s *Subscriber) {
	f.mu.Lock()
	if f.last == nil {
		f.first = s
	} else {
		f.last.next = s
	}
	f.last = s
	spare := f.spare
	f.spare = true
	f.mu.Unlock()
	if !spare {
		go f.begin()
	}
}

// take takes the first subscriber out of the list, or returns nil. The spare
// takes its first one with spare set: then it is the spare no more.
func (f *flushers) take(spare bool) *Subscriber {
	f.mu.Lock()
	if spare {
		f.spare = false
	}
	s := f.first
	if s == nil {
		f.mu.Unlock()
		return nil
	}
	f.first, s.next = s.next, nil
	another := f.first != nil && !f.spare
	if another {
		f.spare = true
	} else if f.first == nil {
		f.last = nil
	}
	f.mu.Unlock()
	if another {
		go f.relieve()
	}
	return s
}

// flush is the body of a flusher.
func (f *flushers) flush() {
	batch := batches.Get().(*batch)
	for turn := range maxTurns {
		s := f.take(turn == 0)
		if s == nil {
			break
		}
		s.flush(batch)
	}
	batches.Put(batch)
}

package suite

import (
	"bytes"
	"fmt"
	"time"
)

// The words for the outcome of a case, as the original has them.
const (
	OK             = "OK"
	NonStrict      = "NON-STRICT"
	Informational  = "INFORMATIONAL"
	Unimplemented  = "UNIMPLEMENTED"
	Failed         = "FAILED"
	Unclean        = "UNCLEAN"
	WrongCode      = "WRONG CODE"
	FailedByClient = "FAILED BY CLIENT"
)

// A Case is one connection on which the suite sends what Sends says and
// judges what its peer does.
type Case struct {
	ID      string // such as "7.1.6"
	Sends   string // what the suite sends, in words
	Expects string // what it wants of its peer, in words

	// A case of the tables: script is sent, and what comes back must equal ok
	// or, if there is one, nonStrict.
	script    []step
	ok        []event
	nonStrict *[]event
	fewer     bool // the first of ok, or none of them, are NON-STRICT
	// play, if set, takes the place of script, ok and nonStrict.
	play func() player

	closing     closing
	limit       time.Duration // how long the peer has, from the last step on
	atLimit     limitAction
	closesNever bool // the script closes by itself, or not at all: no Close 1000 after the expected events
	// A wrong close code also fails the behavior.
	codeFails bool
	// The peer must notice what is wrong: if the suite had to close, the
	// behavior failed.
	wrongEndFails bool
	informational bool
	deflate       *deflateCase // nil: no extension is offered or accepted
	beyond        *beyondCase  // nil: a case of the original
	tolerates     []int        // close codes with which a peer may give up the connection
	untimed       bool         // the case takes what the processor gives it: it runs after the timed ones
	noLog         bool         // its frames are too many for the wire log
}

// An event is what the suite notes of its peer: a message, a pong, or that
// the peer let a pause pass.
type event struct {
	kind   string // message, pong or timeout
	data   []byte
	binary bool
}

func (e event) equal(o event) bool {
	return e.kind == o.kind && e.binary == o.binary && bytes.Equal(e.data, o.data)
}

func equalEvents(a, b []event) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].equal(b[i]) {
			return false
		}
	}
	return true
}

func message(s string) event       { return event{kind: "message", data: []byte(s)} }
func binaryMessage(s string) event { return event{kind: "message", data: []byte(s), binary: true} }
func pongEvent(s string) event     { return event{kind: "pong", data: []byte(s)} }
func passed(tag string) event      { return event{kind: "timeout", data: []byte(tag)} }

// closing says how a case wants its connection to end.
type closing struct {
	byMe  bool  // the suite sends the first close frame
	codes []int // what the peer's close frame may hold; no code is always right
	clean bool  // both close frames, and the end of TCP in time
}

// The closings of the original.
var (
	closeNormally = closing{byMe: true, codes: []int{1000}, clean: true}
	peerFails     = func(code int) closing { return closing{codes: []int{code}} }
)

type limitAction int

const (
	killAtLimit  limitAction = iota // fail the connection with 1001
	closeAtLimit                    // close it with an empty close frame
)

// A step is a part of a script.
type step struct {
	frames []frame
	part   *part         // a part of a frame, sent before frames
	chop   int           // TCP writes of this many bytes each; 0: one write for all frames
	sync   bool          // a TCP write of its own for each frame
	pause  time.Duration // before the step
	tag    string        // the pause is noted as passed(tag), and the script ends if the peer has begun to close
	close  bool          // the last of frames is the suite's close frame
}

// A part is a piece of the payload of a text frame without FIN. The first one
// has the length of them all.
type part struct {
	payload string
	whole   int
}

// A player plays a case that no table can hold. The session calls it from one
// goroutine.
type player interface {
	open(s *session)
	// message gets a whole message of the peer: its payload is nil if the
	// player does not keep payloads.
	message(s *session, payload []byte, length int, binary bool)
	// keeps reports whether payloads must be kept.
	keeps() bool
}

// Result is the outcome of one case.
type Result struct {
	ID            string
	Behavior      string // what the peer sent
	BehaviorClose string // how the connection ended
	Explanation   string // of Behavior
	CloseNote     string // of BehaviorClose
	Duration      time.Duration
	Detail        *Detail // for the report
}

// Passed reports whether both verdicts are OK or INFORMATIONAL, or among allow.
func (r *Result) Passed(allow ...string) bool {
	good := func(word string) bool {
		for _, a := range allow {
			if word == a {
				return true
			}
		}
		return word == OK || word == Informational
	}
	return good(r.Behavior) && good(r.BehaviorClose)
}

func (r *Result) String() string {
	return fmt.Sprintf("%s: behavior %s (%s), behaviorClose %s (%s)", r.ID, r.Behavior, r.Explanation, r.BehaviorClose, r.CloseNote)
}

// judge gives the verdicts once the connection has ended.
func (s *session) judge() {
	c := s.c
	if c.tolerates != nil && s.opened && s.behavior != OK && !s.closedByMe && (contains(c.tolerates, s.remoteCode) || s.remoteCode < 0) {
		s.behavior, s.explanation = OK, "The peer gave up the connection, as it may."
		s.behaviorClose, s.closeNote = OK, "The peer may end the connection here."
		return
	}
	if c.play == nil && s.opened && s.behavior != Unimplemented {
		s.behavior, s.explanation = Failed, "What came is not what was expected."
		switch {
		case equalEvents(s.received, c.ok):
			s.behavior, s.explanation = OK, "What came is what was expected."
		case c.nonStrict != nil && equalEvents(s.received, *c.nonStrict), c.fewer && len(s.received) < len(c.ok) && equalEvents(s.received, c.ok[:len(s.received)]):
			s.behavior, s.explanation = NonStrict, "What came is not forbidden, but not what was hoped for."
		}
	}
	if s.behavior == "" {
		s.behavior = Failed
	}
	wrongEnd := c.closing.byMe != s.closedByMe
	switch {
	case !s.opened:
		s.behaviorClose, s.closeNote = Failed, "The opening handshake was not completed."
		if s.handshakeError != nil {
			s.closeNote = fmt.Sprintf("The opening handshake failed: %v.", s.handshakeError)
		}
		if s.explanation == "" {
			s.explanation = "The connection was not opened."
		}
	case wrongEnd:
		s.behaviorClose, s.closeNote = Failed, "The wrong end closed the connection."
	case c.closing.clean && !s.clean:
		s.behaviorClose, s.closeNote = Unclean, "The connection should have ended with close frames of both ends."
	case s.remoteCode >= 0 && !contains(c.closing.codes, s.remoteCode):
		s.behaviorClose, s.closeNote = WrongCode, fmt.Sprintf("The close code is %d, not one of %v.", s.remoteCode, c.closing.codes)
	case !s.server && s.droppedByMe:
		s.behaviorClose, s.closeNote = FailedByClient, "The server left it to the client to end the TCP connection."
	default:
		s.behaviorClose, s.closeNote = OK, "The connection ended as it should."
	}
	if s.opened && wrongEnd && c.wrongEndFails {
		s.behavior, s.explanation = Failed, "The peer did not notice what was wrong."
	}
	if s.behaviorClose == WrongCode && c.codeFails {
		s.behavior, s.explanation = Failed, s.closeNote
	}
	if c.informational {
		s.behavior, s.behaviorClose = Informational, Informational
	}
}

func contains(codes []int, code int) bool {
	for _, c := range codes {
		if c == code {
			return true
		}
	}
	return false
}

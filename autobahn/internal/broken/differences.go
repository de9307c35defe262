package broken

import (
	"slices"
	"strings"
)

// A Difference says where our verdicts about a broken peer are not those of the
// original, and why.
type Difference struct {
	Peer   string // a fault and a role
	Cases  string // "" if all, separated by spaces
	Except string // cases that do not differ
	Reason string
}

// Differences are all that there are.
var Differences = []Difference{
	{"close-lingers server", "6.4.1 6.4.3", "", "the original waits without end for a server that closed and does not end TCP"},
	{"deflate-params client", "", "7.1.6 7.13.1", "the original refuses an offer with an unknown parameter; RFC 7692, section 7, has it declined"},
}

// Unreported are the peers that the original does not report: it refuses the
// request of each case.
var Unreported = []string{"handshake-accept client", "handshake-status client", "handshake-http10 client", "handshake-upgrade client"}

// Differs returns the difference that concerns a case of a peer, or nil.
func Differs(peer, id string) *Difference {
	for i := range Differences {
		d := &Differences[i]
		if d.Peer == peer && (d.Cases == "" || slices.Contains(strings.Fields(d.Cases), id)) && !slices.Contains(strings.Fields(d.Except), id) {
			return d
		}
	}
	return nil
}

// Package suite knows the cases of the Autobahn|Testsuite (version 25.10.1) and
// judges its reports.
package suite

import "strconv"

// A section is one chapter of the suite: the first component of a case's id.
type section struct {
	number string
	title  string
}

var sections = []section{
	{"1", "Framing"},
	{"2", "Pings and pongs"},
	{"3", "Reserved bits"},
	{"4", "Opcodes"},
	{"5", "Fragmentation"},
	{"6", "UTF-8"},
	{"7", "Closing"},
	{"9", "Limits and performance"},
	{"10", "Automatic fragmentation"},
	{"12", "Compression, payloads"},
	{"13", "Compression, parameters"},
}

// groups lists the suite's cases in its own order: the ids prefix.1 to
// prefix.n.
var groups = []struct {
	prefix string
	n      int
}{
	{"1.1", 8}, {"1.2", 8},
	{"2", 11},
	{"3", 7},
	{"4.1", 5}, {"4.2", 5},
	{"5", 20},
	{"6.1", 3}, {"6.2", 4}, {"6.3", 2}, {"6.4", 4}, {"6.5", 5}, {"6.6", 11}, {"6.7", 4}, {"6.8", 2},
	{"6.9", 4}, {"6.10", 3}, {"6.11", 5}, {"6.12", 8}, {"6.13", 5}, {"6.14", 10}, {"6.15", 1}, {"6.16", 3},
	{"6.17", 5}, {"6.18", 5}, {"6.19", 5}, {"6.20", 7}, {"6.21", 8}, {"6.22", 34}, {"6.23", 7},
	{"7.1", 6}, {"7.3", 6}, {"7.5", 1}, {"7.7", 13}, {"7.9", 9}, {"7.13", 2},
	{"9.1", 6}, {"9.2", 6}, {"9.3", 9}, {"9.4", 9}, {"9.5", 6}, {"9.6", 6}, {"9.7", 6}, {"9.8", 6},
	{"10.1", 1},
	{"12.1", 18}, {"12.2", 18}, {"12.3", 18}, {"12.4", 18}, {"12.5", 18},
	{"13.1", 18}, {"13.2", 18}, {"13.3", 18}, {"13.4", 18}, {"13.5", 18}, {"13.6", 18}, {"13.7", 18},
}

// All returns the ids of all 517 cases, in the suite's order.
func All() []string {
	var ids []string
	for _, g := range groups {
		for i := 1; i <= g.n; i++ {
			ids = append(ids, g.prefix+"."+strconv.Itoa(i))
		}
	}
	return ids
}

// Core returns the ids of the 301 cases that need no compression: all but 12.*
// and 13.*.
func Core() []string {
	var ids []string
	for _, id := range All() {
		if !NeedsCompression(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// NeedsCompression reports whether the case negotiates permessage-deflate. A
// peer without it scores UNIMPLEMENTED there.
func NeedsCompression(id string) bool {
	s := sectionOf(id)
	return s == "12" || s == "13"
}

func sectionOf(id string) string {
	for i := range len(id) {
		if id[i] == '.' {
			return id[:i]
		}
	}
	return id
}

// informational holds the cases for which RFC 6455 gives no right answer. The
// suite notes what the peer did, and always scores INFORMATIONAL.
var informational = map[string]bool{
	"7.1.6":  true, // whether an echo of 256 KiB comes before the answer to the close frame behind it
	"7.13.1": true, // close code 5000
	"7.13.2": true, // close code 65535
}

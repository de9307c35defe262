package suite

import (
	"fmt"
	"strconv"
	"strings"
)

// Select returns the ids of the cases that spec names, in the suite's order.
//
// spec is a list of patterns, separated by commas or spaces. A pattern is an id
// whose components may be a number, a range such as 1-6, or *; it also selects
// the cases below it. So "7" and "7.*" are all of section 7, "13.*.1-4" the
// first four cases of each group of section 13.
//
// (The suite's own patterns are regular expressions bound at one end only: its
// "12.1.*1" also means 12.1.11. The suite is therefore always given whole ids.)
func Select(spec string) ([]string, error) {
	patterns := strings.FieldsFunc(spec, func(r rune) bool { return r == ',' || r == ' ' })
	if len(patterns) == 0 {
		return nil, fmt.Errorf("no cases named")
	}
	all := All()
	selected := make(map[string]bool)
	for _, p := range patterns {
		parts, err := parsePattern(p)
		if err != nil {
			return nil, err
		}
		found := false
		for _, id := range all {
			if matches(parts, id) {
				selected[id] = true
				found = true
			}
		}
		if !found {
			return nil, fmt.Errorf("pattern %q: the suite has no such case", p)
		}
	}
	var ids []string
	for _, id := range all {
		if selected[id] {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// A span is the range of numbers that one component of a pattern allows, both
// ends included.
type span struct{ low, high int }

func parsePattern(p string) ([]span, error) {
	var parts []span
	for c := range strings.SplitSeq(p, ".") {
		if c == "*" {
			parts = append(parts, span{0, 1 << 30})
			continue
		}
		low, high, isRange := strings.Cut(c, "-")
		if !isRange {
			high = low
		}
		l, err1 := strconv.ParseUint(low, 10, 16)
		h, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || l > h {
			return nil, fmt.Errorf("pattern %q: %q is not a number, a range such as 1-6, or *", p, c)
		}
		parts = append(parts, span{int(l), int(h)})
	}
	return parts, nil
}

func matches(parts []span, id string) bool {
	components := strings.Split(id, ".")
	if len(parts) > len(components) {
		return false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(components[i])
		if err != nil || n < part.low || n > part.high {
			return false
		}
	}
	return true
}

// Package suite is a conformance suite for WebSocket servers and clients. It
// has the 517 cases of the Autobahn|Testsuite written anew, with its verdicts,
// and a group of cases beyond it.
//
// The suite speaks frames of its own: it uses no WebSocket library, and of
// DEFLATE only compress/flate.
package suite

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

var allCases = sync.OnceValue(func() []*Case {
	var cases []*Case
	basic := basicCases()
	ten := basic[len(basic)-1] // 10.1.1 stands behind group 9
	cases = append(cases, basic[:len(basic)-1]...)
	cases = append(cases, utf8Cases()...)
	cases = append(cases, closeCases()...)
	cases = append(cases, limitCases()...)
	cases = append(cases, ten)
	return append(cases, deflateCases()...)
})

// Cases returns the 517 cases of the original, in its order. They must not be
// changed.
func Cases() []*Case { return allCases() }

// Select returns those of cases that the patterns of include name and those
// of exclude do not. A pattern is an id whose parts may be a number, a range
// such as 1-6, or *. It also names the cases below it, so "7", "7.*" and
// "7.*.*" are the same. No pattern in include names all. Patterns are
// separated by commas or spaces. A pattern that names no case is an error.
func Select(cases []*Case, include, exclude string) ([]*Case, error) {
	in, err := parsePatterns(cases, include)
	if err != nil {
		return nil, err
	}
	out, err := parsePatterns(cases, exclude)
	if err != nil {
		return nil, err
	}
	var selected []*Case
	for _, c := range cases {
		if (len(in) == 0 || in.match(c.ID)) && !out.match(c.ID) {
			selected = append(selected, c)
		}
	}
	return selected, nil
}

type patterns [][]string

func parsePatterns(cases []*Case, list string) (patterns, error) {
	var all patterns
	split := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	if list != "" && len(split) == 0 {
		return nil, fmt.Errorf("there is no pattern in %q", list)
	}
	for _, p := range split {
		parts := strings.Split(p, ".")
		for i, part := range parts {
			lo, hi, ranged := strings.Cut(part, "-")
			good := number(lo) && (!ranged || number(hi))
			if !good && part != "*" && (part != beyondGroup || i > 0) {
				return nil, fmt.Errorf("%q is not a pattern: a part is a number, a range such as 1-6, or *", p)
			}
		}
		one := patterns{parts}
		found := false
		for _, c := range cases {
			found = found || one.match(c.ID)
		}
		if !found {
			return nil, fmt.Errorf("there is no case %q", p)
		}
		all = append(all, parts)
	}
	return all, nil
}

// beyondGroup is the first part of the ids of Beyond, which is in no range.
const beyondGroup = "b"

func number(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

func (all patterns) match(id string) bool {
	parts := strings.Split(id, ".")
	for _, p := range all {
		// 7.*.* names 7.5.1 and, the original being loose here, 10.1.1 is 10.*.
		if matchParts(p, parts) {
			return true
		}
	}
	return false
}

func matchParts(pattern, parts []string) bool {
	for i, p := range pattern {
		if i >= len(parts) {
			if p == "*" {
				continue
			}
			return false
		}
		lo, hi, ranged := strings.Cut(p, "-")
		switch {
		case p == "*":
		case ranged:
			n, err := strconv.Atoi(parts[i])
			a, _ := strconv.Atoi(lo)
			b, _ := strconv.Atoi(hi)
			if err != nil || n < a || n > b {
				return false
			}
		case p != parts[i]:
			return false
		}
	}
	return true
}

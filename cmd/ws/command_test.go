package main

import (
	"slices"
	"testing"
	"time"
)

// Options may stand anywhere, and -- ends them.
func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args, rest []string
		list       []string
		n          int
		on         bool
		d          time.Duration
	}{
		{args: []string{"url"}, rest: []string{"url"}},
		{args: []string{"-l", "a", "url", "--list", "b", "-n", "3", "-b"}, rest: []string{"url"}, list: []string{"a", "b"}, n: 3, on: true},
		{args: []string{"url", "--list=c=d"}, rest: []string{"url"}, list: []string{"c=d"}},
		{args: []string{"--", "-n"}, rest: []string{"-n"}},
		{args: []string{"url", "--", "-n", "-b"}, rest: []string{"url", "-n", "-b"}},
		{args: []string{"-d", "1.5"}, d: 1500 * time.Millisecond},
		{args: []string{"-d", "2m"}, d: 2 * time.Minute},
		{args: []string{"-b=false"}},
		{args: []string{"-"}, rest: []string{"-"}},
	} {
		var cmd command
		var list []string
		var n int
		var on bool
		var d time.Duration
		cmd.list(&list, "l,list", "X", "")
		cmd.integer(&n, 0, 9, "n", "N", "")
		cmd.boolean(&on, "b", "")
		cmd.duration(&d, "d", "")
		rest, err := cmd.parse(tt.args)
		if err != nil || !slices.Equal(rest, tt.rest) || !slices.Equal(list, tt.list) || n != tt.n || on != tt.on || d != tt.d {
			t.Errorf("%q: rest %q, list %q, n %d, on %v, d %v, %v", tt.args, rest, list, n, on, d, err)
		}
	}
}

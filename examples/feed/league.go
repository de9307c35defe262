package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// A league is the state that the feed tells of. It has no lock: the feed owns
// it.
type league struct {
	matches []match
	rand    *rand.Rand
}

type match struct {
	Home      string `json:"home"`
	Away      string `json:"away"`
	HomeGoals int    `json:"homeGoals"`
	AwayGoals int    `json:"awayGoals"`
	Minute    int    `json:"minute"`
}

// An update is what happened in one match, and how it stands since.
type update struct {
	Index int    `json:"index"` // of the match
	Match match  `json:"match"`
	Text  string `json:"text"`
	Goal  bool   `json:"goal,omitempty"`
}

func newLeague(r *rand.Rand) *league {
	return &league{rand: r, matches: []match{
		{Home: "Ashford", Away: "Brook End"},
		{Home: "Castle Hill", Away: "Dunmore"},
		{Home: "Elm Park", Away: "Fairview"},
		{Home: "Greenfield", Away: "Harbour"},
	}}
}

// state returns how all matches stand.
func (l *league) state() []match { return slices.Clone(l.matches) }

// goal is a goal in a match.
func (l *league) goal(index int, home bool) (update, error) {
	if index < 0 || index >= len(l.matches) {
		return update{}, fmt.Errorf("there is no match %d", index)
	}
	m := &l.matches[index]
	m.Minute = min(m.Minute+1, 90)
	team := m.Away
	if home {
		m.HomeGoals++
		team = m.Home
	} else {
		m.AwayGoals++
	}
	return update{index, *m, fmt.Sprintf("Goal for %s: %s %d, %s %d", team, m.Home, m.HomeGoals, m.Away, m.AwayGoals), true}, nil
}

// event is something that happens by chance. A match that is over begins again.
func (l *league) event() update {
	index := l.rand.IntN(len(l.matches))
	m := &l.matches[index]
	if m.Minute >= 90 {
		*m = match{Home: m.Home, Away: m.Away}
		return update{Index: index, Match: *m, Text: fmt.Sprintf("Kick-off: %s against %s", m.Home, m.Away)}
	}
	m.Minute = min(m.Minute+1+l.rand.IntN(5), 90)
	if l.rand.IntN(6) == 0 {
		u, _ := l.goal(index, l.rand.IntN(2) == 0) // the index is right
		return u
	}
	team := []string{m.Home, m.Away}[l.rand.IntN(2)]
	text := []string{"Corner for %s", "Free kick for %s", "Yellow card for %s", "%s hits the post", "%s brings on a new player"}
	return update{Index: index, Match: *m, Text: fmt.Sprintf(text[l.rand.IntN(len(text))], team)}
}

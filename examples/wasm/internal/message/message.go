// Package message has what the page and the server of the example say to each
// other. Both are written in Go, so one type serves both.
package message

import (
	"strings"
	"unicode/utf8"
)

// The bounds of a Message, in characters.
const (
	MaxName = 32
	MaxText = 1000
)

// A Message is one line of the conversation.
type Message struct {
	From string `json:"from"`
	Text string `json:"text"`
}

// Clean returns m without space around its texts, and whether it may be sent.
func (m Message) Clean() (Message, bool) {
	m.From, m.Text = strings.TrimSpace(m.From), strings.TrimSpace(m.Text)
	ok := m.From != "" && m.Text != "" && utf8.RuneCountInString(m.From) <= MaxName && utf8.RuneCountInString(m.Text) <= MaxText
	return m, ok
}

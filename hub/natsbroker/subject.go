package natsbroker

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

const hexDigits = "0123456789ABCDEF"

// maxToken bounds the token of a topic. A server closes a connection whose line
// is longer than max_control_line, 4,096 bytes by default.
const maxToken = 512

// subject returns the subject of a topic: one token behind the prefix.
// Characters that a token may not hold, or not everywhere, are escaped as in a
// URL. An empty topic is a single per cent sign. A token that would be longer
// than maxToken is "%S" and the SHA-256 of the topic in hexadecimal digits: no
// escaped byte begins so.
func (b *Broker) subject(topic string) string {
	s := make([]byte, 0, len(b.prefix)+1+min(len(topic)+8, maxToken))
	s = append(s, b.prefix...)
	s = append(s, '.')
	begin := len(s)
	if topic == "" {
		s = append(s, '%')
	}
	for i := range len(topic) {
		switch c := topic[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == ':', c == '/':
			s = append(s, c)
		default:
			s = append(s, '%', hexDigits[c>>4], hexDigits[c&15])
		}
		if len(s)-begin > maxToken {
			return fmt.Sprintf("%s%%S%X", s[:begin], sha256.Sum256([]byte(topic)))
		}
	}
	return string(s)
}

// maxPrefix bounds Options.Prefix. The reason is that of maxToken.
const maxPrefix = 256

var errBadPrefix = errors.New("the prefix is not a subject of plain tokens of 256 bytes at most")

// checkPrefix refuses what the server would not take as the begin of a subject.
func checkPrefix(prefix string) error {
	bad := len(prefix) > maxPrefix
	for token := range strings.SplitSeq(prefix, ".") {
		bad = bad || token == "" || strings.ContainsFunc(token, func(c rune) bool {
			return c <= ' ' || c == '*' || c == '>' || c == 0x7f
		})
	}
	if bad {
		return fmt.Errorf("%w: %.64q", errBadPrefix, prefix)
	}
	return nil
}

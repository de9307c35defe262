package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed70bc5565/websocket"
)

// sanitize makes what a peer has sent harmless for a terminal: control
// characters, which could move the cursor or change colours and titles, become
// visible. Line ends and tabs stay.
func sanitize(s string) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		c := s[i]
		clean = c == '\n' || c == '\t' || c >= ' ' && c < 0x7f
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' || r == '\t' || unicode.IsPrint(r) || r == '\u200d' || r == '\ufe0f' || r == '\u3000' || r == '\u00a0':
			b.WriteString(s[i : i+n])
		default: // controls, and what turns the direction of text
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

// prettyJSON returns data indented; ok is false if it is no JSON. Numbers stay
// as they are written.
func prettyJSON(data []byte) (indented []byte, ok bool) {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(data), "", "  "); err != nil {
		return nil, false
	}
	return b.Bytes(), true
}

// colourJSON colours the keys, strings and other values of indented JSON for a
// terminal.
func colourJSON(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"':
			end := i + 1
			for end < len(s) && s[end] != '"' {
				if s[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end+1, len(s))
			colour := green
			if end < len(s) && s[end] == ':' {
				colour = blue
			}
			b.WriteString(colour + s[i:end] + plain)
			i = end
		case c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z':
			end := i
			for end < len(s) && strings.IndexByte(" ,\n]}", s[end]) < 0 {
				end++
			}
			b.WriteString(yellow + s[i:end] + plain)
			i = end
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String()
}

// The colours are those of a terminal's own palette.
const (
	plain  = "\x1b[0m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
	cyan   = "\x1b[36m"
)

// hexDump is hex.Dump without its last line end.
func hexDump(data []byte) string { return strings.TrimSuffix(hex.Dump(data), "\n") }

// quantity returns n bytes in the unit that suits it.
func quantity(n float64) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if n < 1024 {
			return trimZero(n) + " " + unit
		}
		n /= 1024
	}
	return trimZero(n) + " GiB"
}

func trimZero(n float64) string {
	if n == float64(int64(n)) || n >= 100 {
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	return strconv.FormatFloat(n, 'f', 1, 64)
}

// thousands returns n with commas between groups of three digits.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// closeNames are the names of close codes (RFC 6455, section 7.4.1, and the
// registry of IANA).
var closeNames = map[websocket.StatusCode]string{
	websocket.StatusNormalClosure:           "normal closure",
	websocket.StatusGoingAway:               "going away",
	websocket.StatusProtocolError:           "protocol error",
	websocket.StatusUnsupportedData:         "unsupported data",
	websocket.StatusNoStatusRcvd:            "no code",
	websocket.StatusAbnormalClosure:         "no close frame",
	websocket.StatusInvalidFramePayloadData: "invalid payload",
	websocket.StatusPolicyViolation:         "policy violation",
	websocket.StatusMessageTooBig:           "message too big",
	websocket.StatusMandatoryExtension:      "mandatory extension",
	websocket.StatusInternalError:           "internal error",
	websocket.StatusServiceRestart:          "service restart",
	websocket.StatusTryAgainLater:           "try again later",
	websocket.StatusBadGateway:              "bad gateway",
	3000:                                    "unauthorized",
	3003:                                    "forbidden",
	3008:                                    "timeout",
}

// closeText returns a close code with its name, and the reason.
func closeText(code websocket.StatusCode, reason string) string {
	name, ok := closeNames[code]
	switch {
	case ok:
	case code >= 4000 && code <= 4999:
		name = "private code"
	case code >= 3000 && code <= 3999:
		name = "registered code"
	default:
		name = "unknown code"
	}
	text := fmt.Sprintf("%d (%s)", int(code), name)
	if reason != "" {
		text += " " + strconv.Quote(reason)
	}
	return text
}

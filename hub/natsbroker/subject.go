package natsbroker

const hexDigits = "0123456789ABCDEF"

// subject returns the subject of a topic: one token behind the prefix. What a token may not hold, or not everywhere,
// is written as in a URL, and an empty topic as a single per cent sign.
func (b *Broker) subject(topic string) string {
	s := make([]byte, 0, len(b.prefix)+1+len(topic)+8)
	s = append(s, b.prefix...)
	s = append(s, '.')
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
	}
	return string(s)
}

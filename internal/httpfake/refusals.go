package httpfake

import (
	"strings"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A Refusal is a request that no server accepts, and the response to it.
type Refusal struct {
	Name, Line string // the line of GoodRequest that begins with Name is replaced
	Status     int
	Body       string
}

// Refusals are those of the options that are the default.
func Refusals() []Refusal {
	const lost = "Sec-WebSocket-"
	return []Refusal{
		{"GET", "POST /chat HTTP/1.1", 405, "is GET, not \"POST\""},
		{"GET", "HEAD /chat HTTP/1.1", 405, "is GET, not \"HEAD\""},
		{"GET", "CONNECT example.com:80 HTTP/1.1", 405, "is GET, not \"CONNECT\""},

		{"Upgrade", "", 426, "there is no Upgrade header"},
		{"Upgrade", "Upgrade: h2c", 426, `Upgrade header does not name websocket: "h2c"`},
		{"Upgrade", "Upgrade: websockets", 426, "does not name websocket"},
		{"Upgrade", "Upgrade: web, socket", 426, "does not name websocket"},
		{"Upgrade", "Upgrade:", 426, "does not name websocket"},
		{"Connection", "", 426, "Connection header does not name Upgrade"},
		{"Connection", "Connection: keep-alive", 426, `does not name Upgrade: "keep-alive"`},
		{"Connection", "Connection: notupgradeable", 426, "does not name Upgrade"},

		{lost + "Version", "", 426, `Sec-WebSocket-Version must be 13, not ""`},
		{lost + "Version", lost + "Version: 8", 426, `must be 13, not "8"`},
		{lost + "Version", lost + "Version: 13, 8", 426, "must be 13"},
		{lost + "Version", lost + "Version: 013", 426, "must be 13"},
		{lost + "Version", lost + "Version: 13\nSec-WebSocket-Version: 8", 426, "must be 13"},
		{lost + "Version", lost + "Version: 13\nSec-WebSocket-Version: 13", 426, "must be 13"}, // section 11.3.5

		{"GET", "GET /chat HTTP/1.0", 400, `HTTP/1.1 or later, not "HTTP/1.0"`},
		{"Host", "", 400, "no Host header"},
		{"Content-Length", "Content-Length: 5", 400, "a handshake has no body"},
		{"Transfer-Encoding", "Transfer-Encoding: chunked", 400, "a handshake has no body"},
		{lost + "Key", "", 400, "no Sec-WebSocket-Key header"},
		{lost + "Key", lost + "Key: " + wstest.SampleKey + "\n" + lost + "Key: " + wstest.SampleKey, 400, "Sec-WebSocket-Key stands more than once"},
		{lost + "Key", lost + "Key:", 400, `Sec-WebSocket-Key "" is not the base64 of 16 bytes`},
		{lost + "Key", lost + "Key: dGhlIHNhbXBsZSBub25jZQ", 400, "is not the base64 of 16 bytes"},             // no padding
		{lost + "Key", lost + "Key: dGhlIHNhbXBsZSBub25jZTE=", 400, "is not the base64 of 16 bytes"},           // 17 bytes
		{lost + "Key", lost + "Key: dGhlIHNhbXBsZSBub25j", 400, "is not the base64 of 16 bytes"},               // 15 bytes
		{lost + "Key", lost + "Key: dGhlIHNhbXBsZSBub25jZTEx", 400, "is not the base64 of 16 bytes"},           // 18 bytes in 24 digits
		{lost + "Key", lost + "Key: dGhlIHNhbXBsZSBub25!ZQ==", 400, "is not the base64 of 16 bytes"},           // a foreign digit
		{lost + "Key", lost + "Key: dGhlIHNhbXBsZSBub25-ZQ==", 400, "is not the base64 of 16 bytes"},           // a digit of URLs
		{lost + "Key", lost + "Key: " + strings.Repeat("A", 1000), 400, `A"... is not the base64 of 16 bytes`}, // errors are short
		{lost + "Key", lost + "Key: " + wstest.SampleKey + ", " + wstest.SampleKey, 400, "is not the base64 of 16 bytes"},
		{lost + "Protocol", lost + "Protocol: a b", 400, `invalid Sec-WebSocket-Protocol: "a b" is not a token`},
		{lost + "Protocol", lost + "Protocol: a, a", 400, "invalid Sec-WebSocket-Protocol"},
		{lost + "Protocol", lost + "Protocol: a\nSec-WebSocket-Protocol: a", 400, "invalid Sec-WebSocket-Protocol"},
		{lost + "Extensions", lost + "Extensions: foo;", 400, "invalid Sec-WebSocket-Extensions: a token is expected"},

		{"Origin", "Origin: https://evil.example", 403, `the origin "https://evil.example" is not allowed for the host "example.com"`},
		{"Origin", "Origin: null", 403, `the origin "null" is not allowed`},
		{"Origin", "Origin: <script>", 403, `the origin "<script>" is invalid`},
		{"Origin", "Origin: http://example.com\nOrigin: http://example.com", 403, "several Origin headers"},

		{"", "", 501, "no http.Hijacker"}, // a good request, but a recorder cannot be hijacked
	}
}

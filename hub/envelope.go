package hub

import (
	"errors"

	"github.com/seed70bc5565/websocket"
)

// An envelope is what a hub gives to the engine: one byte, and the message. The
// upper half of the byte is the version of the format, the lower half the type
// of the message.
const envelopeVersion = 1 << 4

var errBadEnvelope = errors.New("hub: not a message of a hub's")

// appendEnvelope appends a message in its envelope.
func appendEnvelope(dst []byte, typ websocket.MessageType, data []byte) []byte {
	dst = append(dst, envelopeVersion|byte(typ))
	return append(dst, data...)
}

// parseEnvelope returns what is in an envelope; data shares its memory.
func parseEnvelope(p []byte) (typ websocket.MessageType, data []byte, err error) {
	if len(p) == 0 {
		return 0, nil, errBadEnvelope
	}
	switch p[0] {
	case envelopeVersion | byte(websocket.MessageText), envelopeVersion | byte(websocket.MessageBinary):
		return websocket.MessageType(p[0] & 0x0f), p[1:], nil
	}
	return 0, nil, errBadEnvelope
}

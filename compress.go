package websocket

// CompressionMode says whether messages may be compressed with permessage-deflate (RFC 7692).
//
// This version negotiates no compression: every mode is honoured as CompressionDisabled.
type CompressionMode int

const (
	// CompressionDisabled offers and accepts no compression. This is the default.
	CompressionDisabled CompressionMode = iota
	// CompressionContextTakeover compresses each message with the history of those before it.
	CompressionContextTakeover
	// CompressionNoContextTakeover compresses each message by itself.
	CompressionNoContextTakeover
)

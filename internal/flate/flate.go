// Package flate compresses and decompresses the messages of permessage-deflate
// (RFC 7692): DEFLATE (RFC 1951) with a window of 2^8 to 2^15 bytes, one
// message at a time. An empty stored block ends each message; its last four
// bytes (00 00 FF FF) are left off (RFC 7692 section 7.2.1).
//
// compress/flate serves files. Its writer has one window size, takes more than
// a megabyte and cannot be given a history. Its reader takes 44 KB. A
// connection needs the opposite. Between two messages a connection keeps the
// history that its context takeover calls for, and nothing else. All working
// memory is taken from pools for the length of a call, or of a message that is
// streamed.
//
// An [Encoder] and a [Decoder] each serve one direction of one connection and
// are not safe for concurrent use.
package flate

// The limits of RFC 1951 (sections 3.2.5 to 3.2.7) and of RFC 7692 (section
// 7.1.2).
const (
	// MinWindowBits and MaxWindowBits bound the window sizes that an endpoint
	// can negotiate.
	MinWindowBits = 8
	MaxWindowBits = 15

	maxMatch   = 258   // longest length that one length/distance pair can copy
	maxStored  = 65535 // most bytes that one stored block can hold
	endOfBlock = 256   // literal/length symbol that ends a block

	numLitLen  = 286 // literal/length symbols that a block may use
	numDist    = 30  // distance symbols that a block may use
	numCodeLen = 19  // symbols of the code that carries the code lengths

	maxCodeBits    = 15 // longest literal/length or distance code
	maxCodeLenBits = 7  // longest code for a code length
)

// codeLenOrder is the order in which the lengths of the code length code are
// sent (RFC 1951 section 3.2.7).
var codeLenOrder = [numCodeLen]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// lengthBase and lengthExtra describe the length symbols 257 to 285 (RFC 1951
// section 3.2.5).
var (
	lengthBase = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
		131, 163, 195, 227, 258}
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
)

// distBase and distExtra describe the distance symbols 0 to 29 (RFC 1951
// section 3.2.5).
var (
	distBase = [numDist]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025,
		1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra = [numDist]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12,
		12, 13, 13}
)

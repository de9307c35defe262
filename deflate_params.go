package websocket

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/seed70bc5565/websocket/internal/field"
)

// CompressionMode says whether messages may be compressed with
// permessage-deflate (RFC 7692), and what is remembered for it between
// messages.
//
// Both endpoints must agree. Compression costs processor time for each message
// and, with context takeover, memory for each connection. Secrets and text that
// an attacker chooses should not be compressed together. The length would tell
// of the secret (the attacks named CRIME and BREACH). Send such messages with
// [Conn.WriteUncompressed].
type CompressionMode int

const (
	// CompressionDisabled offers and accepts no compression. This is the
	// default.
	CompressionDisabled CompressionMode = iota

	// CompressionContextTakeover compresses each message with the history of
	// those before it. Small messages that resemble each other shrink most. If
	// the peer asks for it, one or both directions do without the history.
	CompressionContextTakeover

	// CompressionNoContextTakeover compresses each message by itself, in both
	// directions: between messages nothing is kept.
	CompressionNoContextTakeover
)

// deflateName is the extension token of permessage-deflate (RFC 7692, section
// 7).
const deflateName = "permessage-deflate"

// The parameters of permessage-deflate (RFC 7692, section 7.1).
const (
	paramServerNoTakeover = "server_no_context_takeover"
	paramClientNoTakeover = "client_no_context_takeover"
	paramServerBits       = "server_max_window_bits"
	paramClientBits       = "client_max_window_bits"
)

// Windows have 2^8 to 2^15 bytes (RFC 7692, section 7.1.2).
const (
	minWindowBits = 8
	maxWindowBits = 15
)

// deflateParams is what an offer asks for, or what was agreed on.
type deflateParams struct {
	serverNoTakeover bool
	clientNoTakeover bool
	serverBits       int // 0 in an offer: not mentioned
	clientBits       int // 0 in an offer: not mentioned; anyBits: mentioned without a value
}

// anyBits stands for a client_max_window_bits without a value. The server may
// tell the client which window to use (RFC 7692, section 7.1.2.2).
const anyBits = -1

// deflateConfig is what one endpoint is willing to do.
type deflateConfig struct {
	mode     CompressionMode
	sendBits int // the largest window that it keeps to compress; 0: the option was left out
	recvBits int // the largest that it keeps to decompress
}

// newDeflateConfig checks the options. An endpoint that compresses nothing has
// the mode CompressionDisabled.
func newDeflateConfig(mode CompressionMode, sendBits, recvBits int) (deflateConfig, error) {
	if mode < CompressionDisabled || mode > CompressionNoContextTakeover {
		return deflateConfig{}, fmt.Errorf("CompressionMode is %d: there is no such mode", int(mode))
	}
	cfg := deflateConfig{mode, sendBits, orDefault(recvBits, maxWindowBits)}
	if err := checkWindowBits("CompressionSendWindowBits", cfg.sendWindow()); err != nil {
		return deflateConfig{}, err
	}
	if err := checkWindowBits("CompressionReceiveWindowBits", cfg.recvBits); err != nil {
		return deflateConfig{}, err
	}
	return cfg, nil
}

// sendWindow is sendBits, or its default.
func (cfg deflateConfig) sendWindow() int { return orDefault(cfg.sendBits, maxWindowBits) }

func checkWindowBits(option string, bits int) error {
	if bits < minWindowBits || bits > maxWindowBits {
		return fmt.Errorf("%s is %d: it must be 8 to 15", option, bits)
	}
	return nil
}

// parseDeflateParams parses the parameters of an offer or, if response is set,
// of the answer to one. An unknown parameter, one that stands twice, and one
// with a value that it cannot have make all of it invalid (RFC 7692, section
// 7.1).
func parseDeflateParams(params []field.Param, response bool) (deflateParams, error) {
	var p deflateParams
	for i, param := range params {
		for _, earlier := range params[:i] {
			if earlier.Name == param.Name {
				return p, fmt.Errorf("the parameter %s stands twice", param.Name)
			}
		}
		var err error
		switch param.Name {
		case paramServerNoTakeover:
			p.serverNoTakeover, err = true, noValue(param)
		case paramClientNoTakeover:
			p.clientNoTakeover, err = true, noValue(param)
		case paramServerBits:
			p.serverBits, err = parseWindowBits(param)
		case paramClientBits:
			if param.Value == "" && !response {
				p.clientBits = anyBits
			} else {
				p.clientBits, err = parseWindowBits(param)
			}
		default:
			err = fmt.Errorf("unknown parameter %s", field.Quote(param.Name))
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

func noValue(param field.Param) error {
	if param.Value != "" {
		return fmt.Errorf("the parameter %s has a value: %s", param.Name, field.Quote(param.Value))
	}
	return nil
}

// parseWindowBits parses the value of a parameter that is the size of a window:
// "a decimal integer value without leading zeroes between 8 to 15, inclusive".
func parseWindowBits(param field.Param) (int, error) {
	switch v := param.Value; v {
	case "8", "9":
		return int(v[0] - '0'), nil
	case "10", "11", "12", "13", "14", "15":
		return 10 + int(v[1]-'0'), nil
	case "":
		return 0, fmt.Errorf("the parameter %s has no value", param.Name)
	default:
		return 0, fmt.Errorf("the parameter %s is %s: it must be 8 to 15", param.Name, field.Quote(v))
	}
}

// extension returns p as an element of Sec-WebSocket-Extensions.
func (p deflateParams) extension() field.Extension {
	ext := field.Extension{Name: deflateName}
	add := func(name, value string) { ext.Params = append(ext.Params, field.Param{Name: name, Value: value}) }
	if p.serverNoTakeover {
		add(paramServerNoTakeover, "")
	}
	if p.clientNoTakeover {
		add(paramClientNoTakeover, "")
	}
	if p.serverBits != 0 {
		add(paramServerBits, strconv.Itoa(p.serverBits))
	}
	switch p.clientBits {
	case 0:
	case anyBits:
		add(paramClientBits, "")
	default:
		add(paramClientBits, strconv.Itoa(p.clientBits))
	}
	return ext
}

// acceptDeflate is the server's half of the negotiation. It takes the first
// offer that it can. It returns what was agreed on, and the answer that says
// so. Other extensions, and offers that are not valid, are declined by saying
// nothing about them.
func acceptDeflate(offers []field.Extension, cfg deflateConfig) (agreed deflateParams, answer field.Extension, ok bool) {
	if cfg.mode == CompressionDisabled {
		return deflateParams{}, field.Extension{}, false
	}
	for _, ext := range offers {
		if !field.EqualFold(ext.Name, deflateName) {
			continue
		}
		offer, err := parseDeflateParams(ext.Params, false)
		if err != nil {
			continue
		}
		agreed, answer := cfg.answer(offer)
		return agreed, answer.extension(), true
	}
	return deflateParams{}, field.Extension{}, false
}

// answer returns what a server agrees to when a client offers what offer says,
// and the parameters of the answer that tells it so.
func (cfg deflateConfig) answer(offer deflateParams) (agreed, answer deflateParams) {
	noTakeover := cfg.mode == CompressionNoContextTakeover

	// Sections 7.1.1.1 and 7.1.2.1. The server may demand of itself what it was
	// not asked for.
	answer.serverNoTakeover = noTakeover || offer.serverNoTakeover
	agreed.serverBits = cfg.sendWindow()
	if offer.serverBits != 0 {
		agreed.serverBits = min(offer.serverBits, cfg.sendWindow())
	}
	if offer.serverBits != 0 || agreed.serverBits < maxWindowBits {
		answer.serverBits = agreed.serverBits
	}

	// Sections 7.1.1.2 and 7.1.2.2. The client's promises about its own
	// messages hold with any answer of the server. A server may demand a
	// smaller window only of a client that allows that.
	answer.clientNoTakeover = noTakeover || offer.clientNoTakeover
	agreed.clientBits = maxWindowBits
	if offer.clientBits > 0 {
		agreed.clientBits = offer.clientBits
	}
	if cfg.recvBits < agreed.clientBits {
		if offer.clientBits != 0 {
			agreed.clientBits = cfg.recvBits
		} else {
			// No other way to keep less between messages.
			answer.clientNoTakeover = true
		}
	}
	if offer.clientBits != 0 && agreed.clientBits < maxWindowBits {
		answer.clientBits = agreed.clientBits
	}
	agreed.serverNoTakeover = answer.serverNoTakeover
	agreed.clientNoTakeover = answer.clientNoTakeover
	return agreed, answer
}

// offers returns what a client offers, in its order of preference. Where the
// options ask for nothing else, that is the name and nothing but the mode: some
// servers refuse the parameters of windows. A client with
// CompressionSendWindowBits says that it can be told which window to use.
func (cfg deflateConfig) offers() []deflateParams {
	if cfg.mode == CompressionDisabled {
		return nil
	}
	noTakeover := cfg.mode == CompressionNoContextTakeover
	offer := deflateParams{serverNoTakeover: noTakeover, clientNoTakeover: noTakeover}
	switch cfg.sendBits {
	case 0:
	case maxWindowBits:
		offer.clientBits = anyBits
	default:
		offer.clientBits = cfg.sendBits
	}
	if cfg.recvBits == maxWindowBits {
		return []deflateParams{offer}
	}
	// For a server that cannot choose its window: without takeover it needs
	// none between messages.
	fallback := offer
	fallback.serverNoTakeover = true
	offer.serverBits = cfg.recvBits
	return []deflateParams{offer, fallback}
}

var errDeflateAnswer = errors.New("the server's parameters for permessage-deflate do not answer the offer")

// agree is the client's view of a server's answer. The answer must fit one of
// the offers (RFC 7692, section 7.1).
func (cfg deflateConfig) agree(params []field.Param) (deflateParams, error) {
	answer, err := parseDeflateParams(params, true)
	if err != nil {
		return deflateParams{}, err
	}
	for _, offer := range cfg.offers() {
		if offer.serverNoTakeover && !answer.serverNoTakeover {
			continue
		}
		if offer.serverBits != 0 && (answer.serverBits == 0 || answer.serverBits > offer.serverBits) {
			continue
		}
		agreed := answer
		agreed.clientNoTakeover = answer.clientNoTakeover || offer.clientNoTakeover
		agreed.serverBits = orDefault(answer.serverBits, maxWindowBits)
		agreed.clientBits = min(orDefault(answer.clientBits, maxWindowBits), cfg.sendWindow())
		return agreed, nil
	}
	return deflateParams{}, errDeflateAnswer
}

// agreedDeflate returns what a server's Sec-WebSocket-Extensions field says was
// agreed on: nil if it is empty.
func agreedDeflate(value string) (*deflateParams, error) {
	list, err := field.ParseExtensions([]string{value})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	if len(list) > 1 || !field.EqualFold(list[0].Name, deflateName) {
		return nil, fmt.Errorf("%s: there may be permessage-deflate, and nothing else", field.Quote(value))
	}
	agreed, err := parseDeflateParams(list[0].Params, true)
	if err != nil {
		return nil, err
	}
	agreed.serverBits = orDefault(agreed.serverBits, maxWindowBits)
	agreed.clientBits = orDefault(agreed.clientBits, maxWindowBits)
	return &agreed, nil
}

// field returns what was agreed on as the value of a server's
// Sec-WebSocket-Extensions field.
func (p deflateParams) field() string {
	if p.serverBits == maxWindowBits {
		p.serverBits = 0
	}
	if p.clientBits == maxWindowBits {
		p.clientBits = 0
	}
	return string(field.AppendExtensions(nil, []field.Extension{p.extension()}))
}

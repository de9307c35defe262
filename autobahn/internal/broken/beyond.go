package broken

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A BeyondFault is a rule that only the cases beyond the original ask about,
// or that they ask about too.
type BeyondFault struct {
	Name, Words string
	Client      bool   // the peer is a client, else a server
	Cases       string // the cases beyond the original that the peer fails, as suite.Select has them
}

// BeyondFaults are the rules whose breach the cases beyond the original find.
var BeyondFaults = slices.Concat([]BeyondFault{
	{"accept-unmasked", "a server that takes unmasked frames", false, "b.1.1,b.1.3,b.1.5"},
	{"accept-masked", "a client that takes masked frames", true, "b.1.2,b.1.4,b.1.6"},
	{"accept-length-16", "takes short lengths in 16 bits", false, "b.2.1,b.2.4"},
	{"accept-length-64", "takes short lengths in 64 bits", false, "b.2.2-3,b.2.5"},
	{"accept-length-sign", "does not look at the highest bit of a length", false, "b.2.6-7"},
	{"limit-125", "takes no message of more than 125 bytes", false, "b.2.10,b.5.3"},
	{"close-refuse-new", "takes 1012 to 1014 for errors", false, "b.3.1-3"},
	{"close-accept-low", "takes close codes below 1000", false, "b.3.4"},
	{"close-accept-1015", "takes the close code 1015", false, "b.3.5"},
	{"close-accept-unassigned", "takes close codes from 1016 to 2999", false, "b.3.6-8"},
	{"close-accept-reason", "takes reasons that are not UTF-8", false, "b.3.9"},
	{"accept-fragmented-control", "takes control frames without FIN", false, "b.3.10"},
	{"echo-after-close", "echoes what comes behind a close frame", false, "b.4.1-3"},
	{"close-checks-behind", "fails on what comes behind a close frame", false, "b.4.2"},
	{"utf8-per-frame", "demands that each fragment be UTF-8 by itself", false, "b.4.4"},
	{"echo-lost", "forgets an echo if more has come", false, "b.4.5"},
	{"utf8-open-end", "takes text that ends inside a code point", false, "b.4.6"},
	{"bom-stripped", "takes a byte order mark away", false, "b.4.7"},
	{"flood-fragments", "breaks down after 1000 fragments", false, "b.5.1"},
	{"flood-pings", "breaks down after 1000 pings", false, "b.5.2"},
	{"flood-messages", "breaks down after 1000 messages", false, "b.5.3"},
	{"flood-pongs", "breaks down after 100 unasked pongs", false, "b.5.4"},
	{"half-open-stays", "does not notice that its peer has ended TCP", false, "b.6"},
	{"accept-rsv-continuation", "takes RSV1 on a continuation", false, "b.7.1"},
	{"accept-rsv-control", "takes RSV1 on a control frame", false, "b.7.2"},
	{"accept-rsv-both", "takes RSV1 and RSV2 together", false, "b.7.3"},
	{"inflate-raw", "echoes what it cannot decompress", false, "b.7.4,b.7.6"},
	{"inflate-no-utf8", "does not look at decompressed text", false, "b.7.5"},
	{"inflate-no-empty", "takes a compressed empty message for an error", false, "b.7.7"},
	{"inflate-only", "takes messages that are not compressed for errors", false, "b.7.8,b.7.25"},
	{"inflate-no-final", "takes the last block of DEFLATE for an error", false, "b.7.9"},
	{"inflate-no-stored", "cannot read a block without compression", false, "b.7.10"},
	{"no-fragments", "takes no fragmented messages", false, "b.4.4,b.5.1,b.6.2,b.7.1,b.7.11"},
	{"inflate-one-block", "cannot read a message of several blocks", false, "b.7.12-13"},
	{"bomb-taken", "decompresses without a limit", false, "b.7.13"},
	{"offer-takeover-ignored", "accepts server_no_context_takeover without saying so", false, "b.7.25"},
	{"answer-client-window", "a server that answers client_max_window_bits, though it was not offered", false, "b.7.1-13,b.7.25"},
	{"answer-protocol", "a server that chooses a subprotocol which was not offered", false, "b.8.30"},
}, faultsOf(offerRules, false), faultsOf(requestRules, false), faultsOf(answerRules, true))

// A rule is what a peer checks of a handshake. The fault of its name is a peer
// that does not; the fault of a rule that is too strict is one that does.
type rule[T any] struct {
	name, words, cases string
	ok                 func(T) bool
	strict             bool
}

func faultsOf[T any](rules []rule[T], client bool) []BeyondFault {
	var faults []BeyondFault
	for _, r := range rules {
		words := "does not demand: " + r.words
		if r.strict {
			words = "demands: " + r.words
		}
		faults = append(faults, BeyondFault{r.name, words, client, r.cases})
	}
	return faults
}

func takes[T any](p *peer, rules []rule[T], v T) bool {
	for _, r := range rules {
		if r.strict == p.is(r.name) && !r.ok(v) {
			return false
		}
	}
	return true
}

// A head is that of a request.
type head struct {
	method, version string
	lines           []string // the fields
	size            int
}

// readHead reads a request up to its empty line.
func readHead(br *bufio.Reader) (*head, error) {
	h := &head{}
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return nil, err
		}
		h.size += len(line)
		line = strings.TrimRight(line, "\r\n")
		switch {
		case h.method == "":
			h.method, line, _ = strings.Cut(line, " ")
			_, h.version, _ = strings.Cut(line, " ")
		case line == "":
			return h, nil
		default:
			h.lines = append(h.lines, line)
		}
	}
}

// values returns the values of the fields of one name.
func (h *head) values(name string) []string {
	var values []string
	for _, line := range h.lines {
		if n, v, _ := strings.Cut(line, ":"); strings.EqualFold(strings.TrimSpace(n), name) {
			values = append(values, strings.TrimSpace(v))
		}
	}
	return values
}

// first returns the first value of a field.
func (h *head) first(name string) string {
	return append(h.values(name), "")[0]
}

func listed(values []string, token string) bool {
	for _, v := range strings.Split(strings.Join(values, ","), ",") {
		if strings.EqualFold(strings.TrimSpace(v), token) {
			return true
		}
	}
	return false
}

func (h *head) key() ([]byte, error) {
	return base64.StdEncoding.DecodeString(h.first("Sec-WebSocket-Key"))
}

// every reports whether f holds of each line.
func (h *head) every(f func(line string) bool) bool {
	return !slices.ContainsFunc(h.lines, func(line string) bool { return !f(line) })
}

// The rules of a request: RFC 6455, section 4.2.1, and RFC 9112.
var requestRules = []rule[*head]{
	{"request-version-missing", "Sec-WebSocket-Version", "b.8.1", func(h *head) bool { return len(h.values("Sec-WebSocket-Version")) > 0 }, false},
	{"request-version-other", "Sec-WebSocket-Version 13", "b.8.2-4", func(h *head) bool { v := h.first("Sec-WebSocket-Version"); return v == "13" || v == "" }, false},
	{"request-version-twice", "one Sec-WebSocket-Version", "b.8.5", func(h *head) bool { return len(h.values("Sec-WebSocket-Version")) < 2 }, false},
	{"request-key-missing", "Sec-WebSocket-Key", "b.8.6", func(h *head) bool { return len(h.values("Sec-WebSocket-Key")) > 0 }, false},
	{"request-key-length", "a key of 16 bytes", "b.8.7-9", func(h *head) bool {
		key, err := h.key()
		return len(key) == 16 || err != nil || h.values("Sec-WebSocket-Key") == nil
	}, false},
	{"request-key-base64", "a key in base64", "b.8.10", func(h *head) bool { _, err := h.key(); return err == nil }, false},
	{"request-key-twice", "one Sec-WebSocket-Key", "b.8.11", func(h *head) bool { return len(h.values("Sec-WebSocket-Key")) < 2 }, false},
	{"request-upgrade-missing", "Upgrade", "b.8.12", func(h *head) bool { return len(h.values("Upgrade")) > 0 }, false},
	{"request-upgrade-other", "Upgrade: websocket", "b.8.13-14", func(h *head) bool { return h.first("Upgrade") == "" || listed(h.values("Upgrade"), "websocket") }, false},
	{"request-connection-missing", "Connection", "b.8.15", func(h *head) bool { return len(h.values("Connection")) > 0 }, false},
	{"request-connection-other", "Connection: Upgrade", "b.8.16", func(h *head) bool { return h.first("Connection") == "" || listed(h.values("Connection"), "Upgrade") }, false},
	{"request-method", "GET", "b.8.17", func(h *head) bool { return h.method == "GET" }, false},
	{"request-http", "HTTP/1.1", "b.8.18", func(h *head) bool { return h.version == "HTTP/1.1" }, false},
	{"request-host-missing", "Host", "b.8.19", func(h *head) bool { return len(h.values("Host")) > 0 }, false},
	{"request-host-twice", "one Host", "b.8.20", func(h *head) bool { return len(h.values("Host")) < 2 }, false},
	{"request-space", "no space in front of a colon", "b.8.21", func(h *head) bool {
		return h.every(func(line string) bool { name, _, _ := strings.Cut(line, ":"); return strings.TrimSpace(name) == name })
	}, false},
	{"request-nul", "no NUL", "b.8.22", func(h *head) bool {
		return h.every(func(line string) bool { return !strings.Contains(line, "\x00") })
	}, false},
	{"request-name", "names that are tokens", "b.8.23", func(h *head) bool {
		return h.every(func(line string) bool { name, _, _ := strings.Cut(line, ":"); return !strings.ContainsAny(name, "()") })
	}, false},
	{"request-lengths", "not both Transfer-Encoding and Content-Length", "b.8.24", func(h *head) bool {
		return h.first("Transfer-Encoding") == "" || h.first("Content-Length") == ""
	}, false},
	{"request-upgrade-case", "not the word WEBSOCKET", "b.8.25", func(h *head) bool { return h.first("Upgrade") != "WEBSOCKET" }, true},
	{"request-connection-alone", "no other token in Connection", "b.8.26", func(h *head) bool { return !strings.Contains(h.first("Connection"), ",") }, true},
	{"request-connection-once", "one field Connection", "b.8.27", func(h *head) bool { return len(h.values("Connection")) < 2 }, true},
	{"request-names-case", "names that are not in lower case", "b.8.28", func(h *head) bool {
		return h.every(func(line string) bool { return !strings.HasPrefix(line, "sec-") })
	}, true},
	{"request-extensions", "no extension that it does not know", "b.8.29", func(h *head) bool {
		return !strings.HasPrefix(h.first("Sec-WebSocket-Extensions"), "x-")
	}, true},
	{"request-size", "at most 2 KiB", "b.8.31", func(h *head) bool { return h.size <= 2048 }, true},
}

// The parameters of an offer of permessage-deflate, or of an answer.
type params []string

// parameters returns the extensions of the fields, each with its parameters.
func parameters(fields []string) (names []string, all []params) {
	for _, e := range strings.Split(strings.Join(fields, ","), ",") {
		parts := strings.Split(e, ";")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		if parts[0] != "" {
			names = append(names, parts[0])
			all = append(all, parts[1:])
		}
	}
	return names, all
}

func (ps params) every(f func(name, value string, valued bool) bool) bool {
	for _, p := range ps {
		name, value, valued := strings.Cut(p, "=")
		if !f(name, value, valued) {
			return false
		}
	}
	return true
}

var parameterNames = []string{"server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits"}

func known(name, _ string, _ bool) bool { return slices.Contains(parameterNames, name) }

func inRange(name, value string, _ bool) bool {
	n, err := strconv.Atoi(value)
	return !strings.HasSuffix(name, "_bits") || err != nil || n >= 8 && n <= 15
}

// The rules of an offer: RFC 7692, section 7.1. An offer that breaks one is
// declined.
var offerRules = []rule[params]{
	{"offer-unknown", "parameters that it knows", "b.7.14", func(ps params) bool { return ps.every(known) }, false},
	{"offer-value", "no value where none belongs", "b.7.15-16", func(ps params) bool {
		return ps.every(func(name, _ string, valued bool) bool { return !valued || !strings.HasSuffix(name, "_takeover") })
	}, false},
	{"offer-bare-window", "a value of server_max_window_bits", "b.7.17", func(ps params) bool {
		return ps.every(func(name, _ string, valued bool) bool { return valued || name != "server_max_window_bits" })
	}, false},
	{"offer-range", "windows of 8 to 15 bits", "b.7.18-21", func(ps params) bool { return ps.every(inRange) }, false},
	{"offer-zero", "no zero in front of a number", "b.7.22", func(ps params) bool {
		return ps.every(func(_, value string, _ bool) bool { return !strings.HasPrefix(value, "0") })
	}, false},
	// The peer cannot compress with a window of its choice.
	{"offer-window-ignored", "a window of 15 bits for its own messages", "b.7.24", func(ps params) bool {
		return ps.every(func(name, value string, _ bool) bool {
			return name != "server_max_window_bits" || !slices.Contains([]string{"8", "9", "10", "11", "12", "13", "14"}, value)
		})
	}, false},
	{"offer-twice", "each parameter once", "b.7.23", func(ps params) bool {
		sorted := slices.Sorted(slices.Values(ps))
		return len(slices.Compact(sorted)) == len(ps)
	}, false},
}

// extensionsOf are the names and the parameters in an answer.
func extensionsOf(r *http.Response) ([]string, []params) {
	return parameters(r.Header.Values("Sec-WebSocket-Extensions"))
}

// The rules of an answer: RFC 6455, section 4.1, and RFC 7692, section 7.1.
var answerRules = []rule[*http.Response]{
	{"answer-accept-wrong", "the right Sec-WebSocket-Accept", "b.9.1", func(r *http.Response) bool {
		v := r.Header.Get("Sec-WebSocket-Accept")
		return v == "" || v == acceptOf(clientKey)
	}, false},
	{"answer-accept-missing", "Sec-WebSocket-Accept", "b.9.2", func(r *http.Response) bool { return r.Header.Get("Sec-WebSocket-Accept") != "" }, false},
	{"answer-upgrade-missing", "Upgrade", "b.9.3", func(r *http.Response) bool { return r.Header.Get("Upgrade") != "" }, false},
	{"answer-upgrade-other", "Upgrade: websocket", "b.9.4", func(r *http.Response) bool {
		v := r.Header.Get("Upgrade")
		return v == "" || strings.EqualFold(v, "websocket")
	}, false},
	{"answer-connection-missing", "Connection", "b.9.5", func(r *http.Response) bool {
		return r.StatusCode != 101 || r.Header.Get("Connection") != "" || r.Close
	}, false},
	{"answer-connection-other", "Connection: Upgrade", "b.9.6", func(r *http.Response) bool {
		// net/http takes the token close out of the field.
		return r.StatusCode != 101 || !r.Close && (r.Header.Get("Connection") == "" || listed(r.Header.Values("Connection"), "Upgrade"))
	}, false},
	{"answer-status", "the status 101", "b.9.7", func(r *http.Response) bool { return r.StatusCode == 101 }, false},
	{"answer-extension", "only extensions that it offered", "b.9.8", func(r *http.Response) bool {
		names, _ := extensionsOf(r)
		return !slices.ContainsFunc(names, func(name string) bool { return name != "permessage-deflate" })
	}, false},
	{"answer-parameter", "only parameters that there are", "b.9.9", func(r *http.Response) bool {
		_, all := extensionsOf(r)
		return !slices.ContainsFunc(all, func(ps params) bool { return !ps.every(known) })
	}, false},
	{"answer-twice", "permessage-deflate once", "b.9.10", func(r *http.Response) bool { names, _ := extensionsOf(r); return len(names) < 2 }, false},
	{"answer-window", "windows of 8 to 15 bits", "b.9.11", func(r *http.Response) bool {
		_, all := extensionsOf(r)
		return !slices.ContainsFunc(all, func(ps params) bool { return !ps.every(inRange) })
	}, false},
	{"answer-subprotocol", "only subprotocols that it offered", "b.9.12", func(r *http.Response) bool { return r.Header.Get("Sec-WebSocket-Protocol") == "" }, false},
}

// deflates reports whether the peer accepts permessage-deflate.
func (p *peer) deflates(h *head) bool {
	names, all := parameters(h.values("Sec-WebSocket-Extensions"))
	for i, name := range names {
		if name == "permessage-deflate" && takes(p, offerRules, all[i]) {
			return true
		}
	}
	return false
}

// floods reports whether a peer breaks down after n of what its fault names.
func (p *peer) floods(fault string, n int) bool {
	if !p.is(fault) {
		return false
	}
	p.counted++
	return p.counted > n
}

// refusesBlocks reports whether the peer's fault is to refuse this compressed
// message.
func (p *peer) refusesBlocks(message []byte) bool {
	switch p.fault {
	case "inflate-no-empty":
		return bytes.Equal(message, []byte{0})
	case "inflate-no-final":
		return len(message) > 0 && message[0]&1 == 1
	case "inflate-no-stored":
		return len(message) > 1 && message[0]>>1&3 == 0
	case "inflate-one-block":
		return bytes.Contains(message, []byte{0, 0, 0xff, 0xff})
	}
	return false
}

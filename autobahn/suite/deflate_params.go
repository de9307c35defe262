package suite

import (
	"fmt"
	"strconv"
	"strings"
)

// deflateParams are the parameters of one permessage-deflate offer or answer
// (RFC 7692, section 7.1).
type deflateParams struct {
	serverNoContext, clientNoContext bool
	serverBits, clientBits           int  // 0: not there
	clientBitsAllowed                bool // client_max_window_bits is there, with a value or without
}

func (p deflateParams) String() string {
	var b strings.Builder
	b.WriteString("permessage-deflate")
	if p.clientNoContext {
		b.WriteString("; client_no_context_takeover")
	}
	if p.clientBits > 0 {
		fmt.Fprintf(&b, "; client_max_window_bits=%d", p.clientBits)
	} else if p.clientBitsAllowed {
		b.WriteString("; client_max_window_bits")
	}
	if p.serverNoContext {
		b.WriteString("; server_no_context_takeover")
	}
	if p.serverBits > 0 {
		fmt.Fprintf(&b, "; server_max_window_bits=%d", p.serverBits)
	}
	return b.String()
}

func offerHeader(offers []deflateParams) string {
	var all []string
	for _, o := range offers {
		all = append(all, o.String())
	}
	return strings.Join(all, ", ")
}

// parseDeflate parses the value of Sec-WebSocket-Extensions. In an answer
// all must be right; of the offers, only those that are right are returned.
func parseDeflate(value string, answer bool) ([]deflateParams, error) {
	var all []deflateParams
	for _, ext := range strings.Split(value, ",") {
		p, err := parseDeflateOne(ext, answer)
		switch {
		case err == nil:
			all = append(all, p)
		case answer:
			return nil, err
		}
	}
	return all, nil
}

func parseDeflateOne(ext string, answer bool) (deflateParams, error) {
	var p deflateParams
	parts := strings.Split(ext, ";")
	if name := strings.TrimSpace(parts[0]); name != "permessage-deflate" {
		return p, fmt.Errorf("the extension %q is unknown", name)
	}
	seen := map[string]bool{}
	for _, part := range parts[1:] {
		name, value, hasValue := strings.Cut(part, "=")
		name, value = strings.TrimSpace(name), strings.Trim(strings.TrimSpace(value), `"`)
		if seen[name] {
			return p, fmt.Errorf("the parameter %s is there twice", name)
		}
		seen[name] = true
		bits := 0
		if hasValue {
			n, err := strconv.Atoi(value)
			if err != nil || n < 8 || n > 15 {
				return p, fmt.Errorf("the value of %s is %q", name, value)
			}
			bits = n
		}
		switch name {
		case "server_no_context_takeover":
			p.serverNoContext = true
		case "client_no_context_takeover":
			p.clientNoContext = true
		case "server_max_window_bits":
			p.serverBits = bits
		case "client_max_window_bits":
			p.clientBits, p.clientBitsAllowed = bits, true
		default:
			return p, fmt.Errorf("the parameter %q is unknown", name)
		}
		needs := name == "server_max_window_bits" || name == "client_max_window_bits" && answer
		may := needs || name == "client_max_window_bits"
		if hasValue && !may || !hasValue && needs {
			return p, fmt.Errorf("the value of %s is %q", name, value)
		}
	}
	return p, nil
}

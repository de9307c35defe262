package websocket

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket/internal/field"
)

// parseOne parses a header with one extension.
func parseOne(t *testing.T, s string) field.Extension {
	t.Helper()
	list, err := field.ParseExtensions([]string{s})
	if err != nil || len(list) != 1 {
		t.Fatalf("%q: %v, %v", s, list, err)
	}
	return list[0]
}

func headerOf(exts ...field.Extension) string {
	if len(exts) == 0 {
		return ""
	}
	return string(field.AppendExtensions(nil, exts))
}

// RFC 7692, section 7.1: each way in which the parameters of an offer or an
// answer can be wrong.
func TestDeflateParamsInvalid(t *testing.T) {
	both := []string{
		"unknown",
		"unknown=1",
		"server_no_context_takeover=1",
		"server_no_context_takeover=true",
		"client_no_context_takeover=15",
		"server_no_context_takeover; server_no_context_takeover",
		"client_no_context_takeover; client_no_context_takeover",
		"server_max_window_bits", // it must have a value
		"server_max_window_bits=7",
		"server_max_window_bits=16",
		"server_max_window_bits=0",
		"server_max_window_bits=08",
		"server_max_window_bits=010",
		"server_max_window_bits=1",
		"server_max_window_bits=100",
		"server_max_window_bits=-8",
		"server_max_window_bits=+8",
		"server_max_window_bits=8x",
		"server_max_window_bits=ten",
		"server_max_window_bits=10; server_max_window_bits=10",
		"server_max_window_bits=10; server_max_window_bits=11",
		"client_max_window_bits=7",
		"client_max_window_bits=16",
		"client_max_window_bits=08",
		"client_max_window_bits=8; client_max_window_bits=9",
		"SERVER_MAX_WINDOW_BITS=10",
	}
	for _, s := range both {
		ext := parseOne(t, "permessage-deflate; "+s)
		for _, response := range []bool{false, true} {
			if p, err := parseDeflateParams(ext.Params, response); err == nil {
				t.Errorf("%s (response %v) passes: %+v", s, response, p)
			} else if name, _, _ := strings.Cut(strings.TrimSuffix(s, ";"), "="); !strings.Contains(err.Error(), strings.Split(name, ";")[0]) {
				t.Errorf("%s: the error does not name the parameter: %v", s, err)
			}
		}
	}
	// Section 7.1.2.2: without a value in an offer only.
	ext := parseOne(t, "permessage-deflate; client_max_window_bits")
	if p, err := parseDeflateParams(ext.Params, false); err != nil || p.clientBits != anyBits {
		t.Errorf("offer: %+v, %v", p, err)
	}
	if _, err := parseDeflateParams(ext.Params, true); err == nil {
		t.Error("an answer with client_max_window_bits without a value passes")
	}
}

func TestAcceptDeflate(t *testing.T) {
	const (
		takeover = CompressionContextTakeover
		alone    = CompressionNoContextTakeover
	)
	tests := []struct {
		offer  string
		mode   CompressionMode
		send   int // 0: 15
		recv   int
		answer string // "": declined
		agreed deflateParams
	}{
		{offer: "permessage-deflate", mode: CompressionDisabled},
		{offer: "permessage-deflate", mode: takeover, answer: "permessage-deflate", agreed: deflateParams{false, false, 15, 15}},
		{offer: "permessage-deflate", mode: alone, answer: "permessage-deflate; server_no_context_takeover; client_no_context_takeover", agreed: deflateParams{true, true, 15, 15}},
		// The offers of browsers.
		{offer: "permessage-deflate; client_max_window_bits", mode: takeover, answer: "permessage-deflate", agreed: deflateParams{false, false, 15, 15}},
		{offer: "permessage-deflate; client_max_window_bits", mode: takeover, recv: 10, answer: "permessage-deflate; client_max_window_bits=10", agreed: deflateParams{false, false, 15, 10}},
		{offer: "permessage-deflate; client_max_window_bits=9", mode: takeover, answer: "permessage-deflate; client_max_window_bits=9", agreed: deflateParams{false, false, 15, 9}},
		{offer: "permessage-deflate; client_max_window_bits=12", mode: takeover, recv: 10, answer: "permessage-deflate; client_max_window_bits=10", agreed: deflateParams{false, false, 15, 10}},
		{offer: "permessage-deflate; client_max_window_bits=9", mode: takeover, recv: 10, answer: "permessage-deflate; client_max_window_bits=9", agreed: deflateParams{false, false, 15, 9}},
		{offer: "permessage-deflate; client_max_window_bits=15", mode: takeover, answer: "permessage-deflate", agreed: deflateParams{false, false, 15, 15}},
		// client_max_window_bits only for a client that offered it.
		{offer: "permessage-deflate", mode: takeover, recv: 10, answer: "permessage-deflate; client_no_context_takeover", agreed: deflateParams{false, true, 15, 15}},
		// server_max_window_bits: the window that is really kept.
		{offer: "permessage-deflate; server_max_window_bits=10", mode: takeover, answer: "permessage-deflate; server_max_window_bits=10", agreed: deflateParams{false, false, 10, 15}},
		{offer: "permessage-deflate; server_max_window_bits=15", mode: takeover, answer: "permessage-deflate; server_max_window_bits=15", agreed: deflateParams{false, false, 15, 15}},
		{offer: "permessage-deflate; server_max_window_bits=8", mode: takeover, send: 12, answer: "permessage-deflate; server_max_window_bits=8", agreed: deflateParams{false, false, 8, 15}},
		{offer: "permessage-deflate; server_max_window_bits=14", mode: takeover, send: 12, answer: "permessage-deflate; server_max_window_bits=12", agreed: deflateParams{false, false, 12, 15}},
		{offer: "permessage-deflate", mode: takeover, send: 12, answer: "permessage-deflate; server_max_window_bits=12", agreed: deflateParams{false, false, 12, 15}},
		{offer: "permessage-deflate; server_no_context_takeover", mode: takeover, answer: "permessage-deflate; server_no_context_takeover", agreed: deflateParams{true, false, 15, 15}},
		{offer: "permessage-deflate; client_no_context_takeover", mode: takeover, answer: "permessage-deflate; client_no_context_takeover", agreed: deflateParams{false, true, 15, 15}},
		{offer: `permessage-deflate; server_max_window_bits="10"`, mode: takeover, answer: "permessage-deflate; server_max_window_bits=10", agreed: deflateParams{false, false, 10, 15}},
		// Several offers, in order; those that are invalid or unknown are
		// passed over.
		{offer: "permessage-deflate; server_max_window_bits=9, permessage-deflate", mode: takeover, answer: "permessage-deflate; server_max_window_bits=9", agreed: deflateParams{false, false, 9, 15}},
		{offer: "permessage-deflate; server_max_window_bits=7, permessage-deflate; server_no_context_takeover", mode: takeover, answer: "permessage-deflate; server_no_context_takeover", agreed: deflateParams{true, false, 15, 15}},
		{offer: "x-webkit-deflate-frame, permessage-deflate", mode: takeover, answer: "permessage-deflate", agreed: deflateParams{false, false, 15, 15}},
		{offer: "permessage-deflate; unknown", mode: takeover},
		{offer: "permessage-deflate; unknown, permessage-deflate; server_max_window_bits", mode: takeover},
		{offer: "permessage-bzip2", mode: takeover},
	}
	for _, tt := range tests {
		offers, err := field.ParseExtensions([]string{tt.offer})
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := newDeflateConfig(tt.mode, tt.send, tt.recv)
		if err != nil {
			t.Fatal(err)
		}
		agreed, answer, ok := acceptDeflate(offers, cfg)
		got := ""
		if ok {
			got = headerOf(answer)
		}
		if got != tt.answer || agreed != tt.agreed {
			t.Errorf("%s (mode %d, send %d, recv %d):\n got %q, %+v\nwant %q, %+v", tt.offer, tt.mode, tt.send, tt.recv, got, agreed, tt.answer, tt.agreed)
		}
	}
}

func TestDeflateOffers(t *testing.T) {
	tests := []struct {
		cfg  deflateConfig
		want string
	}{
		{deflateConfig{CompressionDisabled, 15, 15}, ""},
		// Nothing about windows that the options do not ask for.
		{deflateConfig{CompressionContextTakeover, 0, 15}, "permessage-deflate"},
		{deflateConfig{CompressionNoContextTakeover, 0, 15}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
		{deflateConfig{CompressionContextTakeover, 0, 10}, "permessage-deflate; server_max_window_bits=10, permessage-deflate; server_no_context_takeover"},
		{deflateConfig{CompressionContextTakeover, 15, 15}, "permessage-deflate; client_max_window_bits"},
		{deflateConfig{CompressionNoContextTakeover, 15, 15}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"},
		{deflateConfig{CompressionContextTakeover, 10, 15}, "permessage-deflate; client_max_window_bits=10"},
		{deflateConfig{CompressionContextTakeover, 15, 10}, "permessage-deflate; server_max_window_bits=10; client_max_window_bits, permessage-deflate; server_no_context_takeover; client_max_window_bits"},
	}
	for _, tt := range tests {
		var exts []field.Extension
		for _, o := range tt.cfg.offers() {
			exts = append(exts, o.extension())
		}
		if got := headerOf(exts...); got != tt.want {
			t.Errorf("%+v:\n got %q\nwant %q", tt.cfg, got, tt.want)
		}
	}
}

func TestAgreeDeflate(t *testing.T) {
	full := deflateConfig{CompressionContextTakeover, 15, 15}
	alone := deflateConfig{CompressionNoContextTakeover, 15, 15}
	tests := []struct {
		cfg    deflateConfig
		answer string
		agreed deflateParams
		fails  bool
	}{
		{cfg: full, answer: "permessage-deflate", agreed: deflateParams{false, false, 15, 15}},
		{cfg: full, answer: "permessage-deflate; client_max_window_bits=9", agreed: deflateParams{false, false, 15, 9}},
		{cfg: full, answer: "permessage-deflate; server_max_window_bits=9", agreed: deflateParams{false, false, 9, 15}},
		{cfg: full, answer: "permessage-deflate; server_no_context_takeover; client_no_context_takeover", agreed: deflateParams{true, true, 15, 15}},
		{cfg: alone, answer: "permessage-deflate; server_no_context_takeover", agreed: deflateParams{true, true, 15, 15}},
		{cfg: alone, answer: "permessage-deflate", fails: true}, // it was asked for server_no_context_takeover
		{cfg: deflateConfig{CompressionContextTakeover, 10, 15}, answer: "permessage-deflate; client_max_window_bits=12", agreed: deflateParams{false, false, 15, 10}},
		{cfg: deflateConfig{CompressionContextTakeover, 10, 15}, answer: "permessage-deflate", agreed: deflateParams{false, false, 15, 10}},
		{cfg: deflateConfig{CompressionContextTakeover, 15, 10}, answer: "permessage-deflate; server_max_window_bits=10", agreed: deflateParams{false, false, 10, 15}},
		{cfg: deflateConfig{CompressionContextTakeover, 15, 10}, answer: "permessage-deflate; server_max_window_bits=8", agreed: deflateParams{false, false, 8, 15}},
		{cfg: deflateConfig{CompressionContextTakeover, 15, 10}, answer: "permessage-deflate; server_no_context_takeover", agreed: deflateParams{true, false, 15, 15}},
		{cfg: deflateConfig{CompressionContextTakeover, 15, 10}, answer: "permessage-deflate; server_max_window_bits=11", fails: true},
		{cfg: deflateConfig{CompressionContextTakeover, 15, 10}, answer: "permessage-deflate", fails: true},
		{cfg: full, answer: "permessage-deflate; client_max_window_bits", fails: true},
		{cfg: full, answer: "permessage-deflate; unknown", fails: true},
	}
	for _, tt := range tests {
		got, err := tt.cfg.agree(parseOne(t, tt.answer).Params)
		if got != tt.agreed || (err != nil) != tt.fails {
			t.Errorf("%+v answered with %s: %+v, %v", tt.cfg, tt.answer, got, err)
		}
	}
}

// Whatever two endpoints of ours are set to, they agree on the same thing. Each
// side agrees on no more than it is willing to keep.
func TestDeflateBothSides(t *testing.T) {
	modes := []CompressionMode{CompressionContextTakeover, CompressionNoContextTakeover}
	bits := []int{8, 9, 12, 15}
	for _, cm := range modes {
		for _, sm := range modes {
			for _, i := range bits {
				for _, j := range bits {
					client, server := deflateConfig{cm, i, j}, deflateConfig{sm, j, i}
					if i == maxWindowBits && j%2 == 0 {
						client.sendBits = 0 // left out: the offer does not name it
					}
					var offers []field.Extension
					for _, o := range client.offers() {
						offers = append(offers, o.extension())
					}
					agreed, answer, ok := acceptDeflate(offers, server)
					if !ok {
						t.Fatalf("%+v declined by %+v", client, server)
					}
					got, err := client.agree(answer.Params)
					if err != nil {
						t.Fatalf("%+v: answer %s: %v", client, headerOf(answer), err)
					}
					if !reflect.DeepEqual(got, agreed) {
						t.Errorf("%+v, %+v: client %+v, server %+v", client, server, got, agreed)
					}
					if agreed.serverBits > server.sendWindow() || agreed.clientBits > client.sendWindow() {
						t.Errorf("%+v, %+v: %+v: more than a sender keeps", client, server, agreed)
					}
				}
			}
		}
	}
}

// FuzzDeflateParams checks that what is parsed is written and parsed again as
// the same.
func FuzzDeflateParams(f *testing.F) {
	for _, s := range []string{"permessage-deflate", `permessage-deflate; client_max_window_bits="9"; server_max_window_bits=15`, "permessage-deflate; server_no_context_takeover; client_no_context_takeover", "permessage-deflate;client_max_window_bits"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, response bool) {
		exts, err := field.ParseExtensions([]string{s})
		if err != nil {
			return
		}
		for _, ext := range exts {
			p, err := parseDeflateParams(ext.Params, response)
			if err != nil {
				continue
			}
			again, err := field.ParseExtensions([]string{headerOf(p.extension())})
			if err != nil {
				t.Fatal(err)
			}
			if q, err := parseDeflateParams(again[0].Params, response); q != p || err != nil {
				t.Fatalf("%q: %+v became %+v, %v", s, p, q, err)
			}
		}
	})
}

// Every mode of either side with windows from one end of the range to the
// other, over HTTP. Messages that refer to each other as far back as is allowed
// pass both ways.
func TestCompressionOverHTTP(t *testing.T) {
	modes := []CompressionMode{CompressionDisabled, CompressionContextTakeover, CompressionNoContextTakeover}
	bits := []int{0, 8, 12}
	if testing.Short() || raceEnabled {
		bits = []int{0, 9}
	}
	// Longer than any window, and of pieces that come again at distances from
	// short to nearly the window.
	var msg []byte
	for i := range 2000 {
		msg = fmt.Appendf(msg, "%d and %d, ", i%700, i%90)
	}
	for _, serverMode := range modes {
		for _, send := range bits {
			for _, recv := range bits {
				s := newServer(t, Handler(serveEcho, &AcceptOptions{CompressionMode: serverMode, CompressionSendWindowBits: send, CompressionReceiveWindowBits: recv}), false)
				for _, clientMode := range modes {
					for _, clientSend := range bits {
						for _, clientRecv := range bits {
							c, resp, err := Dial(t.Context(), wsURL(s), &DialOptions{CompressionMode: clientMode, CompressionSendWindowBits: clientSend, CompressionReceiveWindowBits: clientRecv})
							if err != nil {
								t.Fatal(err)
							}
							answer := resp.Header.Get(fieldExtensions)
							name := fmt.Sprintf("server %d %d %d, client %d %d %d, agreed %q", serverMode, send, recv, clientMode, clientSend, clientRecv, answer)
							if want := serverMode != CompressionDisabled && clientMode != CompressionDisabled; (answer != "") != want || (c.deflate != nil) != want {
								t.Errorf("%s: compressed %v, want %v", name, c.deflate != nil, want)
							}
							for i := range 3 {
								m := msg[i*20:]
								if err := c.Write(t.Context(), MessageText, m); err != nil {
									t.Fatalf("%s: %v", name, err)
								}
								if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, m) {
									t.Fatalf("%s: message %d: %d bytes of %d, %v", name, i, len(got), len(m), err)
								}
							}
							c.CloseNow()
						}
					}
				}
			}
		}
	}
}

// A server's answer that no offer of the client allows fails the handshake,
// before a message can be misread.
func TestCompressionAnswerRefused(t *testing.T) {
	answers := map[string]DialOptions{
		"permessage-deflate":                                              {},
		"permessage-deflate ":                                             {CompressionMode: CompressionNoContextTakeover},
		"permessage-deflate; server_max_window_bits=10":                   {CompressionMode: CompressionContextTakeover, CompressionReceiveWindowBits: 9},
		"permessage-deflate; client_max_window_bits":                      {CompressionMode: CompressionContextTakeover},
		"permessage-deflate; client_max_window_bits=16":                   {CompressionMode: CompressionContextTakeover},
		"permessage-deflate; server_no_context_takeover=1":                {CompressionMode: CompressionContextTakeover},
		"permessage-deflate; unheard_of":                                  {CompressionMode: CompressionContextTakeover},
		"permessage-deflate, permessage-deflate":                          {CompressionMode: CompressionContextTakeover},
		"permessage-bzip2":                                                {CompressionMode: CompressionContextTakeover},
		`permessage-deflate; server_max_window_bits=""`:                   {CompressionMode: CompressionContextTakeover},
		"permessage-deflate; server_max_window_bits=9 10":                 {CompressionMode: CompressionContextTakeover},
		"permessage-deflate; client_max_window_bits=9; server_max_window": {CompressionMode: CompressionContextTakeover},
	}
	for answer, opts := range answers {
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Extensions: %s\r\n\r\n",
				appendAccept(nil, r.Header.Get(fieldKey)), answer)
		}), false)
		c, _, err := Dial(context.Background(), wsURL(s), &opts)
		if err == nil {
			t.Errorf("%s: the client with %+v takes it", answer, opts)
			c.CloseNow()
		}
	}
}

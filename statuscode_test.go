package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Section 7.4: which codes may stand on the wire.
func TestStatusCodeOnWire(t *testing.T) {
	valid := func(c StatusCode) bool {
		switch {
		case c == 1000, c == 1001, c == 1002, c == 1003, c >= 1007 && c <= 1014, c >= 3000 && c <= 4999:
			return true
		}
		return false
	}
	for c := StatusCode(-1); c <= 65536; c++ {
		if got := c.validOnWire(); got != valid(c) {
			t.Errorf("%d: %v", c, got)
		}
	}
}

func TestClosePayload(t *testing.T) {
	long := strings.Repeat("x", 123)
	tests := []struct {
		name    string
		payload string
		want    CloseError
		code    StatusCode // of the failure, if it is one
	}{
		{"empty", "", CloseError{Code: StatusNoStatusRcvd}, 0},
		{"one byte", "\x03", CloseError{}, StatusProtocolError},
		{"code", "\x03\xe8", CloseError{Code: 1000}, 0},
		{"code and reason", "\x0f\xa0bye \u00fc", CloseError{Code: 4000, Reason: "bye \u00fc"}, 0},
		{"longest reason", "\x03\xe8" + long, CloseError{Code: 1000, Reason: long}, 0},
		{"code 0", "\x00\x00", CloseError{}, StatusProtocolError},
		{"code 999", "\x03\xe7", CloseError{}, StatusProtocolError},
		{"code 1004", "\x03\xec", CloseError{}, StatusProtocolError},
		{"code 1005", "\x03\xed", CloseError{}, StatusProtocolError},
		{"code 1006", "\x03\xee", CloseError{}, StatusProtocolError},
		{"code 1015", "\x03\xf7", CloseError{}, StatusProtocolError},
		{"code 5000", "\x13\x88", CloseError{}, StatusProtocolError},
		{"code 65535", "\xff\xff", CloseError{}, StatusProtocolError},
		{"reason is not UTF-8", "\x03\xe8\xff", CloseError{}, StatusInvalidFramePayloadData},
		{"reason ends inside a code point", "\x03\xe8\xe2\x82", CloseError{}, StatusInvalidFramePayloadData},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got CloseError
			var err error
			got.Code, got.Reason, err = parseClosePayload([]byte(tt.payload))
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			code, _, _ := closeCode(err)
			if code != tt.code {
				t.Errorf("failure %v with code %d, want %d", err, code, tt.code)
			}
			if err != nil {
				return
			}
			back, err := appendClosePayload([]byte("x"), got.Code, got.Reason)
			if string(back) != "x"+tt.payload || err != nil {
				t.Errorf("back on the wire: %q, %v", back, err)
			}
		})
	}
}

func TestClosePayloadRefused(t *testing.T) {
	tests := []struct {
		code   StatusCode
		reason string
		names  string // what the error names
	}{
		{StatusAbnormalClosure, "", "1006"},
		{StatusTLSHandshake, "", "1015"},
		{StatusNoStatusRcvd, "reason", "1005"},
		{0, "", "code 0"},
		{999, "", "999"},
		{2000, "", "2000"},
		{5000, "", "5000"},
		{1 << 20, "", "1048576"},
		{-1, "", "-1"},
		{1000, strings.Repeat("x", 124), "124"},
		{1000, "\xff", "UTF-8"},
	}
	for _, tt := range tests {
		got, err := appendClosePayload([]byte("x"), tt.code, tt.reason)
		if string(got) != "x" || err == nil || !strings.Contains(err.Error(), tt.names) {
			t.Errorf("%d %q: %q, %v; want an error that names %s", tt.code, tt.reason, got, err, tt.names)
		}
	}
}

// The table of errors that the package page promises.
func TestCloseErrorClassification(t *testing.T) {
	for _, code := range []StatusCode{StatusNormalClosure, StatusGoingAway, StatusNoStatusRcvd} {
		if err := fmt.Errorf("x: %w", CloseError{Code: code}); !errors.Is(err, io.EOF) {
			t.Errorf("%v is not io.EOF", code)
		}
	}
	err := fmt.Errorf("x: %w", CloseError{Code: StatusPolicyViolation, Reason: "spam"})
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		t.Error("a policy violation is an orderly end")
	}
	if CloseStatus(err) != StatusPolicyViolation {
		t.Errorf("CloseStatus = %v", CloseStatus(err))
	}
	var ce CloseError
	if !errors.As(err, &ce) || ce.Reason != "spam" {
		t.Errorf("errors.As: %+v", ce)
	}
	for _, err := range []error{nil, io.EOF, errClosed, errTextUTF8, ErrMessageTooBig} {
		if CloseStatus(err) != -1 {
			t.Errorf("CloseStatus(%v) = %v", err, CloseStatus(err))
		}
	}
	if !errors.Is(errClosed, net.ErrClosed) || !errors.Is(errMessageTooBig, ErrMessageTooBig) || !errors.Is(errAbruptEnd, io.ErrUnexpectedEOF) {
		t.Error("a sentinel does not match")
	}
}

// FuzzClosePayload: what parses comes back when it is appended again, and both
// refuse what the twin refuses.
func FuzzClosePayload(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("\x03"))
	for code := range 5002 {
		if code < 2 || code >= 998 && code <= 1017 || code%1000 <= 1 || code%1000 == 999 {
			f.Add([]byte(wstest.ClosePayload(code, "")))
		}
	}
	f.Add([]byte(wstest.ClosePayload(65535, "")))
	f.Add([]byte(wstest.ClosePayload(1000, "bye")))
	f.Add([]byte(wstest.ClosePayload(1000, "\xed\xa0\x80")))
	f.Add([]byte(wstest.ClosePayload(4000, strings.Repeat("é", 61)+"x")))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > maxControlPayload {
			return // recvHalf refuses the header
		}
		twin := wstest.Decode(wstest.Encode(wstest.Server, wstest.Final(wstest.Close, string(p))), wstest.Rules{Sender: wstest.Server})
		code, reason, err := parseClosePayload(p)
		if err != nil {
			var pe ProtocolError
			if !errors.As(err, &pe) || int(pe.Code) != twin.Code {
				t.Fatalf("parseClosePayload(%q) fails with %v, the twin with %d %s", p, err, twin.Code, twin.Why)
			}
			return
		}
		if !twin.Closed || int(code) != wstest.CloseCode(p) {
			t.Fatalf("parseClosePayload(%q) = %v, the twin: %+v", p, code, twin)
		}
		got, err := appendClosePayload([]byte("x"), code, reason)
		if err != nil || !bytes.Equal(got[1:], p) {
			t.Fatalf("appendClosePayload(%v) = %q, %v; want %q", code, got, err, p)
		}
	})
}

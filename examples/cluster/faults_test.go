package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket/hub"
)

// A failure that concerns one topic does not concern the engine as a whole.
func TestOneTopicFails(t *testing.T) {
	for _, lost := range []bool{false, true} {
		n := newNode("A", "memory", nil)
		n.lost = lost
		for _, kind := range []hub.BrokerEventKind{hub.BrokerFailed, hub.BrokerMissed} {
			n.onBroker(hub.BrokerEvent{Kind: kind, Topic: talk, Err: errors.New("failed")})
			if n.lost != lost {
				t.Errorf("%v: lost is %t, was %t", kind, n.lost, lost)
			}
		}
		n.hub.Close()
	}
}

// A stranger may publish what is no JSON object.
func TestEncodeStrange(t *testing.T) {
	at := hub.Position{Epoch: 1, Offset: 3}
	for text, want := range map[string]string{
		"":        "",
		"strange": "strange",
		"{}":      `{"position":"1-3","previous":2}`,
		`{"a":1}`: `{"position":"1-3","previous":2,"a":1}`,
	} {
		if got := string(encode(nil, hub.Message{Position: at, Previous: 2, Data: []byte(text)})); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// The address of the engine is given as people write it, or refused.
func TestConnectURL(t *testing.T) {
	for _, tt := range []struct{ engine, url, err string }{
		{"redis", "", ""},
		{"redis", "localhost:6379", ""},
		{"redis", "redis://user:secret@localhost:6379/1", ""},
		{"redis", "redis://localhost:6379/no-number", "redis"},
		{"redis", "http://localhost:6379", "redis"},
		{"nats", "nats://localhost:4222", ""},
		{"other", "", "unknown engine"},
	} {
		b, err := connect(tt.engine, tt.url)
		if b != nil {
			b.Close()
		}
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s %q: %v, want %q", tt.engine, tt.url, err, tt.err)
		}
	}
}

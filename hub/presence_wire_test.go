package hub

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// gossips are messages of all kinds.
func gossips() [][]byte {
	head := func(kind byte) []byte { return appendGossip(nil, kind, 0x0102030405060708) }
	records := appendText([]byte{opTopic}, "x")
	records = append(records, opList)
	records = appendAdd(records, 300, &Member{ID: "ada", Data: []byte("data")})
	records = appendAdd(records, 0, &Member{})
	records = appendNumber(records, opRemove, 1)
	records = appendText(append(records, opTopic), "y")
	records = appendNumber(records, opCount, 5000)
	return [][]byte{
		append(head(kindBeat), flagHello, 200, 1),
		append(append(head(kindChange), 7), records...),
		append(append(head(kindState), 7, 1, 2), records...),
		append(head(kindState), 7, 0, 1),
		append(head(kindAsk), 0, 0, 0, 0, 0, 0, 0, 9),
		head(kindAsk),
		head(kindBye),
	}
}

func TestParseGossip(t *testing.T) {
	all := gossips()
	records := []record{
		{op: opList, topic: "x"},
		{op: opAdd, topic: "x", number: 300, member: &Member{ID: "ada", Data: []byte("data")}},
		{op: opAdd, topic: "x", member: &Member{}},
		{op: opRemove, topic: "x", number: 1},
		{op: opCount, topic: "y", number: 5000},
	}
	for i, want := range []gossipMessage{
		{kind: kindBeat, flags: flagHello, seq: 200},
		{kind: kindChange, seq: 7, records: records},
		{kind: kindState, seq: 7, part: 1, parts: 2, records: records},
		{kind: kindState, seq: 7, parts: 1},
		{kind: kindAsk, asked: []uint64{9}},
		{kind: kindAsk},
		{kind: kindBye},
	} {
		want.from = 0x0102030405060708
		got, err := parseGossip(all[i])
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%d: %+v, %v, want %+v", i, got, err, want)
		}
	}
	head := appendGossip(nil, kindChange, 1)
	topic := append(slices.Clone(head), 1, opTopic, 1, 'x')
	for _, bad := range [][]byte{
		nil, {gossipVersion}, head[:8], head,
		appendGossip(nil, kindBye, 0),                     // no process
		appendGossip(nil, 0, 1), appendGossip(nil, 15, 1), // no such kind
		append([]byte{0x20 | kindBye}, head[1:]...),                     // another version
		append(appendGossip(nil, kindBye, 1), 0),                        // too long
		append(appendGossip(nil, kindAsk, 1), 1, 2, 3),                  // half an id
		append(appendGossip(nil, kindState, 1), 1, 1, 1),                // part 1 of 0 to 0
		append(appendGossip(nil, kindState, 1), 1, 0, 0),                // no parts
		append(slices.Clone(head), 1, opList),                           // no topic
		append(slices.Clone(topic), 0), append(slices.Clone(topic), 99), // no such op
		append(slices.Clone(topic), opAdd, 1, 5, 'x'), // cut text
		append(slices.Clone(topic), opAdd, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1),
		append(slices.Clone(topic), opCount, 255, 255, 255, 255, 255, 1), // too many
		append(slices.Clone(topic), opRemove, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1),
		appendAdd(slices.Clone(topic), 1, &Member{ID: strings.Repeat("x", MaxMemberBytes+1)}),
	} {
		if m, err := parseGossip(bad); err == nil {
			t.Errorf("%x: %+v", bad, m)
		}
	}
}

func FuzzParseGossip(f *testing.F) {
	for _, b := range gossips() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseGossip(b)
		if err != nil {
			return
		}
		before := reflect.ValueOf(*m).Interface().(gossipMessage)
		clear(b)
		if !reflect.DeepEqual(before, *m) {
			t.Error("it shares memory with the input")
		}
	})
}

// A message of a stranger costs a count: no panic, no member too many, and the
// true members stay.
func TestPresenceStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryEngine()
		all, _ := cutHubs(t, m, 2)
		open(t, all[0], "ada", "x")
		open(t, all[1], "bob", "x")
		stranger := m.Connect()
		send := func(topic string, b []byte) {
			if err := stranger.Publish(t.Context(), Publication{Topic: topic, Payload: b}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		rnd := rand.New(rand.NewPCG(1, 2))
		valid := gossips()
		ids := []uint64{all[0].presence.self.id, all[1].presence.self.id, 77}
		for i := range 20_000 {
			b := bytes.Clone(valid[rnd.IntN(len(valid))])
			for range rnd.IntN(4) {
				b[rnd.IntN(len(b))] = byte(rnd.Uint32())
			}
			if rnd.IntN(2) == 0 {
				b = b[:rnd.IntN(len(b)+1)]
			}
			if len(b) >= gossipHeader && rnd.IntN(2) == 0 {
				copy(b, appendGossip(nil, b[0]&0x0f, ids[rnd.IntN(3)]))
			}
			topic := presenceTopic
			if i%2 == 0 {
				topic = inbox(ids[i%3])
			}
			send(topic, b)
			if i%100 == 0 {
				time.Sleep(50 * time.Millisecond)
			}
		}
		for i := range 2 * maxProcesses { // each a process
			send(presenceTopic, append(appendGossip(nil, kindBeat, uint64(i+1)), 0, 1))
		}
		time.Sleep(time.Second)
		for _, h := range all {
			h.presence.mu.Lock()
			if n := len(h.presence.others); n > maxProcesses {
				t.Errorf("%d processes", n)
			}
			h.presence.mu.Unlock()
			if h.Stats().Invalid < 1000 {
				t.Errorf("%+v", h.Stats())
			}
		}
		time.Sleep(time.Minute)
		for _, h := range all {
			wantWho(t, h, "x", "ada bob")
		}
	})
}

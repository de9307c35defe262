//go:build unix

package brokertest

import (
	"slices"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket/hub"
)

// goodLog is what two clients saw of three publishers, whose messages have
// every third offset.
func goodLog() topicLog {
	log := topicLog{confirmed: []int{100, 100, 100}}
	for range 2 {
		seen := []sighting{{at: hub.Position{Epoch: 7, Offset: 1}}}
		before := uint64(1)
		for i := range 300 {
			at := hub.Position{Epoch: 7, Offset: uint64(3*i + 4)}
			if i == 150 { // a restart, in which nothing was lost
				seen = append(seen, sighting{at: hub.Position{Epoch: 7, Offset: before}, complete: true})
			}
			seen = append(seen, sighting{at: at, previous: before, id: id{i % 3, i/3 + 1}})
			before = at.Offset
		}
		log.clients = append(log.clients, seen)
	}
	return log
}

func TestChecker(t *testing.T) {
	if v := check(goodLog()); v.count != 0 || v.messages != 600 || v.resumed != 2 || v.told != 0 {
		t.Errorf("%v %q", v, v.faults)
	}
	for _, tt := range []struct {
		name   string
		change func(log *topicLog)
		want   string // in a fault; empty: none
		told   int
	}{
		{"a loss", func(log *topicLog) { log.clients[0] = slices.Delete(log.clients[0], 50, 51) }, "", 1},
		{"a loss that is hidden", func(log *topicLog) {
			log.clients[0][51].previous = log.clients[0][49].at.Offset
			log.clients[0] = slices.Delete(log.clients[0], 50, 51)
		}, "is missing", 0},
		{"a loss by all", func(log *topicLog) {
			for i := range log.clients {
				log.clients[i][51].previous = log.clients[i][49].at.Offset
				log.clients[i] = slices.Delete(log.clients[i], 50, 51)
			}
		}, "are missing", 0},
		{"a loss in a restart", func(log *topicLog) {
			log.clients[0] = slices.Delete(log.clients[0], 152, 154)
			log.clients[0][152].previous = log.clients[0][150].at.Offset
		}, "is missing", 0},
		{"a loss behind the begin", func(log *topicLog) {
			log.clients[0][2].previous = 1
			log.clients[0] = slices.Delete(log.clients[0], 1, 2)
		}, "is missing", 0},
		{"a loss at the end", func(log *topicLog) { log.clients[0] = log.clients[0][:len(log.clients[0])-1] }, "the latest", 0},
		{"a loss that a client is told", func(log *topicLog) {
			log.clients[0][151] = sighting{at: log.clients[0][153].at}
			log.clients[0] = slices.Delete(log.clients[0], 152, 154)
		}, "", 1},
		{"a duplicate", func(log *topicLog) {
			log.clients[0] = slices.Insert(log.clients[0], 50, log.clients[0][49])
		}, "came behind", 0},
		{"a duplicate under another position", func(log *topicLog) {
			m := log.clients[0][49]
			m.previous, m.at.Offset = m.at.Offset, m.at.Offset+1
			log.clients[0] = slices.Insert(log.clients[0], 50, m)
		}, "has position", 0},
		{"a swap", func(log *topicLog) {
			c := log.clients[0]
			c[50], c[51] = c[51], c[50]
		}, "came behind", 2},
		{"a swap of what is in messages", func(log *topicLog) {
			c := log.clients[0]
			c[50].id, c[53].id = c[53].id, c[50].id
		}, "is of message", 0},
		{"a swap for all", func(log *topicLog) {
			for _, c := range log.clients {
				c[50].id, c[53].id = c[53].id, c[50].id
			}
		}, "came behind", 0},
		{"another epoch", func(log *topicLog) {
			for _, c := range log.clients {
				for i := 200; i < len(c); i++ {
					c[i].at.Epoch = 8
				}
			}
		}, "", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := goodLog()
			tt.change(&log)
			v := check(log)
			found := slices.ContainsFunc(v.faults, func(f string) bool { return strings.Contains(f, tt.want) })
			if v.told != tt.told || (v.count > 0) != (tt.want != "") || tt.want != "" && !found {
				t.Errorf("%v %q, want %q", v, v.faults, tt.want)
			}
		})
	}
}

package natsbroker

import (
	"fmt"
	"testing"

	"github.com/seed70bc5565/websocket/hub"
)

func message(topic string, n, size int) hub.BrokerEvent {
	payload := make([]byte, size)
	payload[0] = byte(n)
	return hub.BrokerEvent{Topic: topic, Payload: payload}
}

func drain(q *backlog) (events []string) {
	for {
		ev, ok := q.take()
		if !ok {
			return events
		}
		switch ev.Kind {
		case hub.BrokerMessage:
			events = append(events, fmt.Sprint(ev.Topic, ev.Payload[0]))
		case hub.BrokerMissed:
			events = append(events, ev.Topic+"!")
		default:
			events = append(events, ev.Kind.String())
		}
	}
}

func TestBacklog(t *testing.T) {
	for _, tt := range []struct {
		name              string
		messages, maxSize int
		put               func(q *backlog)
		want              string
	}{
		{"busy topic", 8, 1 << 20, func(q *backlog) {
			for n := range 10 {
				q.put(message("a", n, 1))
			}
			q.put(message("b", 0, 1))
			q.put(hub.BrokerEvent{Kind: hub.BrokerLost})
			q.put(message("a", 10, 1))
		}, "[a0 a1 a2 a3 a! b0 BrokerLost]"},
		{"each drop is told where it is", 4, 1 << 20, func(q *backlog) {
			for n := range 3 {
				q.put(message("a", n, 1))
			}
			q.take()
			q.put(message("a", 3, 1))
			q.put(message("a", 4, 1))
		}, "[a1 a! a3 a!]"},
		{"all are full", 4, 1 << 20, func(q *backlog) {
			for n := range 3 {
				q.put(message("a", n, 1))
				q.put(message("b", n, 1))
				q.put(message("c", n, 1))
			}
		}, "[a0 b0 c0 a1 b! c! a!]"},
		{"bytes", 1000, 4 * (1000 + overhead), func(q *backlog) {
			for n := range 4 {
				q.put(message("a", n, 1000))
			}
			q.put(message("b", 0, 1000))
			q.put(message("b", 1, 1000))
			q.put(message("c", 0, 1))
		}, "[a0 a1 a! b0 b1 c!]"},
		{"a message larger than all", 10, 1000, func(q *backlog) {
			q.put(message("a", 0, 5000))
			q.put(message("a", 1, 1))
		}, "[a0 a!]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := newBacklog(tt.messages, tt.maxSize)
			tt.put(q)
			got := fmt.Sprint(drain(q))
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if q.messages != 0 || q.bytes != 0 || len(q.shares) != 0 {
				t.Errorf("left: %d messages, %d bytes, %d topics", q.messages, q.bytes, len(q.shares))
			}
		})
	}
}

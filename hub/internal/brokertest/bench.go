//go:build unix

package brokertest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/hub"
)

// BenchmarkPublish measures how long a Publish takes for topics without and
// with a history, in turns, and what is read of a history. One publisher waits
// for each message. Ratios are those of turns that follow on each other.
func BenchmarkPublish(b *testing.B, kind Kind) {
	e := Start(b, kind)
	broker, closeBroker := kind.Connect(e.Addr)
	defer closeBroker()
	ctx := context.Background()
	payload := make([]byte, 200)
	history := hub.History{Messages: 100, Bytes: 1 << 20, Age: 5 * time.Minute}
	turn := func(topic string, h hub.History) time.Duration {
		const n = 200
		begin := time.Now()
		for range n {
			if err := broker.Publish(ctx, hub.Publication{Topic: topic, Payload: payload, History: h}); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(begin) / n
	}
	if err := broker.Subscribe(ctx, []string{"plain", "kept"}); err != nil {
		b.Fatal(err)
	}
	ctxReceive, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for {
			if _, err := broker.Receive(ctxReceive); err != nil {
				return
			}
		}
	}()
	turn("plain", hub.History{})
	turn("kept", history)
	var plain, kept, ratios, reads []float64
	for b.Loop() {
		p, k := turn("plain", hub.History{}), turn("kept", history)
		plain, kept = append(plain, float64(p)/1e3), append(kept, float64(k)/1e3)
		ratios = append(ratios, float64(k)/float64(p))
		begin := time.Now()
		backlog, err := broker.(hub.Historian).Missed(ctx, "kept", hub.Position{}, history)
		if err != nil || len(backlog.Messages) != history.Messages {
			b.Fatal(len(backlog.Messages), err)
		}
		reads = append(reads, float64(time.Since(begin))/1e3)
	}
	for _, m := range []struct {
		name   string
		values []float64
	}{{"µs/plain", plain}, {"µs/kept", kept}, {"ratio", ratios}, {"µs/read-of-100", reads}} {
		slices.Sort(m.values)
		n := len(m.values)
		b.ReportMetric(m.values[n/2], m.name)
		b.Logf("%s: %.1f to %.1f, median %.1f", m.name, m.values[n/10], m.values[n-1-n/10], m.values[n/2])
	}
}

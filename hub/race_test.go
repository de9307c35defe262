package hub

import (
	"fmt"
	"sync"
	"testing"

	"github.com/seed70bc5565/websocket"
)

// Subscribers leave and come, many topics at once. In the end the engine has
// the topics that have subscribers, and no other.
func TestBrokerLeaveMeetsSubscribe(t *testing.T) {
	m := NewMemoryEngine()
	h := New(&Options{Broker: m.Connect()})
	defer h.Close()
	const topics, rounds = 4, 2000
	// Nothing is sent to them, so they need no connection.
	var all sync.WaitGroup
	for i := range topics {
		name := fmt.Sprint(i)
		leaver, comer := h.Join(new(websocket.Conn)), h.Join(new(websocket.Conn))
		all.Go(func() {
			for round := range rounds {
				if err := leaver.Subscribe(t.Context(), name); err != nil {
					t.Error(err)
				}
				var both sync.WaitGroup
				both.Go(func() { leaver.Unsubscribe(name) })
				both.Go(func() {
					if err := comer.Subscribe(t.Context(), name); err != nil {
						t.Error(err)
					}
				})
				both.Wait()
				h.link.mu.Lock()
				in := h.link.interests[name]
				ok := in != nil && in.want
				h.link.mu.Unlock()
				if !ok {
					t.Errorf("round %d: the topic has a subscriber, and the engine does not know", round)
					return
				}
				comer.Unsubscribe(name)
			}
		})
	}
	all.Wait()
}

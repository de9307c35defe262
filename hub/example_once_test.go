package hub_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/memorybroker"
)

// A message whose fate is in doubt is published again under its id.
func ExampleHub_PublishOnce() {
	h := hub.New(&hub.Options{Broker: memorybroker.New().Connect(), History: hub.History{Messages: 100}})
	defer h.Close()
	for attempt := 1; ; attempt++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := h.PublishOnce(ctx, "orders", "order 4711", websocket.MessageText, []byte("paid"))
		cancel()
		if !errors.Is(err, hub.ErrUnconfirmed) || attempt == 3 {
			fmt.Println(err)
			return
		}
	}
	// Output: <nil>
}

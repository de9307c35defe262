package hub

import (
	"fmt"

	"github.com/seed70bc5565/websocket"
)

// The functions that the application gives to a hub are called here only. A
// panic in one costs that call. It is counted, and becomes an error where the
// caller gets one. The methods are not inlined, to keep the frames of their
// callers small.

// caught is deferred by those who call a function of the application.
func (h *Hub) caught(err *error, kind error, name string) {
	if v := recover(); v != nil {
		h.panicked.Add(1)
		*err = fmt.Errorf("%w: %s: %v", kind, name, v)
	}
}

//go:noinline
func (h *Hub) callHistoryOf(topic string) (kept History, err error) {
	defer h.caught(&err, ErrCallbackPanicked, "HistoryOf")
	return h.opts.HistoryOf(topic), nil
}

//go:noinline
func (h *Hub) callPresenceOf(topic string) (present bool, err error) {
	defer h.caught(&err, ErrCallbackPanicked, "PresenceOf")
	return h.opts.PresenceOf(topic), nil
}

//go:noinline
func (h *Hub) callEncode(published *Message) (data []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			h.panicked.Add(1)
			data, err = nil, fmt.Errorf("%w: %v", ErrEncode, v)
		}
	}()
	return h.opts.Encode(nil, *published), nil
}

//go:noinline
func (h *Hub) callGreet(b *beginning) (typ websocket.MessageType, data []byte, err error) {
	defer h.caught(&err, ErrCallbackPanicked, "Greet")
	typ, data = b.from.Greet(b.got)
	return typ, data, nil
}

//go:noinline
func (h *Hub) callOnPresence(ev PresenceEvent) (typ websocket.MessageType, data []byte, err error) {
	defer h.caught(&err, ErrCallbackPanicked, "OnPresence")
	typ, data = h.opts.OnPresence(ev)
	return typ, data, nil
}

//go:noinline
func (h *Hub) callOnBroker(ev BrokerEvent) {
	var err error // that it is counted must do: OnBroker is who would be told
	defer h.caught(&err, ErrCallbackPanicked, "OnBroker")
	h.opts.OnBroker(ev)
}

package hub

import (
	"context"
	"errors"
	"fmt"
)

// A guard calls the Broker, which is the application's. A panic there costs
// that call only: it becomes an error that matches ErrBrokerPanicked.
type guard struct {
	broker     Broker
	positioner Positioner // broker, if it is one; else nil
	historian  Historian  // broker, if it is one; else nil
}

func newGuard(b Broker) *guard {
	g := &guard{broker: b}
	g.positioner, _ = b.(Positioner)
	g.historian, _ = b.(Historian)
	return g
}

// recovered is deferred by the methods of a guard.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("%w: %v", ErrBrokerPanicked, v)
	}
}

// Publish implements [Broker]. After a panic the engine may have the message.
func (g *guard) Publish(ctx context.Context, p Publication) (err error) {
	defer func() {
		if errors.Is(err, ErrBrokerPanicked) {
			err = fmt.Errorf("%w: %w", ErrUnconfirmed, err)
		}
	}()
	defer recovered(&err)
	return g.broker.Publish(ctx, p)
}

// Subscribe implements [Broker].
func (g *guard) Subscribe(ctx context.Context, topics []string) (err error) {
	defer recovered(&err)
	return g.broker.Subscribe(ctx, topics)
}

// Unsubscribe implements [Broker].
func (g *guard) Unsubscribe(ctx context.Context, topics []string) (err error) {
	defer recovered(&err)
	return g.broker.Unsubscribe(ctx, topics)
}

// Receive implements [Broker].
func (g *guard) Receive(ctx context.Context) (ev BrokerEvent, err error) {
	defer recovered(&err)
	return g.broker.Receive(ctx)
}

// Positions implements [Positioner]. The guard must have a positioner.
func (g *guard) Positions(ctx context.Context, topics []KeptTopic) (at []Position, err error) {
	defer recovered(&err)
	return g.positioner.Positions(ctx, topics)
}

// Missed implements [Historian]. The guard must have a historian.
func (g *guard) Missed(ctx context.Context, topic string, after Position, limits History) (b Backlog, err error) {
	defer recovered(&err)
	return g.historian.Missed(ctx, topic, after, limits)
}

package natsbroker

import (
	"errors"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed70bc5565/websocket/hub"
)

// The handlers of the connection's events run one after the other, on one
// goroutine.

// connected is called when the server is there, and again whenever it is back:
// all subscriptions have been sent to it.
func (b *Broker) connected(conn *nats.Conn) {
	b.mu.Lock()
	isOurs := b.conn == conn && !b.adopting
	b.mu.Unlock()
	if !isOurs {
		return // adopt calls again
	}
	conn.FlushTimeout(flushTimeout)   // if it fails, the connection ends and there will be another
	isConnected := conn.IsConnected() // not under mu: a write that is held up has the connection's lock
	b.mu.Lock()
	b.limit = 0
	if b.conn == conn && isConnected {
		b.listenLocked()
	}
	recovered := b.lost && b.conn == conn && isConnected
	if recovered {
		b.lost = false
	}
	b.mu.Unlock()
	if recovered {
		b.tell(hub.BrokerEvent{Kind: hub.BrokerRecovered})
	}
}

// disconnected is called when the server is lost, or cannot be reached.
func (b *Broker) disconnected(conn *nats.Conn, err error) {
	b.mu.Lock()
	first := !b.lost && !b.closed
	if first {
		b.lost = true
		close(b.gone)
		b.gone = make(chan struct{})
	}
	b.mu.Unlock()
	if err == nil {
		err = nats.ErrDisconnected
	}
	if first {
		b.tell(hub.BrokerEvent{Kind: hub.BrokerLost, Err: err})
	}
}

// closedByServer is called when the connection has ended and does not connect
// again. The server has said what nats.go takes for final.
func (b *Broker) closedByServer(conn *nats.Conn) {
	b.mu.Lock()
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return
	}
	b.disconnected(conn, conn.LastError())
	go b.dialAgain(conn.Opts.ReconnectWait)
}

// dialAgain makes another connection.
func (b *Broker) dialAgain(pause time.Duration) {
	for {
		select {
		case <-time.After(max(pause, 10*time.Millisecond)):
		case <-b.done:
			return
		}
		conn, err := dial(b.url, b.options)
		if err == nil {
			b.adopt(conn)
			return
		}
	}
}

// refusals are what the server refused while a Subscribe was under way.
type refusals struct {
	asked   map[string]error // the subjects that are asked for, and why they are refused
	tooMany int              // subscriptions beyond what the server allows
}

var (
	refusedSubscription = regexp.MustCompile(`[Ss]ubscription to "(\S+)"`)
	refusedPublish      = regexp.MustCompile(`[Pp]ublish to "(\S+)"`)
)

// failed is called for errors that do not end the connection.
func (b *Broker) failed(conn *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer) && sub != nil:
		b.tellOf(sub.Subject, hub.BrokerMissed, err)
	case errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		text := err.Error()
		if m := refusedPublish.FindStringSubmatch(text); m != nil {
			b.noteRefusal("", err)
			b.refusesBeats(m[1])
			b.tellOf(m[1], hub.BrokerFailed, err)
		} else if m := refusedSubscription.FindStringSubmatch(text); m == nil {
			if !b.noteRefusal("", err) { // the limit has changed: the server does not say for which topics
				b.tell(hub.BrokerEvent{Kind: hub.BrokerFailed, Err: err})
			}
		} else if !b.noteRefusal(m[1], err) { // the permissions have changed
			b.refusesBeats(m[1])
			b.tellOf(m[1], hub.BrokerMissed, err)
			b.askLater(m[1], err)
		}
	}
}

// askLater asks for a topic again, after a pause: the server has taken it away,
// and does not say when it gives it back.
func (b *Broker) askLater(subject string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	topic, ok := b.names[subject]
	if !ok || b.taken[topic] || b.closed {
		return
	}
	b.taken[topic] = true
	time.AfterFunc(b.pause, func() { b.askAgain(topic, err) })
}

// askAgain asks for a topic that the server has taken away because of err.
func (b *Broker) askAgain(topic string, err error) {
	b.asking.Lock()
	b.mu.Lock()
	delete(b.taken, topic)
	sub, wanted := b.topics[topic]
	conn := b.conn
	if wanted = wanted && !b.closed; wanted {
		b.topics[topic] = nil
	}
	b.mu.Unlock()
	if !wanted {
		b.asking.Unlock()
		return
	}
	if sub != nil {
		sub.Unsubscribe()
	}
	b.askLocked(conn, topic) // fails if the connection is closed: the next one asks
	b.asking.Unlock()
	if conn.FlushTimeout(flushTimeout) == nil {
		b.tellOf(b.subject(topic), hub.BrokerMissed, err) // if it is refused again, failed is called, too
	}
}

// noteRefusal notes that the server refused something: a subscription to
// subject, if it is not empty. It reports whether a Subscribe deals with that.
func (b *Broker) noteRefusal(subject string, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors++
	b.lastErr = err
	asked := b.refusals.asked != nil
	switch {
	case subject != "":
		if _, asked = b.refusals.asked[subject]; asked {
			b.refusals.asked[subject] = err
		}
	case asked && errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		b.refusals.tooMany++
	}
	return asked
}

const (
	handlerWait = time.Second            // for the handler of errors
	quiet       = 100 * time.Millisecond // without a further refusal: that was all
)

// refusedLocked returns which of topics the server refused. It has confirmed
// what was sent to it, and said each refusal before; before is how many there
// were at the begin.
func (b *Broker) refusedLocked(conn *nats.Conn, topics []string, before uint64) hub.TopicErrors {
	last := conn.LastError()
	isTooMany := errors.Is(last, nats.ErrMaxSubscriptionsExceeded)
	if !isTooMany && !errors.Is(last, nats.ErrPermissionViolation) {
		return nil
	}
	subscriptions := conn.NumSubscriptions()
	b.mu.Lock()
	fits := subscriptions <= b.limit
	b.mu.Unlock()
	if isTooMany && fits {
		return nil // that was another time
	}
	// The handler of errors runs behind the reader of the connection, which has
	// noted the latest of them.
	begin := time.Now()
	for seen, since := before, begin; time.Since(begin) < handlerWait; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		n, same := b.errors, b.lastErr == last
		b.mu.Unlock()
		if n != seen {
			seen, since = n, time.Now()
		}
		if same && (!isTooMany || time.Since(since) >= quiet) {
			break
		}
	}
	subscriptions = conn.NumSubscriptions()
	b.mu.Lock()
	defer b.mu.Unlock()
	refused := hub.TopicErrors{}
	for _, topic := range topics {
		if err := b.refusals.asked[b.subject(topic)]; err != nil {
			refused[topic] = err
		}
	}
	if b.refusals.tooMany > 0 {
		b.limit = subscriptions - b.refusals.tooMany - len(refused)
	}
	// The server takes subscriptions as they come: the last ones were too many.
	for i := len(topics) - 1; i >= 0 && b.refusals.tooMany > 0; i-- {
		if refused[topics[i]] == nil {
			refused[topics[i]] = nats.ErrMaxSubscriptionsExceeded
			b.refusals.tooMany--
		}
	}
	return refused
}

// tellOf lets the hub know of an event of one topic.
func (b *Broker) tellOf(subject string, kind hub.BrokerEventKind, err error) {
	b.mu.Lock()
	topic, ok := b.names[subject]
	b.mu.Unlock()
	if ok {
		b.tell(hub.BrokerEvent{Kind: kind, Topic: topic, Err: err})
	}
}

// tell lets the hub know of an event, behind the messages that came before it:
// what follows belongs to a new epoch. It waits for the pump.
func (b *Broker) tell(ev hub.BrokerEvent) {
	b.mu.Lock()
	b.events = append(b.events, ev)
	b.mu.Unlock()
	select {
	case b.messages <- b.marker:
	case <-b.done:
	}
}

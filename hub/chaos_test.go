package hub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A chaosBroker has an engine that keeps the messages of topic x. It loses live
// messages, brings some twice, takes its time to read, and fails.
type chaosBroker struct {
	*scriptBroker
	rand *rand.Rand // under mu

	mu     sync.Mutex
	epoch  uint64
	top    uint64
	kept   []BrokerEvent
	before map[Position]uint64 // of all messages: the offset of the one before
	fails  bool
}

var _ Historian = (*chaosBroker)(nil)

var errChaos = errors.New("chaos")

// chance reports true in n of 1,000 calls.
func (b *chaosBroker) chance(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rand.IntN(1000) < n
}

func (b *chaosBroker) number(n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rand.IntN(n)
}

// store stores a message. Offsets skip.
func (b *chaosBroker) store() BrokerEvent {
	b.mu.Lock()
	defer b.mu.Unlock()
	previous := b.top
	b.top += 1 + uint64(b.rand.IntN(3))
	at := Position{b.epoch, b.top}
	b.before[at] = previous
	payload := appendEnvelope(nil, websocket.MessageText, fmt.Append(nil, b.top))
	ev := BrokerEvent{Topic: "x", Position: at, Previous: previous, Payload: payload}
	if previous == 0 {
		ev.Previous = b.top - 1 // it is not known that there is none
	}
	b.kept = append(b.kept, ev)
	return ev
}

func (b *chaosBroker) Positions(ctx context.Context, topics []KeptTopic) ([]Position, error) {
	b.pause(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails {
		return nil, errChaos
	}
	if b.top == 0 {
		return make([]Position, len(topics)), nil
	}
	return slices.Repeat([]Position{{b.epoch, b.top}}, len(topics)), nil
}

func (b *chaosBroker) pause(ctx context.Context) {
	select {
	case <-time.After(time.Duration(b.number(100)) * time.Millisecond):
	case <-ctx.Done():
	}
}

func (b *chaosBroker) Missed(ctx context.Context, topic string, after Position, limits History) (l Backlog, err error) {
	b.pause(ctx)
	defer b.pause(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails {
		return Backlog{}, errChaos
	}
	if b.top == 0 {
		return Backlog{}, nil
	}
	isOurs := after.Epoch == b.epoch
	if !isOurs {
		after = Position{}
	}
	missed := b.kept
	for len(missed) > 0 && missed[0].Position.Offset <= after.Offset {
		missed = missed[1:]
	}
	missed = missed[max(0, len(missed)-limits.Messages):]
	l = Backlog{Top: Position{b.epoch, b.top}, Messages: slices.Clone(missed)}
	if len(missed) > 0 {
		l.Complete = isOurs && b.before[missed[0].Position] <= after.Offset
	} else {
		l.Complete = isOurs && after.Offset == b.top
	}
	return l, nil
}

// A visitor is a client: it goes on where it was.
type visitor struct {
	hub  *Hub
	page *recorder
	s    *Subscriber

	last Position
	told int
	seen int
}

func (v *visitor) come(t *testing.T) {
	v.page = &recorder{}
	c, err := websocket.Accept(&hijacker{conn: v.page}, upgrade(t), &websocket.AcceptOptions{PingInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	v.s = v.hub.Join(c)
	s, after := v.s, v.last
	go s.SubscribeFrom(t.Context(), "x", SubscribeOptions{
		After: after,
		Greet: func(st SubscribeResult) (websocket.MessageType, []byte) {
			return websocket.MessageText, fmt.Appendf(nil, "begin %v %t", st.Position, st.Complete)
		},
	})
}

// read reads what has come, and checks it: nothing is twice, and nothing is
// missing without the client being told.
func (v *visitor) read(t *testing.T, b *chaosBroker) {
	for _, text := range v.page.texts() {
		f := strings.Split(text, " ")
		if f[0] == "begin" {
			if f[2] != "true" {
				v.told++
				v.last, _ = ParsePosition(f[1])
			}
			continue
		}
		at, _ := ParsePosition(f[0])
		previous, _ := strconv.ParseUint(f[1], 10, 64)
		b.mu.Lock()
		before, ok := b.before[at]
		b.mu.Unlock()
		switch {
		case !ok || f[2] != fmt.Sprint(at.Offset):
			t.Errorf("%q: there is no such message", text)
		case at.Epoch != v.last.Epoch:
			v.told++
		case at.Offset <= v.last.Offset:
			t.Errorf("%v came behind %v", at, v.last)
		case previous > v.last.Offset:
			v.told++
		case before > v.last.Offset:
			t.Errorf("%v came behind %v, says %d was before, and it was %d", at, v.last, previous, before)
		}
		v.last = at
		v.seen++
	}
}

// The engine loses messages, brings them twice, loses its data, cannot be read;
// the clients come and go. Each has every message once and in order, or was
// told. In the end each has the latest one.
func TestChaos(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chaos(t, seed, seed%4 == 0)
			})
		})
	}
}

func chaos(t *testing.T, seed uint64, calm bool) {
	b := &chaosBroker{
		scriptBroker: &scriptBroker{events: make(chan BrokerEvent, 100_000)},
		rand:         rand.New(rand.NewPCG(seed, 18)),
		epoch:        7,
		before:       map[Position]uint64{},
	}
	h := New(&Options{
		Broker: b, History: History{Messages: []int{5, 50, 5000}[seed%3]}, QueueMessages: -1, QueueBytes: -1,
		Encode: func(dst []byte, m Message) []byte {
			return fmt.Appendf(dst, "%v %d %s", m.Position, m.Previous, m.Data)
		},
	})
	defer h.Close()
	visitors := make([]*visitor, 8)
	for i := range visitors {
		visitors[i] = &visitor{hub: h}
		visitors[i].come(t)
	}
	for range 3000 {
		ev := b.store()
		if !b.chance(10) { // or it is lost on the way
			b.events <- ev
			if b.chance(30) {
				b.events <- ev
			}
		}
		switch {
		case b.chance(10):
			b.events <- BrokerEvent{Kind: BrokerMissed, Topic: "x"}
		case b.chance(5):
			b.events <- BrokerEvent{Kind: BrokerLost}
			for range b.number(20) {
				b.store()
				time.Sleep(time.Millisecond)
			}
			b.events <- BrokerEvent{Kind: BrokerRecovered}
		case !calm && b.chance(3): // it loses its data
			b.events <- BrokerEvent{Kind: BrokerLost}
			b.mu.Lock()
			b.epoch, b.top, b.kept = b.epoch+1, 0, nil
			b.mu.Unlock()
			time.Sleep(time.Duration(b.number(2000)) * time.Millisecond)
			b.events <- BrokerEvent{Kind: BrokerRecovered}
		case !calm && b.chance(20): // or what is old
			b.mu.Lock()
			b.kept = slices.Clone(b.kept[b.rand.IntN(len(b.kept)):])
			b.mu.Unlock()
		case !calm && b.chance(10):
			b.mu.Lock()
			b.fails = !b.fails
			b.mu.Unlock()
		}
		if b.chance(50) { // a client comes back
			v := visitors[b.number(len(visitors))]
			v.s.Leave()
			synctest.Wait()
			v.read(t, b)
			v.come(t)
		}
		time.Sleep(time.Duration(b.number(30)) * time.Millisecond)
	}
	b.mu.Lock()
	b.fails = false
	b.mu.Unlock()
	b.events <- b.store()
	time.Sleep(3 * compareEvery)
	synctest.Wait()
	told, seen := 0, 0
	for i, v := range visitors {
		v.read(t, b)
		if want := (Position{b.epoch, b.top}); v.last != want {
			t.Errorf("client %d has %v, want %v", i, v.last, want)
		}
		told += v.told
		seen += v.seen
	}
	t.Logf("told %d, seen %d of %d", told, seen, len(visitors)*len(b.before))
	if calm && seed%3 == 2 && told > len(visitors) { // the history is long enough
		t.Errorf("told %d times, and the engine has all", told)
	}
}

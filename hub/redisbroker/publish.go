package redisbroker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
)

// The keys of a topic are in one slot of a cluster. They are the hash of its
// count, the stream of its messages, and one key for each id of a publisher.
//
// The hash holds the epoch e, the offset o of the latest message, and n, the
// bytes in the stream. Its fields m, b and a bound the history: messages, bytes
// and age. Its field r is the identity of the server's data, master_replid. The
// server changes it at each restart and each promotion. A server that has
// another than the hash may have lost messages, so the topic begins an epoch.

// identity is the beginning of both scripts. Without it a rollback would not be
// noticed, so there is no position then.
const identity = `
local info = redis.pcall('INFO', 'replication')
local run = type(info) == 'string' and string.match(info, 'master_replid:(%x+)')
if not run then
	return redis.error_reply('NOPERM no master_replid: the user needs INFO')
end
`

// publishing appends a message to the stream, numbers it, and publishes it. The
// order of the stream is that of delivery. A topic without a history is
// published to as it is, unless it has one elsewhere.
//
// KEYS: hash, stream, id. ARGV: channel, payload, a new epoch, age of the hash,
// messages, bytes and age of the history, whether there is an id, PUBLISH or
// SPUBLISH. The id is noted last: a script that fails on the way has not
// counted the message.
var publishing = redis.NewScript(`
local once = ARGV[8] == '1'
if once and redis.call('EXISTS', KEYS[3]) == 1 then
	return 0
end
local function done()
	if once then
		redis.call('SET', KEYS[3], '1', 'PX', 120000)
	end
	return 1
end
local messages = tonumber(ARGV[5])
local h = redis.call('HMGET', KEYS[1], 'e', 'o', 'r', 'm', 'b', 'a', 'n')
if messages <= 0 and not h[1] then
	redis.call(ARGV[9], ARGV[1], ' ' .. ARGV[2])
	return done()
end
` + identity + `
local e, o, n = h[1], tonumber(h[2] or '0'), tonumber(h[7] or '0')
if not e or h[3] ~= run then
	e, o, n = ARGV[3], 0, 0
	redis.call('DEL', KEYS[2])
end
local bytes, age = tonumber(ARGV[6]), tonumber(ARGV[7])
if messages <= 0 then
	messages, bytes, age = tonumber(h[4]), tonumber(h[5]), tonumber(h[6])
end
o = o + 1
n = n + #ARGV[2]
local offset = string.format('%.0f', o)
local now = redis.call('TIME')
redis.call('XADD', KEYS[2], offset .. '-0', 't', now[1] .. string.sub('000000' .. now[2], -6, -4), 'p', ARGV[2])
local len = redis.call('XLEN', KEYS[2])
if len == 1 then
	n = #ARGV[2] -- what was there before has expired
end
while len > messages or bytes >= 0 and n > bytes and len > 0 do
	local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
	redis.call('XDEL', KEYS[2], oldest[1])
	n = n - #oldest[2][4]
	len = len - 1
end
redis.call('HSET', KEYS[1], 'e', e, 'o', offset, 'r', run, 'm', messages, 'b', bytes, 'a', age, 'n', n)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], age >= 0 and age or ARGV[4])
redis.call(ARGV[9], ARGV[1], e .. '-' .. offset .. ' ' .. ARGV[2])
return done()
`)

// reading returns the epoch and the offset of the latest message. If ARGV[1] is
// not zero it also returns as many messages, and the server's time in
// milliseconds. They are the latest behind the offset ARGV[3] of the epoch
// ARGV[2]. If the epoch is another, they are the latest of all. KEYS: hash,
// stream.
const reading = identity + `
local h = redis.call('HMGET', KEYS[1], 'e', 'o', 'r')
if not h[1] or h[3] ~= run then
	return {}
end
if ARGV[1] == '0' then
	return {h[1], h[2]}
end
local now = redis.call('TIME')
local from = '-'
if ARGV[2] == h[1] then
	from = '(' .. ARGV[3] .. '-0'
end
return {h[1], h[2], redis.call('XREVRANGE', KEYS[2], '+', from, 'COUNT', ARGV[1]),
	now[1] .. string.sub('000000' .. now[2], -6, -4)}
`

// keys returns the keys of a topic. The part in braces decides on the slot, and
// must not be empty. The length of the topic tells where the id begins: no
// other topic and id have the same key.
func (b *Broker) keys(topic, id string) []string {
	tag := tagOf(topic)
	return []string{
		b.opts.Prefix + "position:" + tag,
		b.opts.Prefix + "stream:" + tag,
		b.opts.Prefix + "id:" + strconv.Itoa(len(topic)) + ":" + tag + id,
	}
}

// tagOf returns the part of the names of a topic's keys that decides on the
// slot.
func tagOf(topic string) string { return "{t:" + topic + "}" }

// Publish implements [hub.Broker]. It returns when the server has the message.
// If ctx ends before, or the connection breaks, the server may have it all the
// same: then the error matches [hub.ErrUnconfirmed].
func (b *Broker) Publish(ctx context.Context, p hub.Publication) error {
	if b.unfit != nil {
		return b.unfit
	}
	bytes, age := p.History.Bytes, p.History.Age
	if bytes == 0 {
		bytes = defaultBytes
	}
	if age == 0 {
		age = defaultAge
	}
	id, hasID := p.ID, "0"
	if id == "" && b.resends {
		id = strconv.FormatUint(random(), 36)
	}
	if id != "" {
		hasID = "1"
	}
	send := "PUBLISH"
	if b.shards != nil {
		send = "SPUBLISH"
	}
	publish := func() (err error) {
		defer caught(&err)
		return publishing.Run(ctx, b.client, b.keys(p.Topic, id), b.channel(p.Topic), p.Payload, newEpoch(),
			b.opts.PositionAge.Milliseconds(), p.History.Messages, bytes, milliseconds(age), hasID, send).Err()
	}
	err := ctx.Err()
	if err == nil && ctx.Done() == nil {
		err = unconfirmed(publish())
	} else if err == nil {
		// go-redis heeds the deadline of a context and not its cancellation.
		done := make(chan error, 1)
		go func() { done <- publish() }()
		select {
		case err = <-done:
			err = unconfirmed(err)
			if at, ok := ctx.Deadline(); ok && errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(at) {
				err = fmt.Errorf("%w: %w", err, context.DeadlineExceeded) // the connection noticed it first
			}
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", hub.ErrUnconfirmed, ctx.Err())
		}
	}
	if err != nil {
		if b.shards != nil && redis.IsClusterDownError(err) {
			b.shards.cluster.ReloadState(b.ctx) // another node may have the slot: see stands
		}
		return fmt.Errorf("redisbroker: %w", err)
	}
	return nil
}

const (
	defaultBytes = 1 << 20         // of a history, as in package hub
	defaultAge   = 5 * time.Minute // of a history, as in package hub
)

// milliseconds returns the age of a history for the script, in which -1 is no
// limit. An age of 0 would delete the stream at once, so it rounds up.
func milliseconds(age time.Duration) int64 {
	if age < 0 {
		return -1
	}
	ms := age.Milliseconds()
	if time.Duration(ms)*time.Millisecond < age {
		ms++
	}
	return ms
}

// unconfirmed adds hub.ErrUnconfirmed to an error after which the server may
// have the message: all but the server's own answers and those of dialling.
func unconfirmed(err error) error {
	var reply redis.Error
	var op *net.OpError
	switch {
	case err == nil, errors.As(err, &reply), errors.Is(err, redis.ErrClosed), errors.Is(err, redis.ErrPoolTimeout),
		errors.As(err, &op) && op.Op == "dial":
		return err
	}
	return fmt.Errorf("%w: %w", hub.ErrUnconfirmed, err)
}

// Positions implements [hub.Positioner]. It knows of no position of a topic
// whose keys the server forbids to its user. In a cluster the error is a
// [hub.TopicErrors] if some nodes or slots do not answer.
func (b *Broker) Positions(ctx context.Context, topics []hub.KeptTopic) ([]hub.Position, error) {
	if b.unfit != nil {
		return nil, b.unfit
	}
	positions := make([]hub.Position, 0, len(topics))
	var failed hub.TopicErrors
	for len(topics) > 0 {
		n := min(len(topics), batch)
		replies := make([]*redis.Cmd, n)
		b.client.Pipelined(ctx, func(p redis.Pipeliner) error { // its error is that of one reply
			for i, topic := range topics[:n] {
				replies[i] = p.Eval(ctx, reading, b.keys(topic.Topic, "")[:2], 0, "", 0)
			}
			return nil
		})
		for i, reply := range replies {
			top, _, _, err := parseReading(reply)
			if err != nil && !isForbidden(err) {
				err = fmt.Errorf("redisbroker: %w", err)
				if b.shards == nil || ctx.Err() != nil {
					return nil, err
				}
				if failed == nil {
					failed = hub.TopicErrors{}
				}
				failed[topics[i].Topic] = err
			}
			positions = append(positions, top)
		}
		topics = topics[n:]
	}
	if failed != nil {
		return positions, failed
	}
	return positions, nil
}

// isForbidden reports whether the server has refused a command to its user.
func isForbidden(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "NOPERM")
}

// missing is the script of Missed.
var missing = redis.NewScript(reading)

// Missed implements [hub.Historian].
func (b *Broker) Missed(ctx context.Context, topic string, after hub.Position, limits hub.History) (hub.Backlog, error) {
	if b.unfit != nil {
		return hub.Backlog{}, b.unfit
	}
	epoch := strconv.FormatUint(after.Epoch, 16)
	reply := missing.Run(ctx, b.client, b.keys(topic, "")[:2], limits.Messages, epoch, strconv.FormatUint(after.Offset, 10))
	top, entries, now, err := parseReading(reply)
	if err != nil {
		return hub.Backlog{}, fmt.Errorf("redisbroker: %w", err)
	}
	backlog := hub.Backlog{Top: top, Now: now}
	bytes := 0
	for _, entry := range entries { // the latest first
		ev, err := parseEntry(entry)
		if err != nil {
			return hub.Backlog{}, fmt.Errorf("redisbroker: %w", err)
		}
		if bytes += len(ev.Payload); limits.Bytes > 0 && bytes > limits.Bytes {
			break
		}
		ev.Topic, ev.Position.Epoch = topic, top.Epoch
		backlog.Messages = append(backlog.Messages, ev)
	}
	slices.Reverse(backlog.Messages)
	if after.Epoch == top.Epoch && after.Epoch != 0 {
		backlog.Complete = after.Offset+uint64(len(backlog.Messages)) == top.Offset
	}
	return backlog, nil
}

var errReply = errors.New("the server's answer is not one of the script")

// parseReading reads the answer of the script.
func parseReading(reply *redis.Cmd) (top hub.Position, entries []any, now time.Time, err error) {
	parts, err := reply.Slice()
	if err != nil || len(parts) == 0 {
		return hub.Position{}, nil, time.Time{}, err
	}
	if len(parts) >= 2 {
		epoch, _ := parts[0].(string)
		offset, _ := parts[1].(string)
		if top, err = hub.ParsePosition(epoch + "-" + offset); err == nil {
			if len(parts) > 3 {
				entries, _ = parts[2].([]any)
				text, _ := parts[3].(string)
				if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
					now = time.UnixMilli(ms)
				}
			}
			return top, entries, now, nil
		}
	}
	return hub.Position{}, nil, time.Time{}, errReply
}

// parseEntry reads an entry of a stream: its id, offset and a zero, and its
// fields, t and p.
func parseEntry(entry any) (ev hub.BrokerEvent, err error) {
	parts, _ := entry.([]any)
	if len(parts) != 2 {
		return ev, errReply
	}
	id, _ := parts[0].(string)
	fields, _ := parts[1].([]any)
	if len(fields) != 4 || len(id) < 3 {
		return ev, errReply
	}
	at, _ := fields[1].(string)
	payload, ok := fields[3].(string)
	offset, err1 := strconv.ParseUint(id[:len(id)-2], 10, 64)
	ms, err2 := strconv.ParseInt(at, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return ev, errReply
	}
	ev.Position.Offset, ev.Time, ev.Payload = offset, time.UnixMilli(ms), []byte(payload)
	return ev, nil
}

// newEpoch returns an epoch as the text of a position has it.
func newEpoch() string { return strconv.FormatUint(random()|1, 16) }

func random() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:])
}

package redisbroker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
)

// numbered publishes a message with its position in front. The key holds the epoch and the offset of the topic; the
// epoch that the caller brings is taken if there is none.
var numbered = redis.NewScript(`
local o = redis.call('HINCRBY', KEYS[1], 'o', 1)
local e = redis.call('HGET', KEYS[1], 'e')
if not e then
	e = ARGV[3]
	redis.call('HSET', KEYS[1], 'e', e)
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[1], e .. '-' .. string.format('%.0f', o) .. ' ' .. ARGV[2])
return o
`)

// Publish implements [hub.Broker]. It returns when the server has the message. If ctx ends before, or the connection
// breaks, the server may have it all the same. A server that does not answer is waited for until ctx's deadline, or
// the ReadTimeout of the client if that is earlier; a ctx that is cancelled does not cut that short.
func (b *Broker) Publish(ctx context.Context, p hub.Publication) error {
	var err error
	if p.History.Messages > 0 {
		err = numbered.Run(ctx, b.client, []string{b.opts.Prefix + "position:" + p.Topic},
			b.channel(p.Topic), p.Payload, newEpoch(), b.opts.PositionAge.Milliseconds()).Err()
	} else {
		err = b.client.Publish(ctx, b.channel(p.Topic), append([]byte{' '}, p.Payload...)).Err()
	}
	if err != nil {
		return fmt.Errorf("redisbroker: %w", err)
	}
	return nil
}

// Positions implements [hub.Positioner].
func (b *Broker) Positions(ctx context.Context, topics []string) ([]hub.Position, error) {
	positions := make([]hub.Position, 0, len(topics))
	for len(topics) > 0 {
		n := min(len(topics), batch)
		replies := make([]*redis.SliceCmd, n)
		_, err := b.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, topic := range topics[:n] {
				replies[i] = p.HMGet(ctx, b.opts.Prefix+"position:"+topic, "e", "o")
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("redisbroker: %w", err)
		}
		for _, reply := range replies {
			epoch, _ := reply.Val()[0].(string)
			offset, _ := reply.Val()[1].(string)
			at, err := hub.ParsePosition(epoch + "-" + offset)
			if err != nil {
				at = hub.Position{} // there is none
			}
			positions = append(positions, at)
		}
		topics = topics[n:]
	}
	return positions, nil
}

// newEpoch returns an epoch as the text of a position has it.
func newEpoch() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return strconv.FormatUint(binary.NativeEndian.Uint64(b[:])|1, 16)
}

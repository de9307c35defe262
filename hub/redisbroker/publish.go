package redisbroker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
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
// breaks, the server may have it all the same.
func (b *Broker) Publish(ctx context.Context, topic string, payload []byte, number bool) error {
	var err error
	if number {
		err = numbered.Run(ctx, b.client, []string{b.opts.Prefix + "position:" + topic},
			b.channel(topic), payload, newEpoch(), b.opts.PositionAge.Milliseconds()).Err()
	} else {
		err = b.client.Publish(ctx, b.channel(topic), append([]byte{' '}, payload...)).Err()
	}
	if err != nil {
		return fmt.Errorf("redisbroker: %w", err)
	}
	return nil
}

// newEpoch returns an epoch as the text of a position has it.
func newEpoch() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return strconv.FormatUint(binary.NativeEndian.Uint64(b[:])|1, 16)
}

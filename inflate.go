package websocket

import (
	"context"
	"errors"
	"io"

	"github.com/seed70bc5565/websocket/internal/bufpool"
	"github.com/seed70bc5565/websocket/internal/flate"
)

// Reading of compressed messages (RFC 7692, section 7.2.2). They are inflated
// as they arrive. So what is kept of a message is what it inflates to, never
// its payload, and inflation stops at the read limit.

// clearPayload returns the payload of the current frame that is in the buffer,
// unmasked where it lies. It fetches some if there is none. The frame must have
// payload left.
func (c *Conn) clearPayload(ctx context.Context) ([]byte, error) {
	r := &c.r
	p, err := c.peekPayload(ctx)
	if err != nil {
		return nil, err
	}
	if !c.r.half.client {
		r.key = mask(p[r.rest.clear:], r.key)
	}
	r.rest.clear = len(p)
	return p, nil
}

// inflateRest appends what is left of the message in progress, a compressed
// one, to dst, which ends with all that it has inflated to before. It is the
// twin of collect.
func (c *Conn) inflateRest(ctx context.Context, dst []byte, pooled bool) ([]byte, error) {
	r := &c.r
	ended := false
	for {
		more, err := c.nextPayload(ctx)
		if err != nil {
			return dst, err
		}
		if !more {
			break
		}
		chunk, err := c.clearPayload(ctx)
		if err != nil {
			return dst, err
		}
		r.usePayload(len(chunk))
		ended = r.fin && r.remain == 0
		if dst, err = c.inflateChunk(ctx, dst, chunk, ended, pooled); err != nil {
			return dst, err
		}
	}
	if !ended { // the last frame is empty
		var err error
		if dst, err = c.inflateChunk(ctx, dst, nil, true, pooled); err != nil {
			return dst, err
		}
	}
	r.lastSize = clamp32(len(dst))
	r.rest.inflated = int64(len(dst))
	return dst, c.endMessage(ctx)
}

// inflateChunk appends what chunk inflates to to dst.
func (c *Conn) inflateChunk(ctx context.Context, dst, chunk []byte, last, pooled bool) ([]byte, error) {
	r := &c.r
	if pooled {
		// Room for as much as the last message had, so that only a longer
		// message takes new memory.
		if want := max(int(r.lastSize), 4*len(chunk)); cap(dst) < want && want <= bufpool.Huge {
			dst = bufpool.Grow(dst, want)
		}
	}
	before := len(dst)
	out, err := r.rest.dec.AppendChunk(dst, chunk, last, r.inflateLimit())
	if pooled && cap(dst) > 0 && &out[:1][0] != &dst[:1][0] {
		bufpool.Put(dst)
	}
	if err != nil {
		return out, c.inflateFailed(ctx, err)
	}
	if r.validate && !r.text.Write(out[before:]) {
		return out, c.fail(ctx, errTextUTF8)
	}
	return out, nil
}

// inflateFailed fails the connection. Corrupt data is 1007, because "the data
// within a message was not consistent with its type" says just that (RFC 6455,
// section 7.4.1). The frames are as they should be, but their payload is not.
func (c *Conn) inflateFailed(ctx context.Context, err error) error {
	if errors.Is(err, flate.ErrTooLarge) {
		return c.fail(ctx, errMessageTooBig)
	}
	return c.fail(ctx, ProtocolError{StatusInvalidFramePayloadData, err.Error()})
}

// inflateInto streams. It puts what comes next of the message in progress into
// p, which is not empty. At the end of the message it returns io.EOF.
func (c *Conn) inflateInto(ctx context.Context, p []byte) (int, error) {
	r := &c.r
	limit := r.limit.Load()
	for {
		more, err := c.nextPayload(ctx)
		if err != nil {
			return 0, err
		}
		var chunk []byte
		if more {
			if chunk, err = c.clearPayload(ctx); err != nil {
				return 0, err
			}
		}
		last := r.fin && r.remain == int64(len(chunk))
		if limit >= 0 {
			// One byte more than is allowed, to see whether there is one. The
			// limit may have been lowered meanwhile.
			if left := max(limit-r.rest.inflated, 0); left < int64(len(p)) {
				p = p[:left+1]
			}
		}
		n, used, err := r.rest.dec.Read(p, chunk, last)
		r.usePayload(used)
		r.rest.inflated += int64(n)
		switch {
		case err != nil && err != io.EOF:
			return 0, c.inflateFailed(ctx, err)
		case limit >= 0 && r.rest.inflated > limit:
			return 0, c.fail(ctx, errMessageTooBig)
		case r.validate && !r.text.Write(p[:n]):
			return 0, c.fail(ctx, errTextUTF8)
		case err == io.EOF:
			if err := c.endMessage(ctx); err != nil {
				return 0, err
			}
			return n, io.EOF
		case n > 0:
			return n, nil
		}
	}
}

// discardInflated discards what is left of a compressed message that was begun
// with Reader. It is inflated all the same: later messages may refer to it.
func (c *Conn) discardInflated(ctx context.Context) error {
	scratch := bufpool.Get(bufpool.Small)
	defer bufpool.Put(scratch)
	for {
		if _, err := c.inflateInto(ctx, scratch); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

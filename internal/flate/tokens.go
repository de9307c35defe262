package flate

import "encoding/binary"

// tokens inflates literals and pairs, and returns without an error at the end
// of the block.
func (z *inflater) tokens(out []byte, at, base int, past *ring) (int, error) {
	if z.state == stateMatch {
		var err error
		if at, err = z.match(out, at, base, past); err != nil {
			return at, err
		}
	}
	for {
		var err error
		if at, err = z.fast(out, at, base, past); err != errInput {
			return at, err
		}
		// Near the end of input or output: one at a time, taking nothing before
		// all of it is there.
		enough := z.need(48)
		e := z.lit[z.acc&(1<<z.litBits-1)]
		if e&isLink != 0 && e.take() <= z.n {
			e = z.lit[e.value()+uint(z.acc>>e.take()&(1<<e.codeBits()-1))]
		}
		n := e.take()
		switch {
		case n > z.n: // a link, where its bits are not all there, too
			return at, errInput
		case e&isLiteral != 0:
			if at == len(out) {
				return at, errFull
			}
			out[at] = byte(e.value())
			at++
			z.take(n)
			continue
		case e&isSpecial != 0:
			if e.value() != 0 {
				return at, errCode
			}
			z.take(n)
			return at, nil
		}
		acc := z.acc >> n
		d := z.dist[acc&(1<<z.distBits-1)]
		if d&isLink != 0 {
			d = z.dist[d.value()+uint(acc>>d.take()&(1<<d.codeBits()-1))]
		}
		if !enough && n+d.take() > z.n {
			return at, errInput
		}
		if d&isSpecial != 0 {
			return at, errCode
		}
		z.length, z.distance = e.full(z.acc), d.full(acc)
		z.take(n)
		z.take(d.take())
		if z.distance > z.window || z.distance > at-base && (past == nil || z.distance > at-base+past.len()) {
			return at, errDistance
		}
		if at, err = z.match(out, at, base, past); err != nil {
			return at, err
		}
	}
}

// match copies what is left of the match under way. Its distance has been
// checked.
func (z *inflater) match(out []byte, at, base int, past *ring) (int, error) {
	for z.length > 0 {
		room := out[at:min(len(out), at+z.length)]
		if len(room) == 0 {
			z.state = stateMatch
			return at, errFull
		}
		n := 0
		if back := z.distance - (at - base); back > 0 {
			n = past.copy(room, back)
		} else {
			// Source and destination overlap where the distance is less than
			// the length: a copy takes what is there, the next one goes on.
			n = copy(room, out[at-z.distance:at])
		}
		at += n
		z.length -= n
	}
	z.state = stateTokens
	return at, nil
}

// fast is tokens for as long as whole words can be read. When it stops, no more
// than a match is left to write. It returns errInput where that ends, and nil
// at the end of the block.
func (z *inflater) fast(out []byte, at, base int, past *ring) (int, error) {
	var (
		src      = z.src
		acc, n   = z.acc, z.n
		lit      = z.lit
		dist     = z.dist
		litMask  = uint64(1)<<z.litBits - 1
		distMask = uint64(1)<<z.distBits - 1
		err      = errInput
	)
	for len(src) >= 8 && at+3 <= len(out) {
		// At least 56 bits: as many bytes as fit. The bits above n are those of
		// the next byte, which will be put there once more.
		acc |= binary.LittleEndian.Uint64(src) << (n & 63)
		src = src[(63-n)>>3:]
		n |= 56

		e := lit[acc&litMask]
		if e&isLiteral != 0 {
			// Up to three literals, of at most 15 bits each.
			out[at] = byte(e >> 16)
			acc >>= e & 63
			n -= e.take()
			at++
			e = lit[acc&litMask]
			if e&isLiteral != 0 {
				out[at] = byte(e >> 16)
				acc >>= e & 63
				n -= e.take()
				at++
				e = lit[acc&litMask]
				if e&isLiteral != 0 {
					out[at] = byte(e >> 16)
					acc >>= e & 63
					n -= e.take()
					at++
				}
			}
			continue
		}
		if e&isSpecial != 0 {
			if e&isLink != 0 {
				e = lit[e.value()+uint(acc>>(e&63)&(1<<e.codeBits()-1))]
			}
			if e&isLiteral != 0 {
				out[at] = byte(e >> 16)
				acc >>= e & 63
				n -= e.take()
				at++
				continue
			}
			if e&isSpecial != 0 {
				if e.value() != 0 {
					err = errCode
					break
				}
				acc >>= e & 63
				n -= e.take()
				err = nil
				break
			}
		}
		length := e.full(acc)
		acc >>= e & 63
		n -= e.take()
		d := dist[acc&distMask]
		if d&isSpecial != 0 {
			if d&isLink != 0 {
				d = dist[d.value()+uint(acc>>(d&63)&(1<<d.codeBits()-1))]
			}
			if d&isSpecial != 0 {
				err = errCode
				break
			}
		}
		distance := d.full(acc)
		acc >>= d & 63
		n -= d.take()

		from, window := at-distance, out
		whole := at+length+8 <= len(out) // it may be copied by words
		if from < base || distance > z.window {
			// It begins before the message.
			back := base - from
			if distance > z.window || past == nil || back > past.len() {
				err = errDistance
				break
			}
			window = past.buf
			if from = past.next - back; from < 0 {
				from += len(window)
			}
			whole = whole && length <= back && from+length+8 <= len(window)
		}
		if !whole {
			z.length, z.distance = length, distance
			if at, err = z.match(out, at, base, past); err != nil {
				break
			}
			err = errInput
			continue
		}
		end := at + length
		if distance >= 8 {
			for at < end {
				binary.LittleEndian.PutUint64(out[at:], binary.LittleEndian.Uint64(window[from:]))
				at += 8
				from += 8
			}
		} else {
			for ; at < end; at++ {
				out[at] = window[from]
				from++
			}
		}
		at = end
	}
	z.src, z.acc, z.n = src, acc&(1<<(n&63)-1), n
	return at, err
}

package flate

// A ring holds the last bytes that went through a window, all of it once that
// many have. A sender may refer to every byte of the window it negotiated. It
// grows with what it has held, up to the window.
type ring struct {
	buf  []byte // until it is as long as the window, oldest first; from then on a ring
	next int    // of a ring, where the oldest byte is and the next one goes
}

// len returns how many bytes can be reached.
func (r *ring) len() int { return len(r.buf) }

// add appends p.
func (r *ring) add(p []byte, window int) {
	if over := len(p) - window; over > 0 {
		p = p[over:]
	}
	if free := window - len(r.buf); free > 0 {
		n := min(free, len(p))
		if need := len(r.buf) + n; need > cap(r.buf) {
			r.buf = append(make([]byte, 0, growTo(cap(r.buf), need, window)), r.buf...)
		}
		r.buf = append(r.buf, p[:n]...)
		p = p[n:]
	}
	for len(p) > 0 {
		n := copy(r.buf[r.next:], p)
		p = p[n:]
		r.next += n
		if r.next == len(r.buf) {
			r.next = 0
		}
	}
}

// copy copies to dst what begins back bytes before the end, back at most
// r.len(). It returns how many bytes that are: at most back.
func (r *ring) copy(dst []byte, back int) int {
	dst = dst[:min(len(dst), back)]
	at := r.next - back
	if at < 0 {
		at += len(r.buf)
	}
	n := copy(dst, r.buf[at:])
	return n + copy(dst[n:], r.buf)
}

// growTo returns the capacity for a slice of capacity c that has to hold n
// bytes and will never hold more than most. The steps are large, and a small
// window is one step. Each step leaves memory behind that is too small for the
// next, between what other connections keep.
func growTo(c, n, most int) int {
	if most <= 1<<smallWindow {
		return most
	}
	c = max(256, c)
	for c < n {
		c *= 4
	}
	return min(c, most)
}

package flate

// A history is what an encoder keeps of its window: the last bytes that went
// through it.
type history struct {
	buf []byte // oldest first, at most keptHistory(bits)
}

// keptHistory returns how many bytes of a window of 2^bits are kept. No option
// makes an encoder use all of it. Of 4 KB, the window of a program that saves
// memory, half is kept. On the wire that is one in twenty-five worse.
func keptHistory(bits uint8) int {
	if bits == smallWindow {
		return 1 << bits >> 1
	}
	return 1 << bits
}

// add appends p, dropping the oldest bytes beyond the window. The slice grows
// with what it has held, up to the window. Once that is full an eighth of it is
// dropped at a time, or every short message would move all of it.
func (h *history) add(p []byte, bits uint8) {
	window := keptHistory(bits)
	if len(p) >= window {
		h.grow(window, window)
		h.buf = append(h.buf[:0], p[len(p)-window:]...)
		return
	}
	if over := len(h.buf) + len(p) - window; over > 0 {
		drop := min(max(over, window/8), len(h.buf))
		h.buf = h.buf[:copy(h.buf, h.buf[drop:])]
	}
	h.grow(len(h.buf)+len(p), window)
	h.buf = append(h.buf, p...)
}

// grow makes room for n bytes in all, n at most window.
func (h *history) grow(n, window int) {
	if n <= cap(h.buf) {
		return
	}
	buf := make([]byte, len(h.buf), growTo(cap(h.buf), n, window))
	copy(buf, h.buf)
	h.buf = buf
}

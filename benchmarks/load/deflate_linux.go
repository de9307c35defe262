package load

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Echoes of compressed messages. Servers may compress their answers as they
// like, so answers are counted by their headers while the clock runs. Before it
// runs, one connection's answers are inflated and compared.

// deflateTexts is how many different messages there are.
const deflateTexts = 64

// Texts returns different JSON texts of about n bytes each, the same in each
// run. They are orders of a shop, which share the names of their fields and
// some values.
func Texts(n int) [][]byte {
	rng := rand.New(rand.NewPCG(7692, 1951))
	pick := func(words ...string) string { return words[rng.IntN(len(words))] }
	var texts [][]byte
	for i := range deflateTexts {
		var b bytes.Buffer
		fmt.Fprintf(&b, `{"order":"%04x","at":"2026-%02d-%02dT%02d:%02d:00Z","customer":{"id":%d,"name":"%s %s","city":"%s"},"lines":[`,
			rng.IntN(1<<16), 1+rng.IntN(12), 1+rng.IntN(28), rng.IntN(24), rng.IntN(60), 100+rng.IntN(900),
			pick("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald"), pick("Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov", "Knuth"), pick("Oslo", "Porto", "Graz", "Gent", "Lyon"))
		for j := 0; b.Len() < n-40; j++ {
			fmt.Fprintf(&b, `{"sku":"%s-%02d","name":"%s %s","count":%d,"price":%d.50},`, pick("AX", "BK", "CT", "DL"), rng.IntN(100),
				pick("small", "large", "green", "steel"), pick("bolt", "lamp", "hinge", "valve"), 1+rng.IntN(5), rng.IntN(20))
		}
		fmt.Fprintf(&b, `{}],"seq":%d,"paid":%v}`, i, rng.IntN(2) == 0)
		texts = append(texts, b.Bytes())
	}
	return texts
}

var deflateTail = []byte{0, 0, 0xff, 0xff}

// A deflateScript is what each connection sends: the frames of first once, then
// those of again, over and over.
type deflateScript struct {
	texts        [][]byte
	first, again [][]byte
}

// newDeflateScript returns what a client with the given window sends.
func newDeflateScript(size int, mode Deflate, window int) deflateScript {
	s := deflateScript{texts: Texts(size)}
	compress := func(text, dict []byte) []byte {
		var b bytes.Buffer
		w, _ := flate.NewWriterDict(&b, 6, dict) // fails for a level that does not exist
		w.Write(text)
		w.Flush()
		f := appendMasked(nil, 1, bytes.TrimSuffix(b.Bytes(), deflateTail))
		f[0] |= 0x40 // RSV1
		return f
	}
	// Once all texts have been sent the history is the same each time one
	// comes.
	cycle := slices.Concat(s.texts...)
	var before []byte
	for _, text := range s.texts {
		s.first = append(s.first, compress(text, nil))
		dict := append(slices.Clone(cycle), before...)
		if mode == NoTakeover {
			dict = nil
		}
		// compress/flate has one window: so that no distance is longer than
		// this one's, history and text together are not.
		s.again = append(s.again, compress(text, dict[max(0, len(dict)-(window-len(text))):]))
		before = append(before, text...)
	}
	return s
}

func (s *deflateScript) frame(i int) []byte {
	if i < len(s.first) {
		return s.first[i]
	}
	return s.again[i%len(s.again)]
}

func (s *deflateScript) text(i int) []byte { return s.texts[i%len(s.texts)] }

func (j *Job) deflateRequest() string {
	offer := "permessage-deflate"
	if j.Deflate == NoTakeover {
		offer += "; server_no_context_takeover; client_no_context_takeover"
	}
	return strings.TrimSuffix(request, "\r\n") + "Sec-WebSocket-Extensions: " + offer + "; client_max_window_bits\r\n\r\n"
}

// A deflateConn is a connection with one message in flight.
type deflateConn struct {
	fd     int
	window int // of the client
	next   int // the message to send
	buf    []byte
	have   int
	size   int // bytes of the frames of the answer that have come already
	// payload is that of the answer, if it comes in fragments.
	payload []byte
}

func (j *Job) openDeflate(addr netip.AddrPort) (*deflateConn, error) {
	fd, err := open(addr)
	if err != nil {
		return nil, err
	}
	c := &deflateConn{fd: fd, window: 1 << 15, buf: make([]byte, 16<<10)}
	if err := upgradeWith(fd, j.deflateRequest(), c.buf); err != nil {
		return nil, err
	}
	answer, _, _ := bytes.Cut(c.buf, []byte("\r\n\r\n"))
	if !bytes.Contains(bytes.ToLower(answer), []byte("permessage-deflate")) {
		return nil, fmt.Errorf("the server did not agree on compression: %q", answer)
	}
	if j.Deflate == Takeover && bytes.Contains(answer, []byte("client_no_context_takeover")) {
		return nil, errors.New("the server wants no context takeover")
	}
	if _, bits, ok := bytes.Cut(answer, []byte("client_max_window_bits=")); ok {
		var n int
		if _, err := fmt.Sscanf(string(bits), "%d", &n); err != nil || n < 11 {
			return nil, fmt.Errorf("a window that the load generator cannot keep to: %q", answer)
		}
		c.window = 1 << n
	}
	return c, nil
}

func (c *deflateConn) send(s *deflateScript) error {
	f := s.frame(c.next)
	if n, e := rawWrite(c.fd, f); e != 0 || n != len(f) {
		return fmt.Errorf("write: %w", e)
	}
	c.next++
	return nil
}

// receive returns the payload of the answer, which is valid until the next
// call, and the bytes of its frames. It returns nil if the answer has not come
// yet.
func (c *deflateConn) receive() (payload []byte, size int, err error) {
	n, e := rawRead(c.fd, c.buf[c.have:])
	switch {
	case e == syscall.EAGAIN || e == syscall.EINTR:
		return nil, 0, nil
	case e != 0:
		return nil, 0, fmt.Errorf("read: %w", e)
	case n == 0:
		return nil, 0, fmt.Errorf("the server ended a connection after %d messages", c.next)
	}
	c.have += n
	for {
		b := c.buf[:c.have]
		if len(b) < 2 {
			return nil, 0, nil
		}
		at, length := 2, int(b[1])
		if length == 126 {
			if len(b) < 4 {
				return nil, 0, nil
			}
			at, length = 4, int(b[2])<<8|int(b[3])
		}
		first := byte(0x41) // text, RSV1
		if c.size > 0 {
			first = 0
		}
		if b[0]&^0x80 != first || length > 126 && at == 2 {
			return nil, 0, fmt.Errorf("the server sent a frame that begins with % x: not a compressed text", b[:2])
		}
		if len(b) < at+length {
			return nil, 0, nil
		}
		c.payload = append(c.payload, b[at:at+length]...)
		c.size += at + length
		final := b[0]&0x80 != 0
		c.have = copy(c.buf, b[at+length:])
		if !final {
			continue
		}
		if c.have > 0 {
			return nil, 0, errors.New("the server sent more than one answer")
		}
		payload, size := c.payload, c.size
		c.payload, c.size = c.payload[:0], 0
		return payload, size, nil
	}
}

// echo waits for the answer to one message and returns its payload.
func (c *deflateConn) echo(s *deflateScript) ([]byte, int, error) {
	if err := c.send(s); err != nil {
		return nil, 0, err
	}
	for start := time.Now(); time.Since(start) < patience; {
		if p, n, err := c.receive(); p != nil || err != nil {
			return p, n, err
		}
	}
	return nil, 0, errors.New("no echo")
}

// check inflates what the server answers on a connection of its own, and
// returns what the connections are to send.
func (j *Job) check(addr netip.AddrPort) (s deflateScript, err error) {
	c, err := j.openDeflate(addr)
	if err != nil {
		return s, err
	}
	defer syscall.Close(c.fd)
	s = newDeflateScript(j.Size, j.Deflate, c.window)
	var dict []byte
	for i := range 3 * deflateTexts {
		p, _, err := c.echo(&s)
		if err != nil {
			return s, err
		}
		r := flate.NewReaderDict(io.MultiReader(bytes.NewReader(p), bytes.NewReader(deflateTail), strings.NewReader("\x01\x00\x00\xff\xff")), dict)
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, s.text(i)) {
			return s, fmt.Errorf("message %d inflates to something else: %v", i, err)
		}
		if j.Deflate == Takeover {
			dict = append(dict, got...)
			dict = dict[max(0, len(dict)-1<<15):]
		}
	}
	return s, nil
}

// deflated is messages for compressed ones, one in flight on each connection.
func (j *Job) deflated(addr netip.AddrPort) (Result, error) {
	s, err := j.check(addr)
	if err != nil {
		return Result{}, err
	}
	conns := make([]*deflateConn, j.Conns)
	for i := range conns {
		if conns[i], err = j.openDeflate(addr); err != nil {
			return Result{}, err
		}
		if err := conns[i].send(&s); err != nil {
			return Result{}, err
		}
	}
	m := meter{job: j}
	var total, size int64
	last := time.Now()
	for {
		over, err := m.tick(total)
		if over || err != nil {
			m.result.Bytes = float64(size) / float64(total)
			return m.result, err
		}
		if time.Since(last) > patience {
			return Result{}, fmt.Errorf("the server stalled after %d messages", total)
		}
		for _, c := range conns {
			p, n, err := c.receive()
			if err != nil {
				return Result{}, err
			}
			if p == nil {
				continue
			}
			last = time.Now()
			total++
			size += int64(n)
			if err := c.send(&s); err != nil {
				return Result{}, err
			}
		}
	}
}

// idleDeflate is idle with Outstanding compressed messages on each connection,
// one after the other.
func (j *Job) idleDeflate(addr netip.AddrPort, hold func(Result)) error {
	s, err := j.check(addr)
	if err != nil {
		return err
	}
	var kept []*deflateConn
	for range j.Conns {
		c, err := j.openDeflate(addr)
		if err != nil {
			return err
		}
		for range j.Outstanding {
			if _, _, err := c.echo(&s); err != nil {
				return err
			}
		}
		kept = append(kept, c)
	}
	hold(Result{Messages: int64(len(kept))})
	return nil
}

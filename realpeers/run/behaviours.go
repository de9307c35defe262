package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A request is what the URL of a connection asks for.
type request struct {
	url.Values
	r   *http.Request
	tap *tap
}

func (q request) number(name string, otherwise int64) int64 {
	n, err := strconv.ParseInt(q.Get(name), 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

// modes are the values of the parameter compression.
var modes = map[string]websocket.CompressionMode{
	"":         websocket.CompressionDisabled,
	"off":      websocket.CompressionDisabled,
	"takeover": websocket.CompressionContextTakeover,
	"none":     websocket.CompressionNoContextTakeover,
}

func (q request) options() (*websocket.AcceptOptions, error) {
	mode, ok := modes[q.Get("compression")]
	if !ok {
		return nil, fmt.Errorf("no compression mode %q", q.Get("compression"))
	}
	opts := &websocket.AcceptOptions{CompressionMode: mode, ReadLimit: q.number("limit", 0), OriginPatterns: []string{"127.0.0.1:*"}}
	if q.Has("strict") {
		opts.OriginPatterns = nil
	}
	if p := q.Get("protocols"); p != "" {
		opts.Subprotocols = strings.Split(p, ",")
	}
	return opts, nil
}

// checkTraffic compares the bytes that went through the tap with the parameters
// most and least, which are for each direction, and most-to-client.
func (q request) checkTraffic() error {
	if !q.Has("most") && !q.Has("most-to-client") && !q.Has("least") {
		return nil
	}
	n, ok := q.tap.count(q.r.RemoteAddr)
	if !ok {
		return errors.New("the connection does not come through the tap")
	}
	for i, direction := range []string{"to the server", "to the client"} {
		most := q.number("most", 1<<62)
		if i == 1 {
			most = q.number("most-to-client", most)
		}
		if n[i] > most {
			return fmt.Errorf("%d bytes %s, want at most %d", n[i], direction, most)
		}
		if least := q.number("least", 0); n[i] < least {
			return fmt.Errorf("%d bytes %s, want at least %d", n[i], direction, least)
		}
	}
	return nil
}

// checkEnd compares the error that ended a read with the parameter end. That is
// a code and a reason ("1000:bye"; without a colon the reason may be any), or
// abrupt, too-big, invalid, any.
func checkEnd(err error, want string) error {
	var ce websocket.CloseError
	closed := errors.As(err, &ce)
	ok := false
	switch want {
	case "any":
		ok = true
	case "abrupt":
		ok = !closed && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET))
	case "too-big":
		ok = errors.Is(err, websocket.ErrMessageTooBig)
	case "invalid":
		ok = !closed && strings.Contains(err.Error(), "UTF-8")
	default:
		code, reason, both := strings.Cut(want, ":")
		ok = closed && code == strconv.Itoa(int(ce.Code)) && (!both || reason == ce.Reason)
		if orderly := ce.Code == 1000 || ce.Code == 1001 || ce.Code == 1005; ok && errors.Is(err, io.EOF) != orderly {
			return fmt.Errorf("errors.Is(%v, io.EOF) is %t", err, !orderly)
		}
	}
	if !ok {
		return fmt.Errorf("the connection ended with %v, want %s", err, want)
	}
	return nil
}

// behaviours are what our server does on a path. Each returns nil if it could
// do it, and the connection ended as it should.
var behaviours = map[string]func(ctx context.Context, c *websocket.Conn, q request) error{
	"echo":      echo,
	"slow":      echo,
	"take":      take,
	"headers":   headers,
	"close":     closeIt,
	"die":       die,
	"ping":      ping,
	"fragments": fragments,
	"pour":      pour,
}

// drain reads until the connection ends.
func drain(ctx context.Context, c *websocket.Conn) error {
	for {
		if _, _, err := c.Read(ctx); err != nil {
			return err
		}
	}
}

// echo sends back what comes, by the part of the API that the parameter api
// names.
func echo(ctx context.Context, c *websocket.Conn, q request) error {
	var err error
	switch q.Get("api") {
	case "stream":
		for err == nil {
			err = echoStream(ctx, c)
		}
	case "mixed": // a prepared message is a part of the history of those that follow
		for n := 0; err == nil; n++ {
			var typ websocket.MessageType
			var data []byte
			if typ, data, err = c.Read(ctx); err != nil {
				break
			}
			if n%2 == 0 {
				err = c.Write(ctx, typ, data)
				continue
			}
			var m *websocket.PreparedMessage
			if m, err = websocket.NewPreparedMessage(typ, data); err == nil {
				err = c.WritePrepared(ctx, m)
			}
		}
	case "read":
		for err == nil {
			var typ websocket.MessageType
			var data []byte
			if typ, data, err = c.Read(ctx); err == nil {
				err = c.Write(ctx, typ, data)
			}
		}
	default:
		for m, e := range c.Messages(ctx) {
			if err = e; err == nil {
				err = c.Write(ctx, m.Type, m.Data)
			}
			if err != nil {
				break
			}
		}
		if err == nil {
			_, _, err = c.Read(ctx) // what ended the range
		}
	}
	return checkEnd(err, q.Get("end"))
}

func echoStream(ctx context.Context, c *websocket.Conn) error {
	typ, r, err := c.Reader(ctx)
	if err != nil {
		return err
	}
	w, err := c.Writer(ctx, typ)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

// take takes messages without an answer, and checks the first one's checksum,
// and their number.
func take(ctx context.Context, c *websocket.Conn, q request) error {
	for n := int64(0); ; n++ {
		_, data, err := c.Read(ctx)
		if err != nil {
			if want := q.number("count", n); n != want {
				return fmt.Errorf("%d messages, want %d", n, want)
			}
			if n == 0 && q.Has("sum") {
				return fmt.Errorf("no message came, but %w", err)
			}
			return checkEnd(err, q.Get("end"))
		}
		if sum := sha256.Sum256(data); n == 0 && q.Has("sum") && hex.EncodeToString(sum[:]) != q.Get("sum") {
			return fmt.Errorf("a message of %d bytes with another checksum", len(data))
		}
	}
}

// headers sends the request's headers, as JSON; those that proxies add too.
func headers(ctx context.Context, c *websocket.Conn, q request) error {
	h := q.r.Header.Clone()
	h.Set("Host", q.r.Host)
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := c.Write(ctx, websocket.MessageText, data); err != nil {
		return err
	}
	return checkEnd(drain(ctx, c), q.Get("end"))
}

// closeIt closes the connection behind some messages, at once or when a message
// has come.
func closeIt(ctx context.Context, c *websocket.Conn, q request) error {
	if q.Has("wait") {
		if _, _, err := c.Read(ctx); err != nil {
			return err
		}
	}
	for i := range q.number("messages", 0) {
		if err := c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "message %d", i)); err != nil {
			return err
		}
	}
	err := c.Close(websocket.StatusCode(q.number("code", 1000)), q.Get("reason"))
	if q.Has("crossing") && errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// die ends the transport without a close frame when a message has come.
func die(ctx context.Context, c *websocket.Conn, q request) error {
	if _, _, err := c.Read(ctx); err != nil {
		return err
	}
	if q.Get("how") == "reset" {
		if err := transport(q.r).SetLinger(0); err != nil {
			return err
		}
	}
	return c.CloseNow()
}

// ping pings, and says so when the pong has come. Meanwhile it must read.
func ping(ctx context.Context, c *websocket.Conn, q request) error {
	ended := make(chan error, 1)
	go func() { ended <- drain(ctx, c) }()
	pause, _ := time.ParseDuration(q.Get("every"))
	for range q.number("times", 3) {
		time.Sleep(pause)
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := c.Ping(ctx)
		cancel()
		if err != nil {
			return err
		}
	}
	if err := c.Write(ctx, websocket.MessageText, []byte("pong came")); err != nil {
		return err
	}
	return checkEnd(<-ended, q.Get("end"))
}

// fragments sends a text and a binary message in pieces, and the checksum of
// the second.
func fragments(ctx context.Context, c *websocket.Conn, q request) error {
	text := []byte(strings.Repeat("🦊", 5000))
	if err := inPieces(ctx, c, websocket.MessageText, text, 4999); err != nil {
		return err
	}
	binary := noise(300_000)
	if err := inPieces(ctx, c, websocket.MessageBinary, binary, 70_001); err != nil {
		return err
	}
	sum := sha256.Sum256(binary)
	if err := c.Write(ctx, websocket.MessageText, []byte(hex.EncodeToString(sum[:]))); err != nil {
		return err
	}
	return checkEnd(drain(ctx, c), q.Get("end"))
}

func inPieces(ctx context.Context, c *websocket.Conn, typ websocket.MessageType, data []byte, size int) error {
	w, err := c.Writer(ctx, typ)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n := min(size, len(data))
		if _, err := w.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return w.Close()
}

// pour sends until the peer closes.
func pour(ctx context.Context, c *websocket.Conn, q request) error {
	ended := make(chan error, 1)
	go func() { ended <- drain(ctx, c) }()
	data := noise(100_000)
	for {
		select {
		case err := <-ended:
			return checkEnd(err, q.Get("end"))
		default:
		}
		if err := c.Write(ctx, websocket.MessageBinary, data); err != nil {
			return checkEnd(<-ended, q.Get("end"))
		}
	}
}

// noise returns n bytes that do not compress, always the same.
func noise(n int) []byte {
	out := make([]byte, n)
	x := uint32(2463534242)
	for i := range out {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		out[i] = byte(x >> 11)
	}
	return out
}

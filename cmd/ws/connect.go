package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/seed70bc5565/websocket"
)

// connectFlags are the options of "ws URL".
type connectFlags struct {
	dial   dialFlags
	output outputFlags
	frames bool
	verbose,
	binary, hexInput, whole, null, noInput, oneWay bool
	count     int
	timeout   time.Duration
	linger    time.Duration
	heartbeat time.Duration
}

func connectCommand() *command {
	f := &connectFlags{linger: time.Second, heartbeat: 30 * time.Second}
	cmd := &command{args: "URL", summary: "connect to a server: each line of stdin is a message, and each message a line of stdout",
		details: `
On a terminal ws edits lines, and a line that begins with a slash is a command:
/help lists them. In a pipe, ws waits for answers at the end of stdin
(--linger).
The scheme of the URL is ws, wss, http or https; without one it is ws.`}
	f.dial.register(cmd)
	f.output.register(cmd)
	cmd.boolean(&f.binary, "b,binary", "send binary messages")
	cmd.boolean(&f.hexInput, "hex", "the lines of stdin are hex digits: send what they stand for, as binary messages")
	cmd.boolean(&f.whole, "whole", "send all of stdin as one message")
	cmd.boolean(&f.null, "0,null", "messages end with a zero byte, on stdin and stdout, in place of a line end")
	cmd.boolean(&f.noInput, "r,receive-only", "do not read stdin")
	cmd.boolean(&f.oneWay, "send-only", "do not print messages")
	cmd.integer(&f.count, 1, 1<<30, "n,count", "N", "close after N messages have come; exit code 7 if it were fewer")
	cmd.duration(&f.timeout, "t,time", "close after this time")
	cmd.duration(&f.linger, "linger", "at the end of stdin, close when no message has come for so long; default: 1s")
	cmd.duration(&f.heartbeat, "heartbeat", "ping after this silence, and give up after 10s more; 0: never; default: 30s")
	cmd.boolean(&f.frames, "frames", "show every frame, with its bits, on stderr")
	cmd.boolean(&f.verbose, "v,verbose", "show the response of the handshake, and a summary at the end")
	cmd.run = func(ctx context.Context, c *console, args []string) error {
		if len(args) != 1 {
			return usagef("one URL is needed, not %d", len(args))
		}
		return f.run(ctx, c, args[0])
	}
	return cmd
}

func (f *connectFlags) run(ctx context.Context, c *console, target string) error {
	d, err := f.dial.dialer()
	if err != nil {
		return err
	}
	d.options.PingInterval = f.heartbeat
	if f.heartbeat == 0 {
		d.options.PingInterval = -1
	}
	output, err := f.output.open(c, f.null)
	if err != nil {
		return err
	}
	defer output.close()
	t := &tracer{}
	conn, resp, err := d.dial(ctx, completeURL(target), t.client)
	if err != nil {
		if f.verbose && resp != nil {
			c.dimmed(responseText(resp))
		}
		return dialFailed(ctx, c, err)
	}
	defer conn.CloseNow()
	if f.verbose {
		c.dimmed(responseText(resp))
	}
	c.dimmed(f.dial.connectedText(conn, resp))
	if f.frames {
		t.begin(func(fr frame) { c.dimmed(fr.String()) })
	}
	s := &session{flags: f, c: c, conn: conn, tracer: t, output: output, begin: time.Now(), activity: make(chan struct{}, 1)}
	return s.run(ctx)
}

// connectedText says what the handshake agreed on.
func (f *dialFlags) connectedText(conn *websocket.Conn, resp *http.Response) string {
	text := "connected to " + conn.RemoteAddr().String()
	if name := conn.Subprotocol(); name != "" {
		text += ", subprotocol " + name
	}
	if extensions := resp.Header.Values("Sec-WebSocket-Extensions"); len(extensions) > 0 {
		text += ", " + strings.Join(extensions, ", ")
	} else if f.compression.mode() != websocket.CompressionDisabled {
		text += ", no compression (the server does not want it)"
	}
	return sanitize(text)
}

// responseText returns the head of a response, and what is kept of its body.
func responseText(resp *http.Response) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", resp.Proto, resp.Status)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range resp.Header {
			if !yield(name) {
				return
			}
		}
	}) {
		for _, value := range resp.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	if resp.TLS != nil {
		fmt.Fprintf(&b, "(TLS)\n")
	}
	if body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)); len(body) > 0 {
		b.WriteString("\n" + string(body))
	}
	return sanitize(strings.TrimRight(b.String(), "\n"))
}

// A session is one connection of "ws URL".
type session struct {
	flags    *connectFlags
	c        *console
	conn     *websocket.Conn
	tracer   *tracer
	output   *output
	begin    time.Time
	received int           // messages; owned by the reading goroutine until it is done
	activity chan struct{} // a message has come or left
}

// These end a session from this side. errDone is a success.
var (
	errDone        = errors.New("done")
	errInterrupted = errors.New("interrupted")
)

func (s *session) run(ctx context.Context) error {
	working, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	if s.flags.timeout > 0 {
		timer := time.AfterFunc(s.flags.timeout, func() { stop(errDone) })
		defer timer.Stop()
	}
	unhook := context.AfterFunc(ctx, func() { stop(errInterrupted) })
	defer unhook()

	var reading sync.WaitGroup
	var readErr error
	reading.Go(func() {
		readErr = s.read(working, stop)
		stop(readErr)
	})
	if !s.flags.noInput {
		go func() { // it may wait for stdin until the process ends
			if err := s.send(working); err != nil {
				stop(err)
			}
		}()
	}
	<-working.Done()
	reading.Wait()
	return s.end(context.Cause(working), readErr)
}

// read prints messages until ctx or the connection ends, or all that were asked
// for have come.
func (s *session) read(ctx context.Context, stop context.CancelCauseFunc) error {
	for {
		typ, data, err := s.conn.Read(ctx)
		if err != nil {
			return err
		}
		s.received++
		s.active()
		if !s.flags.oneWay {
			if err := s.output.message(typ, data); err != nil {
				return exitError{exitFailed, err}
			}
		}
		if s.received == s.flags.count {
			return errDone
		}
	}
}

func (s *session) active() {
	select {
	case s.activity <- struct{}{}:
	default:
	}
}

// end closes the connection unless it is over, and says how it ended. cause is
// what ended the session.
func (s *session) end(cause, readErr error) error {
	local := errors.Is(cause, errDone) || errors.Is(cause, errInterrupted)
	var closing closeRequest
	var failure exitError
	switch {
	case errors.As(cause, &closing):
		s.conn.Close(closing.code, closing.reason)
	case errors.Is(cause, errInterrupted):
		s.conn.Close(websocket.StatusGoingAway, "")
	case local, asExit(cause, &failure):
		s.conn.Close(websocket.StatusNormalClosure, "")
	}
	code := s.report(readErr)
	if s.flags.verbose {
		s.c.dimmed(s.summary())
	}
	switch {
	case errors.Is(cause, errInterrupted):
		return exitError{exitInterrupted, nil}
	case failure.err != nil:
		return failure
	case code == exitOK && s.received < s.flags.count:
		return exitError{exitMissing, fmt.Errorf("%d of %d messages came", s.received, s.flags.count)}
	case code != exitOK:
		return exitError{code, nil}
	}
	return nil
}

// report says how the connection ended, and returns the exit code that goes
// with it.
func (s *session) report(readErr error) int {
	text, code := s.tracer.ending(readErr)
	colour := dim
	if code != exitOK {
		colour = red
	}
	s.c.note(s.c.paint(colour, sanitize(text)))
	return code
}

// ending says who closed the connection, and with which code. It returns the
// exit code that goes with it. readErr is the error of the last read.
func (t *tracer) ending(readErr error) (text string, code int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch received, sent := t.closeReceived, t.closeSent; {
	case received != nil && (t.receivedFirst || sent == nil):
		switch received.code {
		case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		default:
			code = exitCloseCode
		}
		return "closed by the peer: " + closeText(received.code, received.reason), code
	case sent != nil:
		text = "closed: " + closeText(sent.code, sent.reason)
		switch sent.code {
		case websocket.StatusProtocolError, websocket.StatusInvalidFramePayloadData, websocket.StatusPolicyViolation,
			websocket.StatusMessageTooBig, websocket.StatusInternalError:
			if readErr != nil && !errors.Is(readErr, context.Canceled) { // what the peer broke, not what the user typed
				return text + ": " + strings.TrimPrefix(readErr.Error(), "websocket: "), exitBroken
			}
		}
		if received == nil {
			text += "; the peer did not answer"
		}
		return text, exitOK
	}
	text = "closed: " + closeText(websocket.StatusAbnormalClosure, "")
	if readErr != nil {
		text += ": " + strings.TrimPrefix(readErr.Error(), "websocket: ")
	}
	return text, exitBroken
}

// summary says what has passed.
func (s *session) summary() string {
	in, out := s.tracer.summary()
	text := fmt.Sprintf("%s: received %s messages, %s on the wire; sent %s, %s", time.Since(s.begin).Round(time.Millisecond),
		thousands(in.messages), quantity(float64(in.wire)), thousands(out.messages), quantity(float64(out.wire)))
	if n := s.output.bytes; n > 0 && s.tracer.compressed {
		text += fmt.Sprintf("; the messages received had %s", quantity(float64(n)))
	}
	if rtt := s.conn.RoundTripTime(); rtt > 0 {
		text += fmt.Sprintf("; last round trip %s", short(rtt))
	}
	return text
}

// A closeRequest ends a session with the user's code and reason.
type closeRequest struct {
	code   websocket.StatusCode
	reason string
}

func (closeRequest) Error() string { return "the user closes" }

// send sends what comes from stdin. The error ends the session; nil does not.
func (s *session) send(ctx context.Context) error {
	if s.c.inTerminal && s.c.outTerminal && !s.flags.whole {
		if p := openPrompt(s.c); p != nil {
			return s.talk(ctx, p)
		}
	}
	in := bufio.NewReaderSize(s.c.in, 64<<10)
	for line := 1; ; line++ {
		data, err := s.next(in)
		if err == nil || len(data) > 0 {
			if err := s.sendLine(ctx, data, line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return s.linger(ctx)
		}
		if err != nil {
			return exitError{exitFailed, fmt.Errorf("stdin: %w", err)}
		}
	}
}

// next returns the next message of stdin. The last one comes with io.EOF; if it
// is empty then there is none.
func (s *session) next(in *bufio.Reader) ([]byte, error) {
	if s.flags.whole {
		data, err := io.ReadAll(in)
		if err == nil {
			err = io.EOF
		}
		return data, err
	}
	end := byte('\n')
	if s.flags.null {
		end = 0
	}
	data, err := in.ReadBytes(end)
	data = bytes.TrimSuffix(data, []byte{end})
	if !s.flags.null {
		data = bytes.TrimSuffix(data, []byte{'\r'})
	}
	return data, err
}

func (s *session) sendLine(ctx context.Context, data []byte, line int) error {
	typ := websocket.MessageText
	if s.flags.binary || s.flags.hexInput {
		typ = websocket.MessageBinary
	}
	if s.flags.hexInput {
		decoded, err := decodeHex(string(data))
		if err != nil {
			return exitError{exitFailed, fmt.Errorf("message %d of stdin: %w", line, err)}
		}
		data = decoded
	}
	if typ == websocket.MessageText && !utf8.Valid(data) {
		return exitError{exitFailed, fmt.Errorf("message %d of stdin is not UTF-8: send it with -b", line)}
	}
	return s.write(ctx, typ, data)
}

// write sends a message. Its error is nil if the connection is over: the reader
// tells how.
func (s *session) write(ctx context.Context, typ websocket.MessageType, data []byte) error {
	if err := s.conn.Write(ctx, typ, data); err == nil {
		s.active()
	}
	return nil
}

func decodeHex(s string) ([]byte, error) {
	b, err := hex.DecodeString(strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n:", r) {
			return -1
		}
		return r
	}, s))
	if err != nil {
		return nil, errors.New("it is not pairs of hex digits")
	}
	return b, nil
}

// linger waits until the peer has seen all that was sent, and no message has
// come for a while. A pong is awaited first, so that a slow network does not
// cut answers off. It comes behind the answers of a peer that works in order.
func (s *session) linger(ctx context.Context) error {
	if s.flags.count > 0 {
		return nil // the count decides
	}
	bounded, cancel := context.WithTimeout(ctx, max(s.flags.linger, 5*time.Second))
	s.conn.Ping(bounded)
	cancel()
	timer := time.NewTimer(s.flags.linger)
	defer timer.Stop()
	for {
		select {
		case <-s.activity:
			timer.Reset(s.flags.linger)
		case <-timer.C:
			return errDone
		case <-ctx.Done():
			return nil
		}
	}
}

// outputFlags say how messages are shown.
type outputFlags struct {
	json   bool
	binary string
	file   string
}

func (f *outputFlags) register(cmd *command) {
	cmd.boolean(&f.json, "j,json", "indent messages that are JSON")
	cmd.choice(&f.binary, "binary-as", "dump hex base64 raw", "how binary messages are printed; default: dump on a terminal, else hex")
	cmd.text(&f.file, "o,save", "FILE", "file", "write binary messages to FILE, one behind the other; with %d in its name, such as msg-%03d.bin, each to a file of its own")
}

// An output prints messages. It is for one goroutine.
type output struct {
	flags  outputFlags
	c      *console
	end    byte
	prefix string
	bytes  int64 // of all messages
	saved  int
	file   *os.File
}

func (f outputFlags) open(c *console, null bool) (*output, error) {
	o := &output{flags: f, c: c, end: '\n'}
	if null {
		o.end = 0
	}
	if c.outTerminal && c.inTerminal {
		o.prefix = "< "
	}
	if f.binary == "" {
		o.flags.binary = "hex"
		if c.outTerminal {
			o.flags.binary = "dump"
		}
	}
	if f.file == "" {
		return o, nil
	}
	if strings.Contains(f.file, "%") {
		if name := fmt.Sprintf(f.file, 1); strings.Contains(name, "%!") || name == fmt.Sprintf(f.file, 2) {
			return nil, usagef("the name %q of --save must have one %%d, such as msg-%%03d.bin", f.file)
		}
		return o, nil
	}
	file, err := os.Create(f.file)
	o.file = file
	return o, err
}

func (o *output) close() {
	if o.file != nil {
		o.file.Close()
	}
}

func (o *output) message(typ websocket.MessageType, data []byte) error {
	o.bytes += int64(len(data))
	if typ == websocket.MessageBinary && o.flags.file != "" {
		return o.save(data)
	}
	if typ == websocket.MessageBinary {
		switch o.flags.binary {
		case "raw":
			o.c.writeRaw(data)
			return o.c.outputError()
		case "base64":
			data = []byte(base64.StdEncoding.EncodeToString(data))
		case "dump":
			data = fmt.Appendf(nil, "binary, %d bytes\n%s", len(data), hexDump(data))
		default:
			data = []byte(hex.EncodeToString(data))
		}
		typ = 0
	}
	pretty := false
	if typ == websocket.MessageText && o.flags.json {
		if indented, ok := prettyJSON(data); ok {
			data, pretty = indented, true
		}
	}
	if !o.c.outTerminal {
		o.c.write(data, o.end)
		return o.c.outputError()
	}
	text := sanitize(string(data))
	if pretty && o.c.coloursOut() {
		text = colourJSON(text)
	}
	if o.prefix != "" {
		prefix := o.prefix
		if o.c.coloursOut() {
			prefix = cyan + prefix + plain
		}
		text = prefix + strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", len(o.prefix)))
	}
	o.c.write([]byte(text), o.end)
	return o.c.outputError()
}

func (o *output) save(data []byte) error {
	o.saved++
	if o.file != nil {
		_, err := o.file.Write(data)
		return err
	}
	name := fmt.Sprintf(o.flags.file, o.saved)
	if err := os.WriteFile(name, data, 0o666); err != nil {
		return err
	}
	o.c.dimmed(fmt.Sprintf("binary, %d bytes: saved as %s", len(data), name))
	return nil
}

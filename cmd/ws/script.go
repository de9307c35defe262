package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket"
)

const scriptHelp = `
A script has one step in a line, and each connection goes through all of them:
  expect REGEXP         wait for a message that matches; binary ones are hex
  send TEXT             send a text message; $1 is a group of the last expect,
                        and $$ a dollar sign
  binary HEX            send a binary message
  ping                  send a ping, and wait for its pong
  wait TIME             such as 500ms
  echo [N]              send the next N messages back; without N: all
  repeat [N]            begin again, N times; without N: for ever
  close [CODE [REASON]] close the connection; the end of the script does so too
  drop                  end the connection without a close frame
  refuse STATUS [TEXT]  as the first step: refuse the handshake
What begins with # is a comment.`

// A script is what a server does with each connection.
type script struct {
	refuse     int // status; 0: no
	refuseText string
	steps      []step
}

// A step is one line of a script.
type step struct {
	line    int
	verb    string
	text    string         // send
	data    []byte         // binary
	pattern *regexp.Regexp // expect
	wait    time.Duration
	n       int // echo and repeat; 0: without end
	closing closeRequest
}

// parseScript parses the text of a script.
func parseScript(text string) (*script, error) {
	sc := &script{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		verb, arg, _ := strings.Cut(line, " ")
		arg = strings.TrimSpace(arg)
		if verb == "refuse" {
			number, reason, _ := strings.Cut(arg, " ")
			status, err := strconv.Atoi(number)
			if err != nil || status < 200 || status > 599 || len(sc.steps) > 0 {
				return nil, fmt.Errorf("line %d: refuse is the first step, with a status from 200 to 599", i+1)
			}
			sc.refuse, sc.refuseText = status, strings.TrimSpace(reason)
			continue
		}
		s, err := parseStep(verb, arg)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		s.line = i + 1
		sc.steps = append(sc.steps, s)
	}
	return sc, nil
}

func parseStep(verb, arg string) (s step, err error) {
	s.verb = verb
	switch verb {
	case "expect":
		s.pattern, err = regexp.Compile(arg)
	case "send":
		s.text = arg
	case "binary":
		s.data, err = decodeHex(arg)
	case "wait":
		if s.wait, err = time.ParseDuration(arg); err != nil || s.wait < 0 {
			err = errors.New("wait needs a time such as 500ms or 2s")
		}
	case "echo", "repeat":
		if arg != "" {
			if s.n, err = strconv.Atoi(arg); err != nil || s.n < 1 {
				err = fmt.Errorf("%s takes a number from 1 on, or none", verb)
			}
		}
	case "close":
		if parsed := parseClose(arg); !errors.As(parsed, &s.closing) {
			err = parsed
		}
	case "ping", "drop":
		if arg != "" {
			err = fmt.Errorf("%s stands alone", verb)
		}
	default:
		err = fmt.Errorf("there is no step %q", verb)
	}
	return s, err
}

// refuseHandshake answers a handshake if the script says so.
func (sc *script) refuseHandshake(w http.ResponseWriter) bool {
	if sc.refuse == 0 {
		return false
	}
	text := sc.refuseText
	if text == "" {
		text = http.StatusText(sc.refuse)
	}
	http.Error(w, text, sc.refuse)
	return true
}

// A scriptRun is one connection that goes through a script.
type scriptRun struct {
	conn    *websocket.Conn
	queue   chan scriptMessage // what the reading goroutine has for next; closed when it ends
	readErr error              // why; set before that
	ctx     context.Context    // ends with the connection

	groups  []int // of the last expect, in matched
	pattern *regexp.Regexp
	matched string
}

// scriptQueue is how many messages may wait for the script.
const scriptQueue = 1024

// newScriptRun starts a goroutine that reads until the connection ends, so that
// pings and the close frame are seen at any time. The function received is told
// of each message.
func newScriptRun(conn *websocket.Conn, received func(websocket.MessageType, []byte)) *scriptRun {
	ctx, cancel := context.WithCancel(context.Background())
	r := &scriptRun{conn: conn, queue: make(chan scriptMessage, scriptQueue), ctx: ctx}
	go func() {
		defer cancel()
		defer close(r.queue)
		for {
			typ, data, err := conn.Read(context.Background())
			if err != nil {
				r.readErr = err
				return
			}
			received(typ, data)
			r.queue <- scriptMessage{typ, data}
		}
	}()
	return r
}

// end waits for the end of the connection, and returns why it was over.
func (r *scriptRun) end() error {
	r.conn.Close(websocket.StatusNormalClosure, "") // mostly it is closed; then this waits until the answer has left
	for range r.queue {
	}
	return r.readErr
}

type scriptMessage struct {
	typ  websocket.MessageType
	data []byte
}

// errExpected is wrapped by the error of a script whose peer did something
// else.
var errExpected = errors.New("not what the script expects")

// run goes through the script, and closes the connection. The error is
// errExpected, or the connection's.
func (r *scriptRun) run(sc *script) error {
	round := 0
	for i := 0; i < len(sc.steps); i++ {
		s := sc.steps[i]
		if s.verb == "repeat" {
			if round++; s.n == 0 || round <= s.n {
				if i == 0 {
					return nil
				}
				i = -1
			}
			continue
		}
		if err := r.step(s); err != nil {
			if errors.Is(err, errExpected) {
				r.conn.Close(websocket.StatusPolicyViolation, "not what the script expects")
				return fmt.Errorf("line %d of the script: %w", s.line, err)
			}
			return err
		}
	}
	return r.conn.Close(websocket.StatusNormalClosure, "")
}

func (r *scriptRun) step(s step) error {
	switch s.verb {
	case "expect":
		m, err := r.next()
		if err != nil {
			return err
		}
		text := string(m.data)
		if m.typ == websocket.MessageBinary {
			text = fmt.Sprintf("%x", m.data)
		}
		groups := s.pattern.FindStringSubmatchIndex(text)
		if groups == nil {
			return fmt.Errorf("%w: %q does not match %s", errExpected, text, s.pattern)
		}
		r.pattern, r.matched, r.groups = s.pattern, text, groups
	case "send":
		text := []byte(s.text)
		if r.pattern != nil {
			text = r.pattern.ExpandString(nil, s.text, r.matched, r.groups)
		}
		return r.conn.Write(r.ctx, websocket.MessageText, text)
	case "binary":
		return r.conn.Write(r.ctx, websocket.MessageBinary, s.data)
	case "ping":
		return r.conn.Ping(r.ctx)
	case "wait":
		select {
		case <-time.After(s.wait):
		case <-r.ctx.Done():
		}
	case "echo":
		for n := 0; s.n == 0 || n < s.n; n++ {
			m, err := r.next()
			if err != nil {
				return err
			}
			if err := r.conn.Write(r.ctx, m.typ, m.data); err != nil {
				return err
			}
		}
	case "close":
		return r.conn.Close(s.closing.code, s.closing.reason)
	case "drop":
		return r.conn.CloseNow()
	}
	return nil
}

// next returns the next message.
func (r *scriptRun) next() (scriptMessage, error) {
	m, ok := <-r.queue
	if !ok {
		return m, r.readErr
	}
	return m, nil
}

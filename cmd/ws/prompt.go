package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A prompt is the line at the bottom of a terminal that the user edits.
// Messages appear above it. Its methods hide and show are called with the lock
// of the console.
type prompt struct {
	c       *console
	term    *terminal
	in      io.Reader
	editor  editor
	pending []byte // read, but no key yet
	visible bool
}

const promptText = "> "

// The terminal marks what is pasted, so that line ends in it are not taken for
// the return key.
const (
	pasteMarksOn  = "\x1b[?2004h"
	pasteMarksOff = "\x1b[?2004l"
)

// openPrompt shows a prompt. It is nil where lines cannot be edited: then the
// terminal's own editing must do.
func openPrompt(c *console) *prompt {
	file, ok := c.in.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return nil
	}
	term, err := openTerminal(file)
	if err != nil {
		return nil
	}
	p := &prompt{c: c, term: term, in: file}
	term.onResume(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.prompt == p {
			io.WriteString(c.out, pasteMarksOn)
			p.visible = false
			p.show()
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prompt = p
	io.WriteString(c.out, pasteMarksOn)
	p.show()
	return p
}

func (p *prompt) close() {
	p.hide()
	io.WriteString(p.c.out, pasteMarksOff)
	p.term.restore()
}

func (p *prompt) hide() {
	if p != nil && p.visible {
		io.WriteString(p.c.out, "\r\x1b[K")
		p.visible = false
	}
}

func (p *prompt) show() {
	if p == nil {
		return
	}
	text, column := p.editor.view(p.term.width() - len(promptText) - 1)
	fmt.Fprintf(p.c.out, "\r%s%s\x1b[K\r\x1b[%dC", promptText, text, len(promptText)+column)
	p.visible = true
}

// readLine returns the next line that the user has finished, or io.EOF.
func (p *prompt) readLine() (string, error) {
	buf := make([]byte, 4096)
	for {
		for {
			k, n := parseKey(p.pending)
			if n == 0 {
				break
			}
			p.pending = p.pending[n:]
			if line, done, err := p.press(k); done {
				return line, err
			}
		}
		n, err := p.in.Read(buf)
		if err != nil && n == 0 {
			return "", err
		}
		p.pending = append(p.pending, buf[:n]...)
	}
}

func (p *prompt) press(k key) (line string, done bool, err error) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if p.c.prompt != p {
		return "", true, io.EOF
	}
	if k.kind == keyEnd && len(p.editor.line) == 0 {
		return "", true, io.EOF
	}
	if k.kind == keyClear {
		io.WriteString(p.c.out, "\x1b[H\x1b[2J")
	}
	if done = p.editor.press(k); done {
		line = p.editor.take()
		p.hide()
		shown := promptText + strings.ReplaceAll(line, "\n", "\n  ")
		if line != "" {
			fmt.Fprintln(p.c.out, sanitize(shown))
		}
	}
	p.show()
	return line, done, nil
}

const promptHelp = `A line is a message, and so is what is pasted. Commands:
  /ping                  measure a round trip
  /binary HEX            send a binary message
  /file PATH             send a file as a binary message
  /close [CODE [REASON]] close the connection; default: 1000
  /help                  print this
  //...                  send a line that begins with one slash
Ctrl-D closes too, and Ctrl-C closes with 1001. Up and Down recall lines.`

// talk sends the lines that the user types at the prompt. Its error ends the
// session.
func (s *session) talk(ctx context.Context, p *prompt) error {
	for {
		line, err := p.readLine()
		if err == io.EOF {
			return errDone
		}
		if err != nil {
			return exitError{exitFailed, fmt.Errorf("the terminal: %w", err)}
		}
		if rest, ok := strings.CutPrefix(line, "//"); ok {
			line = "/" + rest
		} else if strings.HasPrefix(line, "/") {
			var closing closeRequest
			if err := s.command(ctx, line); errors.As(err, &closing) {
				return err
			} else if err != nil {
				s.c.note("ws: " + err.Error())
			}
			continue
		}
		if line == "" {
			continue
		}
		if err := s.sendLine(ctx, []byte(line), 1); err != nil {
			s.c.note("ws: " + strings.TrimPrefix(err.Error(), "message 1 of stdin: "))
		}
	}
}

// command does what a line with a slash says. A closeRequest is an error.
func (s *session) command(ctx context.Context, line string) error {
	name, arg, _ := strings.Cut(line, " ")
	arg = strings.TrimSpace(arg)
	switch name {
	case "/help":
		s.c.note(promptHelp)
	case "/ping":
		go func() {
			begin := time.Now()
			if err := s.conn.Ping(ctx); err == nil {
				s.c.dimmed("pong after " + short(time.Since(begin)))
			}
		}()
	case "/binary":
		data, err := decodeHex(arg)
		if err != nil {
			return err
		}
		return s.write(ctx, websocket.MessageBinary, data)
	case "/file":
		data, err := os.ReadFile(arg)
		if err != nil {
			return err
		}
		return s.write(ctx, websocket.MessageBinary, data)
	case "/close", "/quit":
		return parseClose(arg)
	default:
		return fmt.Errorf("there is no command %s: /help lists them, and a second slash in front sends the line", name)
	}
	return nil
}

// parseClose parses "CODE REASON", both of which may be left out. It returns a
// closeRequest, or what is wrong.
func parseClose(arg string) error {
	if arg == "" {
		return closeRequest{code: websocket.StatusNormalClosure}
	}
	number, reason, _ := strings.Cut(arg, " ")
	code, err := strconv.Atoi(number)
	reason = strings.TrimSpace(reason)
	switch {
	case err != nil || !(code >= 1000 && code <= 1003 || code == 1005 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999):
		return errors.New("a close code is 1000 to 1003, 1007 to 1014 or 3000 to 4999, and 1005 is none")
	case code == 1005 && reason != "":
		return errors.New("without a code there is no reason")
	case len(reason) > 123:
		return errors.New("a reason has at most 123 bytes")
	}
	return closeRequest{websocket.StatusCode(code), reason}
}

// short returns d with three digits, or so.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return d.String()
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

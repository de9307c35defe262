package main

import (
	"io"
	"os"
	"strings"
	"sync"
)

// A console is the three streams of the process. Its methods may be called
// concurrently.
type console struct {
	in  io.Reader
	out io.Writer
	err io.Writer

	inTerminal  bool
	outTerminal bool
	errTerminal bool
	colour      bool // terminals get colours

	mu sync.Mutex // guards what follows, and the order of what is written
	// prompt is the line that the user edits, if there is one: it stands below
	// everything else.
	prompt *prompt
	failed error // of the first write to out that failed
}

func newConsole(in, out, err *os.File) *console {
	c := &console{in: in, out: out, err: err, inTerminal: isTerminal(in), outTerminal: isTerminal(out), errTerminal: isTerminal(err)}
	c.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && coloursWork
	return c
}

// print writes text and a line end to stdout.
func (c *console) print(text string) { c.write([]byte(text), '\n') }

// write writes data and the byte end to stdout.
func (c *console) write(data []byte, end byte) {
	c.writeRaw(append(append(make([]byte, 0, len(data)+1), data...), end))
}

// writeRaw writes data to stdout.
func (c *console) writeRaw(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prompt.hide()
	if _, err := c.out.Write(data); err != nil && c.failed == nil {
		c.failed = err
	}
	c.prompt.show()
}

// note writes text and a line end to stderr.
func (c *console) note(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.errTerminal {
		c.prompt.hide()
		defer c.prompt.show()
	}
	io.WriteString(c.err, text+"\n")
}

// dimmed writes text to stderr, less visible than a message.
func (c *console) dimmed(text string) { c.note(c.paint(dim, text)) }

// paint colours text that goes to stderr.
func (c *console) paint(colour, text string) string {
	if !c.colour || !c.errTerminal {
		return text
	}
	return colour + strings.ReplaceAll(text, "\n", plain+"\n"+colour) + plain
}

// coloursOut reports whether what goes to stdout may have colours.
func (c *console) coloursOut() bool { return c.colour && c.outTerminal }

// outputError returns the error of the first write to stdout that failed.
func (c *console) outputError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// restore removes the prompt, and gives the terminal back as it was.
func (c *console) restore() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.prompt != nil {
		c.prompt.close()
		c.prompt = nil
	}
}

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/seed70bc5565/websocket"
)

// A terminalRun is ws in a pseudo-terminal, with a person in front of it.
type terminalRun struct {
	t      *testing.T
	master *os.File
	screen *buffer
	cmd    *exec.Cmd
	exited chan error
}

const terminalColumns = 80

var address = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// inTerminal starts ws in a pseudo-terminal. redirect may change where its
// streams go.
func inTerminal(t *testing.T, redirect func(*exec.Cmd), args ...string) *terminalRun {
	t.Helper()
	master, slave := openPty(t)
	defer slave.Close()
	r := &terminalRun{t: t, master: master, screen: newBuffer(), exited: make(chan error, 1)}
	r.cmd = exec.Command(os.Args[0], args...)
	r.cmd.Env = append(os.Environ(), asWS+"=1", "TERM=xterm", "NO_COLOR=", "GOCOVERDIR="+t.TempDir())
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = slave, slave, slave
	ctty := 0
	if redirect != nil {
		redirect(r.cmd)
		if r.cmd.Stdin != slave {
			ctty = 1
		}
	}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: ctty}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.cmd.Process.Kill() })
	go io.Copy(r.screen, master)
	go func() { r.exited <- r.cmd.Wait() }()
	return r
}

func openPty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals: ", err)
	}
	t.Cleanup(func() { master.Close() })
	control, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number, unlock int32
	size := struct{ rows, columns, x, y uint16 }{24, terminalColumns, 0, 0}
	control.Control(func(fd uintptr) {
		for _, call := range []struct {
			request uintptr
			arg     unsafe.Pointer
		}{
			{syscall.TIOCSPTLCK, unsafe.Pointer(&unlock)},
			{syscall.TIOCGPTN, unsafe.Pointer(&number)},
			{syscall.TIOCSWINSZ, unsafe.Pointer(&size)},
		} {
			if err == nil {
				err = ioctl(fd, call.request, call.arg)
			}
		}
	})
	if err != nil {
		t.Skip("no pseudo-terminals: ", err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals: ", err)
	}
	return master, slave
}

func (r *terminalRun) types(keys string) {
	if _, err := io.WriteString(r.master, keys); err != nil {
		r.t.Error(err)
	}
}

// sees waits until the last lines of the screen are these. ADDRESS stands for
// an address.
func (r *terminalRun) sees(lines ...string) {
	r.t.Helper()
	want := strings.Join(lines, "\n")
	timeout := time.After(patience)
	for {
		r.screen.mu.Lock()
		output, changed := r.screen.b.String(), r.screen.changed
		r.screen.mu.Unlock()
		screen := screenOf(output, terminalColumns)
		if strings.HasSuffix(address.ReplaceAllString(screen, "ADDRESS"), want) {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			r.t.Fatalf("the screen is\n%s\nand its last lines should be\n%s\noutput: %q", screen, want, output)
		}
	}
}

func (r *terminalRun) ends(code int) {
	r.t.Helper()
	select {
	case <-r.exited:
		if got := r.cmd.ProcessState.ExitCode(); got != code {
			r.t.Errorf("exit code %d, want %d", got, code)
		}
	case <-time.After(patience):
		r.t.Fatalf("ws does not end; the screen is\n%s", screenOf(r.screen.String(), terminalColumns))
	}
}

// writes waits until ws has written text n times. Its last output may still be
// in the terminal when it has ended.
func (r *terminalRun) writes(text string, n int) {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		r.screen.mu.Lock()
		output, changed := r.screen.b.String(), r.screen.changed
		r.screen.mu.Unlock()
		if strings.Count(output, text) == n {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			r.t.Fatalf("%q is not there %d times: %q", text, n, output)
		}
	}
}

// A conversation, as a person has it.
func TestTerminal(t *testing.T) {
	send := make(chan string)
	url := serve(t, func(c *websocket.Conn, r *http.Request) {
		go func() {
			for text := range send {
				c.Write(r.Context(), websocket.MessageText, []byte(text))
			}
		}()
		echo(c, r)
	}, nil)
	defer close(send)
	r := inTerminal(t, nil, url)
	r.sees("connected to ADDRESS", "> |")
	r.types("hello")
	r.sees("> hello|")
	r.types("\r")
	r.sees("> hello", "< hello", "> |")

	// A message that comes while a line is typed is printed above it.
	r.types("half")
	r.sees("> half|")
	send <- "an interruption"
	r.sees("< an interruption", "> half|")
	r.types(" and half\x1b[D\x1b[D")
	r.sees("> half and ha|lf")
	r.types("\r")
	r.sees("> half and half", "< half and half", "> |")

	// A long line scrolls.
	r.types(strings.Repeat("0123456789", 10))
	r.sees("> " + strings.Repeat("0123456789", 10)[100-terminalColumns+4:] + "|")
	r.types("\x15")
	r.sees("> |")

	// The history; a paste of several lines is one message.
	r.types("\x1b[A\x1b[A")
	r.sees("> hello|")
	r.types("\x1b[B\x1b[B\x1b[200~{\n  \"a\": 1\n}\n\x1b[201~")
	r.sees("> {\u23ce  \"a\": 1\u23ce}|")
	r.types("\r")
	r.sees("> {", "    \"a\": 1", "  }", "< {", "    \"a\": 1", "  }", "> |")

	// Commands.
	r.types("/help\r")
	r.sees("Ctrl-D closes too, and Ctrl-C closes with 1001. Up and Down recall lines.", "> |")
	r.types("//help\r")
	r.sees("> //help", "< /help", "> |")
	r.types("/binary 1b5b\r")
	r.sees("< binary, 2 bytes", "  00000000  1b 5b                                             |.[|", "> |")
	r.types("/nonsense\r")
	r.screen.wait(t, "there is no command /nonsense")
	r.types("/ping\r")
	r.screen.wait(t, "pong after ")
	r.types("/close 4001 enough\r")
	r.sees("> /close 4001 enough", `closed: 4001 (private code) "enough"`, "|")
	r.ends(exitOK)
}

// The terminal is as before when ws ends, however it does.
func TestTerminalIsGivenBack(t *testing.T) {
	url := serve(t, echo, nil)
	for name, tt := range map[string]struct {
		end  func(*terminalRun)
		code int
		last string
	}{
		"Ctrl-D":  {func(r *terminalRun) { r.types("\x04") }, exitOK, "closed: 1000 (normal closure)"},
		"Ctrl-C":  {func(r *terminalRun) { r.types("\x03") }, exitInterrupted, "closed: 1001 (going away)"},
		"SIGTERM": {func(r *terminalRun) { r.cmd.Process.Signal(syscall.SIGTERM) }, exitInterrupted, "closed: 1001 (going away)"},
	} {
		t.Run(name, func(t *testing.T) {
			r := inTerminal(t, nil, url)
			before := r.mode()
			r.sees("connected to ADDRESS", "> |")
			if during := r.mode(); during.Lflag&(syscall.ECHO|syscall.ICANON) != 0 || during.Lflag&syscall.ISIG == 0 {
				t.Errorf("the mode is %#x while ws edits", during.Lflag)
			}
			tt.end(r)
			r.sees(tt.last, "|")
			r.ends(tt.code)
			if after := r.mode(); after.Lflag&(syscall.ECHO|syscall.ICANON) != syscall.ECHO|syscall.ICANON {
				t.Errorf("the mode was %#x, and is %#x", before.Lflag, after.Lflag)
			}
			r.writes(pasteMarksOff, strings.Count(r.screen.String(), pasteMarksOn))
		})
	}
}

// A peer that does not answer the close frame: the second Ctrl-C ends at once,
// and the terminal is given back.
func TestSecondInterruption(t *testing.T) {
	url := rawServer(t, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	r := inTerminal(t, nil, url)
	r.sees("connected to ADDRESS", "> |")
	begin := time.Now()
	for ended := false; !ended && time.Since(begin) < patience; { // a signal that comes before the first one is handled is lost
		r.types("\x03")
		select {
		case err := <-r.exited:
			ended = true
			r.exited <- err
		case <-time.After(20 * time.Millisecond):
		}
	}
	if took := time.Since(begin); took > 4*time.Second { // the close timeout is 5 s
		t.Errorf("it took %v", took)
	}
	r.ends(exitInterrupted)
	if after := r.mode(); after.Lflag&(syscall.ECHO|syscall.ICANON) != syscall.ECHO|syscall.ICANON {
		t.Errorf("the mode is %#x", after.Lflag)
	}
}

func (r *terminalRun) mode() (mode syscall.Termios) {
	control, err := r.master.SyscallConn()
	if err != nil {
		r.t.Fatal(err)
	}
	control.Control(func(fd uintptr) { err = ioctl(fd, getTermios, unsafe.Pointer(&mode)) })
	if err != nil {
		r.t.Fatal(err)
	}
	return mode
}

// With only one end in a pipe there is no prompt, and messages are plain in the
// pipe.
func TestHalfATerminal(t *testing.T) {
	url := serve(t, echo, nil)
	t.Run("stdout in a pipe", func(t *testing.T) {
		out := newBuffer()
		r := inTerminal(t, func(cmd *exec.Cmd) { cmd.Stdout = out }, "-j", "--linger", "1ms", url)
		r.sees("connected to ADDRESS", "|")
		r.types("{\"a\":1}\n")
		out.wait(t, "^{\n  \"a\": 1\n}\n$")
		r.types("\x04")
		r.ends(exitOK)
	})
	t.Run("stdin in a pipe", func(t *testing.T) {
		r := inTerminal(t, func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader("\x1b[2Jhi\n") }, "-n", "1", url)
		r.sees("connected to ADDRESS", `\x1b[2Jhi`, "closed: 1000 (normal closure)", "|")
		r.ends(exitOK)
	})
}

// Ctrl-Z stops, and the prompt comes back with its line.
func TestStopAndGoOn(t *testing.T) {
	url := serve(t, echo, nil)
	r := inTerminal(t, nil, url)
	r.sees("connected to ADDRESS", "> |")
	r.types("half")
	r.sees("> half|")
	n := strings.Count(r.screen.String(), "half")
	r.cmd.Process.Signal(syscall.SIGCONT) // what a shell sends after fg
	r.screen.wait(t, fmt.Sprintf("(?s)(half.*){%d}", n+1))
	r.types("\r")
	r.sees("> half", "< half", "> |")
	r.types("\x04")
	r.ends(exitOK)
}

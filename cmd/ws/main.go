// Command ws talks to WebSocket servers, is one, and measures them.
//
//	go install github.com/seed70bc5565/websocket/cmd/ws@latest
//
//	ws URL              send lines, print messages
//	ws listen ADDRESS   serve: echo, broadcast, or a script
//	ws ping URL         measure round trips
//	ws bench URL        load a server
//	ws completion SHELL print the completion for bash, zsh or fish
//
// Messages go to stdout and everything else to stderr, so that ws works in a
// pipe:
//
//	echo '{"id":1}' | ws -n 1 wss://example.com/rpc | jq .result
//
// "ws help" lists the options of each command, and the exit codes.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

// The exit codes. They are part of what scripts rely on.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitUnreachable = 4
	exitCloseCode   = 5
	exitBroken      = 6
	exitMissing     = 7
	exitInterrupted = 130
)

const exitCodesHelp = `Exit codes:
    0  the connection was closed in an orderly way (1000, 1001, or no code)
    1  something else failed, such as a file
    2  the command line is wrong
    3  the server answered, but did not accept the handshake
    4  there was no answer: address, TLS, proxy, or too late
    5  the peer closed with another code
    6  the connection broke, or the peer broke the protocol
    7  an answer that was waited for did not come (-n, ping, bench, a script)
  130  interrupted
`

func main() {
	log.SetOutput(io.Discard) // net/http would write there of servers that speak first
	c := newConsole(os.Stdin, os.Stdout, os.Stderr)
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals // a second one ends the process at once
		restoreTerminal()
		os.Exit(exitInterrupted)
	}()
	code := run(ctx, os.Args[1:], c)
	c.restore()
	os.Exit(code)
}

// commands returns all commands. The first one has no name: it is "ws URL".
func commands() []*command {
	return []*command{connectCommand(), listenCommand(), pingCommand(), benchCommand(), completionCommand(), helpCommand(), versionCommand()}
}

// run runs the command line args, and returns its exit code. The end of ctx is
// an interruption.
func run(ctx context.Context, args []string, c *console) int {
	all := commands()
	cmd := all[0]
	if len(args) > 0 {
		for _, named := range all[1:] {
			if args[0] == named.name {
				cmd, args = named, args[1:]
				break
			}
		}
	}
	rest, err := cmd.parse(args)
	switch {
	case err == errHelp:
		c.print(cmd.help())
		return exitOK
	case err != nil:
		return usageError(c, cmd, err)
	case cmd == all[0] && len(rest) == 0 && len(args) == 0:
		c.note(overview(all))
		return exitUsage
	}
	err = cmd.run(ctx, c, rest)
	if err == nil {
		return exitOK
	}
	var e exitError
	if !asExit(err, &e) {
		e = exitError{exitFailed, err}
	}
	if e.code == exitUsage {
		return usageError(c, cmd, e.err)
	}
	if e.err != nil {
		c.note("ws: " + sanitize(e.err.Error()))
	}
	return e.code
}

func usageError(c *console, cmd *command, err error) int {
	c.note(fmt.Sprintf("ws: %s\nRun \"%s -help\" for its options.", sanitize(err.Error()), cmd.title()))
	return exitUsage
}

// overview is what "ws" and "ws help" print.
func overview(all []*command) string {
	var b strings.Builder
	b.WriteString("ws talks to WebSocket servers, is one, and measures them.\n\n")
	for _, cmd := range all {
		fmt.Fprintf(&b, "  %-26s %s\n", strings.TrimSpace(cmd.title()+" "+cmd.args), cmd.summary)
	}
	b.WriteString("\n\"ws COMMAND -help\" and \"ws -help\" list options.\n\n" + exitCodesHelp)
	return strings.TrimRight(b.String(), "\n")
}

func helpCommand() *command {
	return &command{name: "help", summary: "print this list and the exit codes",
		run: func(_ context.Context, c *console, _ []string) error {
			c.print(overview(commands()))
			return nil
		}}
}

func versionCommand() *command {
	return &command{name: "version", summary: "print the version",
		run: func(_ context.Context, c *console, _ []string) error {
			version := "(unknown)"
			if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
				version = info.Main.Version
			}
			c.print("ws " + version)
			return nil
		}}
}

// exitError is an error with the exit code that it ends ws with. err may be
// nil: then everything is said.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e exitError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return exitError{exitUsage, fmt.Errorf(format, args...)}
}

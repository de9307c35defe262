package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errHelp is the error of parse when the user asks for help.
var errHelp = flag.ErrHelp

func asExit(err error, e *exitError) bool { return errors.As(err, e) }

// A command is one of the things that ws does. Its options also make its help
// and its completion.
type command struct {
	name    string // "" is "ws URL"
	args    string // its arguments, as help shows them
	summary string
	details string // more for help
	options []option
	run     func(ctx context.Context, c *console, args []string) error
}

// An option is one flag under all its names.
type option struct {
	names []string // without dashes, the shortest first
	arg   string   // the placeholder of its value; "" if it has none
	help  string
	// complete says what the shell offers as value: "file", "dir", or words
	// with spaces between them.
	complete string
	set      func(string) error
}

func (cmd *command) title() string { return strings.TrimSpace("ws " + cmd.name) }

// add adds an option. names has its names, with commas between them.
func (cmd *command) add(names, arg, complete, help string, set func(string) error) {
	cmd.options = append(cmd.options, option{strings.Split(names, ","), arg, help, complete, set})
}

func (cmd *command) boolean(p *bool, names, help string) {
	cmd.add(names, "", "", help, func(s string) (err error) {
		if *p, err = strconv.ParseBool(s); err != nil {
			err = errors.New("it takes no value, or true or false")
		}
		return err
	})
}

func (cmd *command) text(p *string, names, arg, complete, help string) {
	cmd.add(names, arg, complete, help, func(s string) error { *p = s; return nil })
}

func (cmd *command) list(p *[]string, names, arg, help string) {
	cmd.add(names, arg, "", help, func(s string) error { *p = append(*p, s); return nil })
}

func (cmd *command) choice(p *string, names, choices, help string) {
	cmd.add(names, strings.ReplaceAll(choices, " ", "|"), choices, help, func(s string) error {
		if !slices.Contains(strings.Fields(choices), s) {
			return fmt.Errorf("it must be one of: %s", choices)
		}
		*p = s
		return nil
	})
}

// integer adds an option for a whole number from low to high.
func (cmd *command) integer(p *int, low, high int, names, arg, help string) {
	cmd.add(names, arg, "", help, func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return fmt.Errorf("it must be a whole number from %d to %d", low, high)
		}
		*p = n
		return nil
	})
}

func (cmd *command) duration(p *time.Duration, names, help string) {
	cmd.add(names, "TIME", "", help, func(s string) error {
		d, err := time.ParseDuration(s)
		if seconds, notNumber := strconv.ParseFloat(s, 64); notNumber == nil && seconds < 1e9 {
			d, err = time.Duration(seconds*float64(time.Second)), nil
		}
		if err != nil || d < 0 {
			return errors.New("it must be a time such as 500ms, 10s or 2m, or a number of seconds")
		}
		*p = d
		return nil
	})
}

// parse sets the options that args has, and returns the other arguments.
// Options may stand before and behind them. Arguments behind "--" are no
// options.
func (cmd *command) parse(args []string) (rest []string, err error) {
	fs := flag.NewFlagSet(cmd.title(), flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	for _, o := range cmd.options {
		for _, name := range o.names {
			if o.arg == "" {
				fs.BoolFunc(name, o.help, o.set)
			} else {
				fs.Func(name, o.help, o.set)
			}
		}
	}
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		left := fs.Args()
		if len(left) == 0 {
			return rest, nil
		}
		if consumed := len(args) - len(left); consumed > 0 && args[consumed-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

// help is what "-help" prints.
func (cmd *command) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s [options] %s\n\n", cmd.title(), cmd.args)
	b.WriteString(wrapText(strings.ToUpper(cmd.summary[:1])+cmd.summary[1:]+".", 80, "") + "\n")
	if cmd.details != "" {
		b.WriteString("\n" + strings.Trim(cmd.details, "\n") + "\n")
	}
	if len(cmd.options) > 0 {
		b.WriteString("\nOptions:\n")
	}
	for _, o := range cmd.options {
		b.WriteString("  " + o.usage() + "\n" + wrapText(o.help, 80, "        ") + "\n")
	}
	if cmd.name == "" {
		b.WriteString("\n" + exitCodesHelp)
	}
	return strings.TrimRight(b.String(), "\n")
}

// usage returns the names of the option with dashes, and its placeholder.
func (o option) usage() string {
	var names []string
	for _, name := range o.names {
		names = append(names, dashed(name))
	}
	return strings.TrimSpace(strings.Join(names, ", ") + " " + o.arg)
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// wrapText breaks text into lines of at most width columns, each with the
// indent before it.
func wrapText(text string, width int, indent string) string {
	var lines []string
	line := indent
	for _, word := range strings.Fields(text) {
		if len(line) > len(indent) && len(line)+1+len(word) > width {
			lines, line = append(lines, line), indent
		}
		if len(line) > len(indent) {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n")
}

package main

import (
	"context"
	"fmt"
	"strings"
)

func completionCommand() *command {
	cmd := &command{name: "completion", args: "bash|zsh|fish", summary: "print the completion of a shell",
		details: `
  bash:  source <(ws completion bash)
  zsh:   ws completion zsh > "${fpath[1]}/_ws"
  fish:  ws completion fish > ~/.config/fish/completions/ws.fish`}
	cmd.run = func(_ context.Context, c *console, args []string) error {
		scripts := map[string]func([]*command) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
		if len(args) != 1 || scripts[args[0]] == nil {
			return usagef("one shell is needed: bash, zsh or fish")
		}
		c.print(strings.TrimRight(scripts[args[0]](commands()), "\n"))
		return nil
	}
	return cmd
}

// names returns the names of all commands that have one.
func names(all []*command) string {
	var list []string
	for _, cmd := range all {
		if cmd.name != "" {
			list = append(list, cmd.name)
		}
	}
	return strings.Join(list, " ")
}

func bashCompletion(all []*command) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# bash completion for ws
_ws() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=
    case " %s " in *" ${COMP_WORDS[1]} "*) [ "$COMP_CWORD" -gt 1 ] && cmd=${COMP_WORDS[1]} ;; esac
    case "$cmd $prev" in
`, names(all))
	for _, cmd := range all {
		for _, o := range cmd.options {
			if o.arg == "" {
				continue
			}
			var patterns []string
			for _, name := range o.names {
				patterns = append(patterns, fmt.Sprintf("%q", cmd.name+" "+dashed(name)))
			}
			reply := "COMPREPLY=()"
			switch o.complete {
			case "":
			case "file":
				reply = `COMPREPLY=($(compgen -f -- "$cur")); compopt -o filenames 2>/dev/null`
			default:
				reply = fmt.Sprintf(`COMPREPLY=($(compgen -W %q -- "$cur"))`, o.complete)
			}
			fmt.Fprintf(&b, "    %s) %s; return ;;\n", strings.Join(patterns, "|"), reply)
		}
	}
	b.WriteString("    esac\n    local words=\n    case \"$cmd\" in\n")
	for _, cmd := range all {
		words := ""
		switch cmd.name {
		case "":
			words = names(all) + " ws:// wss://"
		case "ping", "bench":
			words = "ws:// wss://"
		case "completion":
			words = "bash zsh fish"
		}
		fmt.Fprintf(&b, "    %q) words=%q ;;\n", cmd.name, words)
	}
	b.WriteString("    esac\n    if [[ $cur == -* ]]; then\n        case \"$cmd\" in\n")
	for _, cmd := range all {
		var words []string
		for _, o := range cmd.options {
			for _, name := range o.names {
				words = append(words, dashed(name))
			}
		}
		fmt.Fprintf(&b, "        %q) words=%q ;;\n", cmd.name, strings.Join(words, " "))
	}
	b.WriteString(`        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    [[ ${COMPREPLY[0]} == *:// ]] && compopt -o nospace 2>/dev/null
}
complete -F _ws ws
`)
	return b.String()
}

func zshCompletion(all []*command) string {
	var b strings.Builder
	b.WriteString("#compdef ws\n# zsh completion for ws\n\n_ws() {\n    local cmd=\n    case ${words[2]} in\n")
	fmt.Fprintf(&b, "    %s) (( CURRENT > 2 )) && cmd=${words[2]} ;;\n    esac\n    case \"$cmd\" in\n", strings.ReplaceAll(names(all), " ", "|"))
	escape := strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`)
	for _, cmd := range all {
		fmt.Fprintf(&b, "    %q)\n        local -a options=(\n", cmd.name)
		for _, o := range cmd.options {
			value := ""
			if o.arg != "" {
				value = ":" + escape.Replace(strings.Trim(o.arg, "'")) + ":"
				switch o.complete {
				case "":
				case "file":
					value += "_files"
				default:
					value += "(" + o.complete + ")"
				}
			}
			for _, name := range o.names {
				fmt.Fprintf(&b, "            '*%s[%s]%s'\n", dashed(name), escape.Replace(o.help), value)
			}
		}
		b.WriteString("        )\n")
		switch cmd.name {
		case "":
			b.WriteString("        _arguments $options '1:command or URL:->first' && return\n")
			b.WriteString("        if [[ $state == first ]]; then\n            local -a commands=(\n")
			for _, named := range all[1:] {
				fmt.Fprintf(&b, "                '%s:%s'\n", named.name, escape.Replace(named.summary))
			}
			b.WriteString("            )\n            _describe command commands\n            compadd -S '' -- ws:// wss://\n        fi\n")
		case "ping", "bench":
			b.WriteString("        shift words; (( CURRENT-- ))\n        _arguments $options '1:URL:(ws\\:// wss\\://)'\n")
		case "completion":
			b.WriteString("        shift words; (( CURRENT-- ))\n        _arguments $options '1:shell:(bash zsh fish)'\n")
		default:
			b.WriteString("        shift words; (( CURRENT-- ))\n        _arguments $options '1:address:'\n")
		}
		b.WriteString("        ;;\n")
	}
	b.WriteString("    esac\n}\n\nif [ \"$funcstack[1]\" = _ws ]; then _ws \"$@\"; else compdef _ws ws; fi\n")
	return b.String()
}

func fishCompletion(all []*command) string {
	var b strings.Builder
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
	}
	list := names(all)
	b.WriteString("# fish completion for ws\ncomplete -c ws -f\n")
	none := "not __fish_seen_subcommand_from " + list
	for _, cmd := range all {
		condition := "__fish_seen_subcommand_from " + cmd.name
		if cmd.name == "" {
			condition = none
		} else {
			fmt.Fprintf(&b, "complete -c ws -n %s -a %s -d %s\n", quote(none), cmd.name, quote(cmd.summary))
		}
		switch cmd.name {
		case "", "ping", "bench":
			fmt.Fprintf(&b, "complete -c ws -n %s -a 'ws:// wss://'\n", quote(condition))
		case "completion":
			fmt.Fprintf(&b, "complete -c ws -n %s -a 'bash zsh fish'\n", quote(condition))
		}
		for _, o := range cmd.options {
			fmt.Fprintf(&b, "complete -c ws -n %s", quote(condition))
			for _, name := range o.names {
				if len(name) == 1 {
					b.WriteString(" -s " + name)
				} else {
					b.WriteString(" -l " + name)
				}
			}
			switch {
			case o.arg == "":
			case o.complete == "file":
				b.WriteString(" -r -F")
			case o.complete == "":
				b.WriteString(" -x")
			default:
				b.WriteString(" -x -a " + quote(o.complete))
			}
			fmt.Fprintf(&b, " -d %s\n", quote(o.help))
		}
	}
	return b.String()
}

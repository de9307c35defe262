package main

import (
	"os/exec"
	"strings"
	"testing"
)

func completionScript(t *testing.T, shell string) string {
	t.Helper()
	r := ws(t, "", "completion", shell)
	if r.code != exitOK || r.err != "" {
		t.Fatalf("%+v", r)
	}
	for _, cmd := range commands() {
		if cmd.name != "" && !strings.Contains(r.out, cmd.name) {
			t.Errorf("%s: %s is missing", shell, cmd.name)
		}
		for _, o := range cmd.options {
			if name := o.names[len(o.names)-1]; !strings.Contains(r.out, name) {
				t.Errorf("%s: the option %s is missing", shell, name)
			}
		}
	}
	return r.out
}

// runShell runs a program of a shell that may not be there.
func runShell(t *testing.T, shell string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(shell)
	if err != nil {
		t.Skipf("there is no %s here", shell)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", shell, err, out)
	}
	return string(out)
}

func TestBashCompletion(t *testing.T) {
	script := completionScript(t, "bash")
	for line, want := range map[string]string{
		"ws be":                     "bench",
		"ws --fr":                   "--frames",
		"ws ping --fr":              "--frames",
		"ws bench --mode s":         "send",
		"ws --binary-as ":           "dump hex base64 raw",
		"ws completion z":           "zsh",
		"ws listen --fra":           "--frames",
		"ws bench --broad":          "",
		"ws listen --broad":         "--broadcast",
		"ws -H x --no-t":            "--no-takeover",
		"ws --ca /etc/host":         "FILES",
		"ws completion ":            "bash zsh fish",
		"ws listen --subprotocol x": "",
	} {
		words := strings.Split(line, " ")
		program := script + "\nCOMP_WORDS=("
		for _, word := range words {
			program += "'" + word + "' "
		}
		program += `); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _ws; echo "${COMPREPLY[*]}"`
		got := strings.TrimSpace(runShell(t, "bash", "-c", program))
		if want == "FILES" {
			if !strings.Contains(got, "/etc/host") {
				t.Errorf("%q: %q", line, got)
			}
		} else if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestZshCompletion(t *testing.T) {
	script := completionScript(t, "zsh")
	runShell(t, "zsh", "-f", "-n", "-c", script)
	// _arguments and its kin only say what they are asked for.
	program := `
compdef() { :; }
_arguments() { print -r -- "$@"; return 1 }
_describe() { print -r -- "${(P)2[@]}"; }
compadd() { print -r -- "$@"; }
` + script + `
words=(ws be); CURRENT=2; state=first; _ws
print; words=(ws bench --mode s); CURRENT=4; _ws; true`
	first, second, _ := strings.Cut(runShell(t, "zsh", "-f", "-c", program), "\n\n")
	if !strings.Contains(first, "bench:load a server") || !strings.Contains(first, "*--frames[") || !strings.Contains(first, "wss://") {
		t.Errorf("the first word: %s", first)
	}
	if !strings.Contains(second, "(echo send receive)") || strings.Contains(second, "--broadcast") {
		t.Errorf("an option of bench: %s", second)
	}
}

func TestFishCompletion(t *testing.T) {
	script := completionScript(t, "fish")
	for line, want := range map[string]string{
		"ws be":             "bench",
		"ws --fra":          "--frames",
		"ws bench --mode s": "send",
		"ws completion z":   "zsh",
		"ws listen --broad": "--broadcast",
		"ws bench --broad":  "",
	} {
		got := runShell(t, "fish", "--no-config", "-c", script+"\ncomplete -C '"+line+"'")
		var names []string
		for _, candidate := range strings.Split(strings.TrimSpace(got), "\n") {
			name, _, _ := strings.Cut(candidate, "\t")
			names = append(names, name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

//go:build unix

package brokertest

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Clock is the wall clock of programs that the test starts: the system's, and
// so many seconds more. It may be set while they run. Monotonic clocks go on as
// before, as when an administrator sets a machine's clock.
type Clock struct {
	file string

	mu   sync.Mutex // guards what follows, and the file
	skew time.Duration
}

// clockVariable names the file of a program's clock: eight bytes, seconds. The
// program maps it into its memory.
const clockVariable = "BROKERTEST_CLOCK"

// NewClock returns a clock that is ahead by skew. It skips the test where
// programs cannot have clocks of their own.
func NewClock(t testing.TB, skew time.Duration) *Clock {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("programs can have clocks of their own on Linux only")
	}
	c := &Clock{file: filepath.Join(t.TempDir(), "clock")}
	if err := os.WriteFile(c.file, make([]byte, 8), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Set(t, skew)
	return c
}

// Set makes the clock be ahead of the system's by skew, which may be negative.
func (c *Clock) Set(t testing.TB, skew time.Duration) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := os.OpenFile(c.file, os.O_WRONLY, 0) // not truncated: it is mapped
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.skew = skew
	if _, err := f.Write(binary.NativeEndian.AppendUint64(nil, uint64(int64(skew/time.Second)))); err != nil {
		t.Fatal(err)
	}
}

// check fails the test if a program that has the clock says another time.
func (c *Clock) check(t testing.TB, who string, got time.Time) {
	t.Helper()
	c.mu.Lock()
	want := time.Now().Add(c.skew)
	c.mu.Unlock()
	if d := got.Sub(want); d < -patience || d > patience {
		t.Errorf("%s has the time %v, want %v", who, got, want)
	}
}

// env returns what a program needs in its environment to have the clock.
func (c *Clock) env() []string { return []string{clockVariable + "=" + c.file} }

// built is where the programs with clocks are. Main removes it.
var built = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "brokertest") })

func removeBuilt() {
	if dir, err := built(); err == nil {
		os.RemoveAll(dir)
	}
}

// onceFor calls f once for each key, and returns what it returned.
func onceFor(key string, f func() (string, error)) (string, error) {
	once, _ := onces.LoadOrStore(key, sync.OnceValues(f))
	return once.(func() (string, error))()
}

var onces sync.Map

func run(dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// Go's programs ask the kernel for the time without a library that could stand
// between. So they are built with another package time.

//go:embed clock_go.txt
var goClock string

var asksKernel = regexp.MustCompile(`(?m)^(\t+)sec, nsec, mono := (runtimeNow|now)\(\)$`)

// overlay returns the file of a go command's option -overlay.
func overlay() (string, error) {
	return onceFor("overlay", func() (string, error) {
		dir, err := built()
		if err != nil {
			return "", err
		}
		root, err := run("", nil, "go", "env", "GOROOT")
		if err != nil {
			return "", err
		}
		source := filepath.Join(root, "src", "time", "time.go")
		text, err := os.ReadFile(source)
		if err != nil {
			return "", err
		}
		changed := asksKernel.ReplaceAll(text, []byte("$0\n${1}sec += skew()"))
		if len(changed) == len(text) {
			return "", fmt.Errorf("%s has no line that asks for the time", source)
		}
		replace := map[string]string{
			source: filepath.Join(dir, "time.go"),
			filepath.Join(root, "src", "time", "skew.go"): filepath.Join(dir, "skew.go"),
		}
		config, err := json.Marshal(map[string]any{"Replace": replace})
		if err != nil {
			return "", err
		}
		for name, text := range map[string][]byte{"time.go": changed, "skew.go": []byte(goClock), "overlay.json": config} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				return "", err
			}
		}
		return filepath.Join(dir, "overlay.json"), nil
	})
}

// ownProgram returns the test's own program, built so that it can have a clock.
func ownProgram() (string, error) {
	return onceFor("own", func() (string, error) {
		file, err := overlay()
		if err != nil {
			return "", err
		}
		program := filepath.Join(filepath.Dir(file), "own")
		_, err = run("", nil, "go", "test", "-c", "-vet=off", "-overlay", file, "-o", program, ".")
		return program, err
	})
}

var version = regexp.MustCompile(`v\d+\.\d+\.\d+`)

// withClock returns the program of an engine that has a clock, and what that
// program needs in its environment.
func (k *Kind) withClock(c *Clock) (program string, env []string, err error) {
	if k.Module == "" {
		shim, err := shim()
		return k.Program, append(c.env(), "LD_PRELOAD="+shim), err
	}
	program, err = onceFor(k.Module, func() (string, error) {
		file, err := overlay()
		if err != nil {
			return "", err
		}
		text, err := run("", nil, k.Program, "--version") // the same as that which is installed
		if err != nil {
			return "", err
		}
		dir := filepath.Dir(file)
		_, err = run(dir, []string{"GOBIN=" + dir, "GOWORK=off"}, "go", "install", "-overlay", file, k.Module+"@"+version.FindString(text))
		return filepath.Join(dir, k.Program), err
	})
	return program, c.env(), err
}

//go:embed clock_c.txt
var cClock string

// shim returns a library that stands between a program and the functions of C
// that tell the time.
func shim() (string, error) {
	return onceFor("shim", func() (string, error) {
		dir, err := built()
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, "clock.c"), []byte(cClock), 0o600); err != nil {
			return "", err
		}
		_, err = run(dir, nil, "gcc", "-shared", "-fPIC", "-O1", "-o", "clock.so", "clock.c")
		return filepath.Join(dir, "clock.so"), err
	})
}

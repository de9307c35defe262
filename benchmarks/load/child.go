package load

import (
	"bufio"
	"io"
	"os"
	"os/exec"
)

// A Child is a process that takes lines and answers with lines. It ends with
// its input.
type Child struct {
	Cmd *exec.Cmd
	In  io.WriteCloser
	Out *bufio.Reader
}

// StartChild starts a program on one CPU, with GOMAXPROCS=1.
func StartChild(cpu int, name string, args ...string) (*Child, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startPinned(cmd, cpu); err != nil {
		return nil, err
	}
	return &Child{cmd, in, bufio.NewReader(out)}, nil
}

package h2peer

import (
	"log"
	"os"
	"os/exec"
	"strings"
)

// WithConnect is called first in a TestMain. When the process starts, net/http
// reads from the environment whether a server takes an extended CONNECT. So the
// tests run in a second process, whose environment says so.
func WithConnect() {
	const setting = "http2xconnect=1"
	if strings.Contains(os.Getenv("GODEBUG"), setting) {
		return
	}
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), "GODEBUG="+strings.Trim(os.Getenv("GODEBUG")+","+setting, ","))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() > 0 {
			os.Exit(cmd.ProcessState.ExitCode())
		}
		log.Fatal(err)
	}
	os.Exit(0)
}

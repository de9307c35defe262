//go:build !linux

package main

import (
	"errors"

	"github.com/seed70bc5565/websocket/benchmarks/load"
)

var errLinuxOnly = errors.New("the benchmarks run on Linux only")

type server struct{ path, addr string }

func startServer(bin string, args []string) (*server, error) { return nil, errLinuxOnly }

func (*server) pid() int                { return 0 }
func (*server) stop()                   {}
func (*server) rest() error             { return errLinuxOnly }
func (*server) order(line string) error { return errLinuxOnly }

type loader struct{}

func startLoad(job load.Job) (*loader, error) { return nil, errLinuxOnly }

func (*loader) stop()                        {}
func (*loader) result() (load.Result, error) { return load.Result{}, errLinuxOnly }

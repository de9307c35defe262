// Command release knows the modules of this repository. It keeps them fit to
// publish, tries them as a stranger would, and makes the tags of a release.
//
//	go run ./internal/release list              the folders of the modules, those needed by others first
//	go run ./internal/release modules           mend go.mod and go.work of the nested modules
//	go run ./internal/release tidy              the same, then go mod tidy in each
//	go run ./internal/release strangers         publish to a folder, and build a stranger's program on each module
//	go run ./internal/release tag [-do] v0.2.0  say what a release would do, or with -do commit and tag it
//
// It needs git, and never pushes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("which of list, modules, tidy, strangers, tag?")
	}
	root, err := repository()
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	do := flags.Bool("do", false, "tag: commit and tag, in place of saying what would be done")
	flags.Parse(args[1:])
	switch args[0] {
	case "list":
		mods, err := findModules(root)
		for _, m := range mods {
			fmt.Println(m.dir)
		}
		return err
	case "modules":
		return mend(root)
	case "tidy":
		return tidy(root)
	case "strangers":
		return strangers(root, nil)
	case "tag":
		if flags.NArg() != 1 {
			return errors.New("tag: which version? v0.2.0, for example")
		}
		return release(root, flags.Arg(0), *do, os.Stdout)
	}
	return fmt.Errorf("no command %q", args[0])
}

// repository returns the folder of the root module.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "CHANGELOG.md")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("run this inside the repository")
		}
		dir = up
	}
}

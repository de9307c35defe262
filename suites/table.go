package main

import "errors"

func writeTable(path string, results map[string]*result) error { return errors.New("not yet") }

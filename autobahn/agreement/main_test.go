package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// Known differences are no surprise. Others are, and so are known ones that are
// gone.
func TestSurprises(t *testing.T) {
	ok, late := verdict{"OK", "OK"}, verdict{"OK", "FAILED BY CLIENT"}
	for _, tt := range []struct {
		words    string
		c        comparison
		surprise string
	}{
		{"all is equal", comparison{name: "none server", ids: []string{"1.1.1"}, official: map[string]verdict{"1.1.1": ok}, ours: map[string]verdict{"1.1.1": ok}}, ""},
		{"a known difference", comparison{name: "close-lingers server", ids: []string{"6.4.1"}, official: map[string]verdict{"6.4.1": ok}, ours: map[string]verdict{"6.4.1": late}}, ""},
		{"a known difference that is gone", comparison{name: "close-lingers server", ids: []string{"6.4.1"}, official: map[string]verdict{"6.4.1": ok}, ours: map[string]verdict{"6.4.1": ok}}, "though"},
		{"of another case", comparison{name: "close-lingers server", ids: []string{"6.4.2"}, official: map[string]verdict{"6.4.2": ok}, ours: map[string]verdict{"6.4.2": late}}, "6.4.2"},
		{"of another peer", comparison{name: "close-lingers client", ids: []string{"6.4.1"}, official: map[string]verdict{"6.4.1": ok}, ours: map[string]verdict{"6.4.1": late}}, "6.4.1"},
		{"a case that one suite did not run", comparison{name: "none server", ids: []string{"1.1.1"}, official: map[string]verdict{"1.1.1": ok}}, "1.1.1"},
		{"an unreported peer", comparison{name: "handshake-accept client", ids: []string{"1.1.1"}, err: errNoReport}, ""},
		{"an unreported peer that is reported", comparison{name: "handshake-accept client"}, "now"},
		{"a peer that should be reported", comparison{name: "none client", err: errNoReport}, "not compared"},
		{"a peer that did not start", comparison{name: "handshake-accept client", err: errors.New("no program")}, "not compared"},
		{"by timing", comparison{name: "websockets server", ids: []string{"3.4"}, official: map[string]verdict{"3.4": ok}, ours: map[string]verdict{"3.4": {"NON-STRICT", "OK"}}}, ""},
	} {
		got := strings.Join(surprises([]*comparison{&tt.c}), "; ")
		if (got == "") != (tt.surprise == "") || !strings.Contains(got, tt.surprise) {
			t.Errorf("%s: %q", tt.words, got)
		}
	}
}

// The golden file keeps the peers that were not compared.
func TestGolden(t *testing.T) {
	file := filepath.Join(t.TempDir(), "golden.json")
	ok, bad := verdict{"OK", "OK"}, verdict{"FAILED", "OK"}
	first := &comparison{name: "a", ids: []string{"1", "2", "3"}, official: map[string]verdict{"1": ok, "2": bad, "3": ok}}
	second := &comparison{name: "b", ids: []string{"1"}, official: map[string]verdict{"1": ok}}
	for _, c := range []*comparison{first, second} {
		if err := writeGolden(file, []*comparison{c}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readGolden(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got["a"]["OK / OK"] != "1 3" || got["a"]["FAILED / OK"] != "2" || got["b"]["OK / OK"] != "1" {
		t.Errorf("the file holds %v", got)
	}
}

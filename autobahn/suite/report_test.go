package suite

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/autobahn/internal/broken"

	"net"
)

// brokenServer serves connections of a peer with a fault.
func brokenServer(t *testing.T, fault string) (url string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go broken.Serve(conn, fault)
		}
	}()
	return "ws://" + ln.Addr().String() + "/"
}

func TestReportFolder(t *testing.T) {
	cases, err := Select(Cases(), "1.1.1-2,2.5,3.2,6.5.2,7.7.1,7.13.1,9.7.1", "")
	if err != nil {
		t.Fatal(err)
	}
	results, err := TestServer(t.Context(), brokenServer(t, "close-1001"), Options{Cases: cases})
	if err != nil {
		t.Fatal(err)
	}
	report := NewReport(cases)
	report.Add("A <server>", results)
	report.Add("another", append(make([]*Result, len(cases)-1), results[0]))
	dir := filepath.Join(t.TempDir(), "reports")
	if err := report.WriteFolder(dir); err != nil {
		t.Fatal(err)
	}
	var index map[string]map[string]struct {
		Behavior, BehaviorClose, ReportFile string
		RemoteCloseCode                     *int
	}
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	e := index["A <server>"]["7.7.1"]
	if e.Behavior != Failed || e.BehaviorClose != WrongCode || e.RemoteCloseCode == nil || *e.RemoteCloseCode != 1001 || e.ReportFile != "a__server_case_7_7_1.json" {
		t.Errorf("index.json says of 7.7.1: %+v", e)
	}
	for name, wants := range map[string][]string{
		"index.html":                {"A &lt;server&gt;", "close: WRONG CODE", "not run", "prefers-color-scheme: dark"},
		"a__server_case_3_2.html":   {"RSV 2", "1002", "The wire", "Sec-WebSocket-Accept"},
		"a__server_case_7_7_1.json": {`"remoteCloseCode": 1001`, `"wirelog"`, `"TF"`, `"agent": "A \u003cserver\u003e"`},
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, want := range wants {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s does not contain %q", name, want)
			}
		}
	}
	var table strings.Builder
	if report.Table(&table) {
		t.Error("the table says that all passed")
	}
	if !strings.Contains(table.String(), "7.7.1: behavior FAILED") {
		t.Errorf("the table does not name 7.7.1:\n%s", table.String())
	}
}

func TestPassed(t *testing.T) {
	for _, tt := range []struct {
		behavior, close string
		allow           []string
		want            bool
	}{
		{OK, OK, nil, true},
		{Informational, Informational, nil, true},
		{NonStrict, OK, nil, false},
		{NonStrict, OK, []string{NonStrict}, true},
		{OK, WrongCode, nil, false},
		{Failed, OK, nil, false},
	} {
		r := &Result{ID: "1", Behavior: tt.behavior, BehaviorClose: tt.close, Duration: time.Second}
		if got := r.Passed(tt.allow...); got != tt.want {
			t.Errorf("%s, %s, allowed %v: %v", tt.behavior, tt.close, tt.allow, got)
		}
	}
}

// TestAgentNames: names of clients come from the network. Each client gets
// pages of its own, and no name breaks the report of the others.
func TestAgentNames(t *testing.T) {
	cases, err := Select(Cases(), "1.1.1", "")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"plain", "a/1", "a-1", "../../evil", "\u65e5\u672c", "\u4e2d\u56fd", strings.Repeat("x", 600), strings.Repeat("x", 601),
		"<script>alert(1)</script>", "\x1b[31mred"}
	report := NewReport(cases)
	for _, name := range names {
		report.Add(name, []*Result{{ID: "1.1.1", Behavior: Failed, BehaviorClose: OK, Explanation: "\x1b[2J", Detail: &Detail{ID: "1.1.1"}}})
	}
	dir := t.TempDir()
	if err := report.WriteFolder(dir); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*_case_1_1_1.html"))
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) != len(names) {
		t.Errorf("%d names have %d pages: %q", len(names), len(pages), pages)
	}
	if _, err := os.Stat(filepath.Join(dir, "plain_case_1_1_1.html")); err != nil {
		t.Error(err)
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(index), "<script") {
		t.Error("a name is a script of the index page")
	}
	var table strings.Builder
	report.Table(&table)
	if strings.Contains(table.String(), "\x1b") {
		t.Error("the table holds an escape sequence of the peer")
	}
}

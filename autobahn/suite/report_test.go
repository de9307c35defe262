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

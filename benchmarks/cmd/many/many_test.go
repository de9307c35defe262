package main

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseFlags(t *testing.T) {
	c, err := parseFlags(nil, io.Discard)
	if err != nil || c.conns != 100_000 || c.duration != 2*time.Minute || c.every != time.Minute {
		t.Errorf("the defaults are %+v, %v", c, err)
	}
	for _, bad := range []string{"-conns 0", "-per-process 0", "-duration 0s", "-every -1s", "-size 11", "-size 16385",
		"-broadcasts 0", "-cut 100001", "-cut -1", "-conns 20000 -per-process 10 -cut 0", "more", "-unknown"} {
		if _, err := parseFlags(strings.Fields(bad), io.Discard); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestShares(t *testing.T) {
	for _, test := range []struct {
		conns, per, n int
		want          []int
	}{
		{10, 10, 10, []int{10}},
		{11, 10, 11, []int{5, 6}},
		{100_000, 18_000, 100_000, []int{16666, 16667, 16667, 16666, 16667, 16667}},
		{100_000, 18_000, 2, []int{0, 0, 1, 0, 0, 1}},
	} {
		if got := (config{conns: test.conns, perServer: test.per}).shares(test.n); !slices.Equal(got, test.want) {
			t.Errorf("%d of %d by %d: %v, want %v", test.n, test.conns, test.per, got, test.want)
		}
	}
}

func TestFits(t *testing.T) {
	c := config{conns: 10_000, perServer: 10_000}
	for _, test := range []struct {
		available int64
		files     uint64
		want      string
	}{
		{1 << 30, 20_000, ""},
		{100 << 20, 20_000, "try -connections 5120"},
		{1 << 30, 10_000, "try -per-process 9800"},
	} {
		err := c.fits(test.available, test.files)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%d bytes, %d files: %v", test.available, test.files, err)
		}
	}
}

func TestCheckBounds(t *testing.T) {
	c := config{conns: 100_000, perServer: 18_000, size: 512, cut: 10_000}
	for _, test := range []struct {
		file, content string
		want          string
	}{
		{"", "", ""},
		{"/proc/sys/fs/file-max", "200000\n", "fs.file-max = 203400, and it is 200000"},
		{"/proc/sys/net/netfilter/nf_conntrack_count", "1\n", "nf_conntrack_max = 110001, and it is 65536"},
		{"/proc/sys/net/ipv4/tcp_mem", "1000\t2000\t3000\n", "tcp_mem (its third number) = 37500, and it is 3000"},
		{"/proc/sys/kernel/pid_max", "100\n", "kernel.pid_max = 240, and it is 100"},
	} {
		files := map[string]string{
			"/proc/sys/fs/file-max":                      "1000000\n",
			"/proc/sys/fs/file-nr":                       "1000\t0\t1000000\n",
			"/proc/sys/net/netfilter/nf_conntrack_max":   "65536\n",
			"/proc/sys/net/netfilter/nf_conntrack_count": "0\n", // it tracks nothing
			"/proc/sys/net/ipv4/tcp_mem":                 "100000\t200000\t300000\n",
		}
		files[test.file] = test.content
		err := c.checkBounds(func(name string) ([]byte, error) {
			if text, ok := files[name]; ok {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %q: %v, want %q", test.file, test.content, err, test.want)
		}
	}
}

func TestMeminfo(t *testing.T) {
	const text = "MemTotal:       24684084 kB\nSlab:             100 kB\n"
	if n, err := parseMeminfo(text, "Slab"); n != 100<<10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := parseMeminfo(text, "Mem"); err == nil {
		t.Error("there is no line Mem")
	}
}

func TestSoftnet(t *testing.T) {
	n, err := parseSoftnet("10635910 0004b30e 00000039 00000000\n0eea5b9c 00000002 00000039 00000000\n")
	if n != 0x4b310 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := parseSoftnet("none\n"); err == nil {
		t.Error("no error")
	}
}

func TestReport(t *testing.T) {
	c := config{conns: 20_000, perServer: 18_000, every: time.Minute, size: 512, cut: 10, broadcasts: 2}
	r := &run{config: c, start: time.Unix(0, 0)}
	r.rest = spell{wall: 100 * time.Second, cpu: 10 * time.Second, echoed: 33_000}
	r.collected, r.base = 100e6, 10e6
	for _, s := range []time.Duration{1, 3} {
		r.broadcasts = append(r.broadcasts, broadcast{first: time.Second / 10, last: s * time.Second,
			spell: spell{cpu: s * time.Second, each: []time.Duration{s * time.Second / 2}}})
	}
	for _, want := range []string{"| 20,000, 10,000 to a server", "| **5.0 KB**; 4.5 KB",
		"| **0.0500 s per second**, in 1m40s with 33,000 messages",
		"| **2s** (1s to 3s, of 2) |", "| 1s (500ms to 1.5s); 100µs |"} {
		if got := r.markdown(); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*run)
	}{
		{"", func(*run) {}},
		{"lost", func(r *run) { r.lost++ }},
		{"dead", func(r *run) { r.dead++ }},
		{"connections", func(r *run) { r.connections-- }},
		{"subscribers", func(r *run) { r.subscribers-- }},
		{"received", func(r *run) { r.received-- }},
	} {
		r := &run{config: config{conns: 10}, connections: 10, subscribers: 10, received: 10}
		test.spoil(r)
		if err := r.verdict(); (err == nil) != (test.name == "") {
			t.Errorf("%q: %v", test.name, err)
		}
	}
}

package docs_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
)

// Claims that several pages make are the same everywhere.

// allPages returns what users read, by its path from here: docs/*.md and the
// Markdown files of the root and of every module and example.
func allPages(t *testing.T) map[string]string {
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "../*.md", "../examples/*.md", "../autobahn/*.md", "../benchmarks/*.md", "../cmd/ws/*.md", "../hub/*/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts[filepath.ToSlash(name)] = string(b)
		}
	}
	return texts
}

var sentenceEnd = regexp.MustCompile(`[.:!?]\s|\n\s*\n|\n[-|#]`)

// sentences splits a page into sentences, cells of tables among them, each on
// one line.
func sentences(page string) []string {
	var all []string
	for _, s := range sentenceEnd.Split(page, -1) {
		if s = strings.Join(strings.Fields(s), " "); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// Which side is held to every MUST is always said: limitations.md has a MUST
// that this side leaves to the program.
func TestEveryMUST(t *testing.T) {
	claims := 0
	for name, page := range allPages(t) {
		for _, s := range sentences(page) {
			if !strings.Contains(strings.ToLower(s), "every must of") {
				continue
			}
			claims++
			if !strings.Contains(s, "what their peer sends") && !strings.Contains(s, "that the code keeps") {
				t.Errorf("%s: %q claims more than limitations.md", name, s)
			}
		}
	}
	if claims < 3 {
		t.Errorf("%d claims: this test has lost sight of them", claims)
	}
	if !strings.Contains(pages(t)["limitations.md"], "**One MUST is left to the program") {
		t.Error("limitations.md does not have the MUST that is left to the program")
	}
}

// What a million connections take is what scaling.md measured: 2 GB with
// Events, 8 GB with Handler, 5 GB in the kernel.
func TestMillionConnections(t *testing.T) {
	gigabytes := regexp.MustCompile(`([\d.]+) GB`)
	claims := 0
	for name, page := range allPages(t) {
		for _, s := range sentences(page) {
			if !strings.Contains(strings.ToLower(s), "a million connections") && !strings.Contains(s, "2 GB with `Events`") {
				continue
			}
			for _, m := range gigabytes.FindAllStringSubmatch(s, -1) {
				claims++
				if !slices.Contains([]string{"2", "8", "5"}, m[1]) {
					t.Errorf("%s: %q: scaling.md has other figures", name, s)
				}
			}
		}
	}
	if claims < 6 {
		t.Errorf("%d claims: this test has lost sight of them", claims)
	}
}

// A transport that sets neither Proxy nor DialContext drops HTTPS_PROXY of the
// environment, so no page has one.
func TestTransportsHeedProxies(t *testing.T) {
	bare := regexp.MustCompile(`&http\.Transport\{\s*(\w*)`)
	for name, page := range allPages(t) {
		for _, m := range bare.FindAllStringSubmatch(page, -1) {
			if m[1] != "Proxy" && m[1] != "DialContext" && m[1] != "DialTLSContext" {
				t.Errorf("%s: %s…: clone http.DefaultTransport", name, m[0])
			}
		}
	}
}

// What handshake-errors.md says of a proxy's 407, and of redirects: what came
// as a response is a HandshakeError, and the answer to CONNECT is none.
func TestHandshakeErrorOfProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	loop := httptest.NewServer(http.RedirectHandler("/", http.StatusFound))
	defer loop.Close()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(address)}}
	for _, tt := range []struct {
		url    string
		client *http.Client
		status int // of the HandshakeError; 0 if the error is none
		text   string
	}{
		{"ws://server.example/", client, 407, "through the HTTP proxy"},
		{"wss://server.example/", client, 0, "Proxy Authentication Required"},
		{loop.URL, nil, 302, "stopped after 10 redirects"},
	} {
		_, _, err := websocket.Dial(t.Context(), tt.url, &websocket.DialOptions{HTTPClient: tt.client})
		var refused *websocket.HandshakeError
		status := 0
		if errors.As(err, &refused) {
			status = refused.StatusCode
		}
		if status != tt.status || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: HandshakeError with status %d, %v", tt.url, status, err)
		}
	}
	// No answer at all is no HandshakeError either.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var refused *websocket.HandshakeError
	if _, _, err := websocket.Dial(t.Context(), "ws://"+l.Addr().String(), nil); err == nil || errors.As(err, &refused) {
		t.Errorf("nothing listens: %v", err)
	}
}

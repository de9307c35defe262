package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A proxyConfig is a configuration of a proxy as docs/deployment.md shows it.
// It says what has to be changed in it for a run: ports, paths, times.
type proxyConfig struct {
	file string // in realpeers/proxies
	// rewrite returns old and new texts in turns. Each old one is in the file
	// once.
	rewrite func(p places) []string
}

// places are what a run puts into a configuration.
type places struct {
	backend       string // host:port
	plain, secure string // ports
	chain, key    string // paths
	both          string
	idle          string // the time after which a silent connection is cut
	admin         string // port of Caddy's administration
}

var proxyConfigs = map[string]proxyConfig{
	"nginx": {"nginx.conf", func(p places) []string {
		return []string{
			"server 127.0.0.1:8080;", "server " + p.backend + ";",
			"listen 80;", "listen 127.0.0.1:" + p.plain + ";",
			"listen 443 ssl;", "listen 127.0.0.1:" + p.secure + " ssl;",
			"/etc/ssl/example.com/chain.pem", p.chain,
			"/etc/ssl/example.com/key.pem", p.key,
			"proxy_read_timeout 75s", "proxy_read_timeout " + p.idle,
			"proxy_send_timeout 75s", "proxy_send_timeout " + p.idle,
		}
	}},
	"haproxy": {"haproxy.cfg", func(p places) []string {
		return []string{
			"maxconn 20000", "maxconn 1000", // a run may not open more files than its limit
			"one 127.0.0.1:8080 check", "one " + p.backend + " check",
			"bind :80", "bind 127.0.0.1:" + p.plain,
			"bind :443", "bind 127.0.0.1:" + p.secure,
			"/etc/ssl/example.com/both.pem", p.both,
			"timeout tunnel 75s", "timeout tunnel " + p.idle,
		}
	}},
	"caddy": {"Caddyfile", func(p places) []string {
		return []string{
			// Without a certificate of its own it would ask for one on the
			// network.
			"# /etc/caddy/Caddyfile", fmt.Sprintf("{\n\tadmin localhost:%s\n\tauto_https off\n}", p.admin),
			"example.com {", "(site) {",
			"\n\t}\n}\n", fmt.Sprintf("\n\t}\n}\nhttp://127.0.0.1:%s {\n\timport site\n}\nhttps://127.0.0.1:%s {\n\ttls %s %s\n\timport site\n}\n", p.plain, p.secure, p.chain, p.key),
			"127.0.0.1:8080", p.backend,
		}
	}},
}

// read returns the configuration with p's places in it.
func (c proxyConfig) read(folder string, p places) (string, error) {
	data, err := os.ReadFile(filepath.Join(folder, c.file))
	if err != nil {
		return "", err
	}
	text := string(data)
	pairs := c.rewrite(p)
	for i := 0; i < len(pairs); i += 2 {
		if n := strings.Count(text, pairs[i]); n != 1 {
			return "", fmt.Errorf("%s has %q %d times", c.file, pairs[i], n)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text, nil
}

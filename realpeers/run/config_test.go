package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What docs/deployment.md shows is what runs: the configurations are quoted
// there letter by letter.
func TestDeploymentPageQuotesTheConfigurations(t *testing.T) {
	page, err := os.ReadFile("../../docs/deployment.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range proxyConfigs {
		data, err := os.ReadFile(filepath.Join("../proxies", c.file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "\n"+string(data)+"```\n") {
			t.Errorf("docs/deployment.md does not have %s as it stands in realpeers/proxies", c.file)
		}
	}
}

// A run must not use ports, certificates or times of a configuration as they
// stand there.
func TestConfigurationsAreRewritten(t *testing.T) {
	p := places{backend: "BACKEND", plain: "PLAIN", secure: "SECURE", chain: "CHAIN", key: "KEY", both: "BOTH", idle: "IDLE", admin: "ADMIN"}
	for name, c := range proxyConfigs {
		text, err := c.read("../proxies", p)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, old := range []string{"8080", "example.com/", " 80", ":443", "75s"} {
			if strings.Contains(text, old) {
				t.Errorf("%s still has %q:\n%s", name, old, text)
			}
		}
		for _, place := range []string{"BACKEND", "PLAIN", "SECURE"} {
			if !strings.Contains(text, place) {
				t.Errorf("%s does not have %s:\n%s", name, place, text)
			}
		}
	}
}

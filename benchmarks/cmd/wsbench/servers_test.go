package main

import (
	"os"
	"strings"
	"testing"
)

// The server ours-gorilla is the server gorilla with another import: what is
// compared is the library, not the program.
func TestServersOfGorilla(t *testing.T) {
	var texts [2]string
	for i, name := range []string{"gorilla", "ours-gorilla"} {
		p, err := os.ReadFile("../../servers/" + name + "/main.go")
		if err != nil {
			t.Fatal(err)
		}
		_, texts[i], _ = strings.Cut(string(p), "package main")
	}
	theirs := strings.Replace(texts[0], `"github.com/gorilla/websocket"`, `"github.com/seed70bc5565/websocket/gorilla"`, 1)
	if theirs == texts[0] || theirs != texts[1] {
		t.Error("servers/ours-gorilla is not servers/gorilla with the import of our package")
	}
}

// Command notify shows messages to the right person: a POST from anywhere
// reaches all pages that this user has open, and no others.
//
//	go run ./examples/notify
//
// Open the printed URL in two windows, sign in, and run the printed command.
package main

import (
	"crypto/rand"
	"embed"
	"flag"
	"fmt"
	"net/http"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/examples/internal/site"
)

//go:embed page
var page embed.FS

func main() {
	token := flag.String("token", "", "what programs that send notifications must know (default: a random one)")
	site.Main("notify", "localhost:8086", func() (*site.Program, error) {
		if *token == "" {
			*token = rand.Text()
		}
		return program(newNotifier(*token)), nil
	})
}

func program(n *notifier) *site.Program {
	sameOrigin := http.NewCrossOriginProtection() // no other site's page may sign in, or send in the user's name
	return &site.Program{
		Page: page,
		Routes: map[string]http.Handler{
			"GET /session":    http.HandlerFunc(n.session),
			"POST /session":   sameOrigin.Handler(http.HandlerFunc(n.signIn)),
			"DELETE /session": sameOrigin.Handler(http.HandlerFunc(n.signOut)),
			"POST /notify":    sameOrigin.Handler(http.HandlerFunc(n.notify)),
			"GET /ws":         sockets{websocket.Handler(n.serve, &websocket.AcceptOptions{ReadLimit: maxInput}), n},
		},
		Notes: func(url string) string {
			return fmt.Sprintf("To notify the user ada from another program:\n"+
				"  curl -H 'Authorization: Bearer %s' -d user=ada -d text='Dinner is ready' %snotify\n", n.token, url)
		},
	}
}

package websocket_test

import (
	"io"
	"testing"

	"github.com/seed70bc5565/websocket/autobahn/suite"
	"github.com/seed70bc5565/websocket/gorilla"
)

// conformanceCases are those that neither pause nor are long: make
// autobahn-gorilla has them all.
func conformanceCases(t *testing.T) []*suite.Case {
	cases, err := suite.Select(suite.Cases(), "",
		"12.*.2-18,13.*.2-18,6.4.*,5.19-20,9.1.4-6,9.2.4-6,9.3.1-4,9.4.1-4,9.5.1-4,9.6.1-4,9.7.2-6,9.8.2-6")
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

func echoMessages(c *websocket.Conn) error {
	for {
		typ, p, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if err := c.WriteMessage(typ, p); err != nil {
			return err
		}
	}
}

func echoStreams(c *websocket.Conn) error {
	for {
		typ, r, err := c.NextReader()
		if err != nil {
			return err
		}
		w, err := c.NextWriter(typ)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
}

var echoes = map[string]func(*websocket.Conn) error{"messages": echoMessages, "streams": echoStreams}

func TestConformanceOfServer(t *testing.T) {
	for name, echo := range echoes {
		t.Run(name, func(t *testing.T) {
			url := serve(t, &websocket.Upgrader{EnableCompression: true}, func(c *websocket.Conn) { echo(c) })
			suite.Server(t, url, suite.WithCases(conformanceCases(t)))
		})
	}
}

func TestConformanceOfClient(t *testing.T) {
	for name, echo := range echoes {
		t.Run(name, func(t *testing.T) {
			suite.Client(t, func(url string) error {
				c, _, err := (&websocket.Dialer{EnableCompression: true}).Dial(url, nil)
				if err != nil {
					return err
				}
				defer c.Close()
				echo(c)
				return nil
			}, suite.WithCases(conformanceCases(t)), suite.Allow(suite.Unimplemented)) // it offers no bound for its window, as gorilla
		})
	}
}

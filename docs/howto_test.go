package docs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/wsjson"
)

// What follows, up to the mark, stands in how-to.md too, letter by letter.

func newScores() *hub.Hub {
	return hub.New(&hub.Options{
		History: hub.History{Messages: 1000, Age: 10 * time.Minute},
		Encode: func(dst []byte, m hub.Message) []byte { // each message carries its position
			return fmt.Appendf(dst, `{"position":%q,"data":%q}`, m.Position, m.Data)
		},
	})
}

func serveScores(h *hub.Hub, c *websocket.Conn, r *http.Request) {
	after, err := hub.ParsePosition(r.URL.Query().Get("after"))
	if err != nil {
		c.Close(websocket.StatusPolicyViolation, "bad position")
		return
	}
	s := h.Join(c)
	defer s.Leave()
	start, err := s.SubscribeFrom(r.Context(), "scores", hub.SubscribeOptions{After: after, Recent: 100})
	if err != nil {
		return
	}
	if !start.Complete {
		// Too much was missed, or it is the first time: the client has got the last 100. A program whose messages are
		// changes sends the state here: see Greet of hub.SubscribeOptions.
	}
	<-c.CloseRead(r.Context()).Done()
}

func follow(ctx context.Context, server string, token func(context.Context) (string, error), handle func(data string) error) error {
	after := "" // on a disk, if the program itself may end
	client := websocket.Redialer{
		BeforeDial: func(ctx context.Context, a *websocket.RedialAttempt) error {
			t, err := token(ctx)
			if err != nil {
				return err // judged as an error of Dial's is: tried again
			}
			a.URL = server + "?after=" + url.QueryEscape(after)
			a.Options.HTTPHeader.Set("Authorization", "Bearer "+t)
			return nil
		},
	}
	return client.Run(ctx, func(ctx context.Context, c *websocket.Conn) error {
		for {
			var m struct{ Position, Data string }
			if err := wsjson.Read(ctx, c, &m); err != nil {
				return err
			}
			if err := handle(m.Data); err != nil {
				return err
			}
			after = m.Position // not before
		}
	})
}

// The mark: here ends what stands in how-to.md.

func TestHowToHasTheCodeTestedHere(t *testing.T) {
	page, err := os.ReadFile("how-to.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"howto_test.go", "howto_network_test.go"} {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, code, ok := strings.Cut(string(src), "letter by letter.\n\n")
		code, _, found := strings.Cut(code, "\n// The mark: ")
		if !ok || !found {
			t.Fatalf("%s: the marks are not there", name)
		}
		for _, f := range strings.Split(code, "\n\nfunc ") {
			if f = strings.TrimSuffix("func "+strings.TrimPrefix(f, "func "), "\n"); !strings.Contains(string(page), f+"\n") {
				t.Errorf("how-to.md does not have this code as it stands in %s: %.60s", name, f)
			}
		}
	}
}

// A client that is disconnected now and then, at a message that it is not done with, gets every message once, in order.
func TestHowToResumes(t *testing.T) {
	const messages, failures = 20, 2
	scores := newScores()
	for n := range messages {
		if err := scores.Publish(t.Context(), "scores", websocket.MessageText, fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
	}
	var connections atomic.Int32
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("Authorization: %q", r.Header.Get("Authorization"))
		}
		connections.Add(1)
		serveScores(scores, c, r)
	}, nil))
	defer s.Close()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := map[string]bool{}
	var got []string
	err := follow(ctx, s.URL, func(context.Context) (string, error) { return "secret", nil }, func(data string) error {
		if (data == "5" || data == "11") && !failed[data] {
			failed[data] = true
			return errors.New("the disk is full") // so the connection is given up, and the message comes again
		}
		if data != fmt.Sprint(len(got)) {
			t.Errorf("behind %v comes %s", got, data)
			cancel()
		}
		if got = append(got, data); len(got) == messages {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || connections.Load() != failures+1 {
		t.Errorf("follow = %v after %d connections", err, connections.Load())
	}
	if len(got) != messages {
		t.Errorf("got %v", got)
	}
}

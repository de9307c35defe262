package docs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/wsjson"
)

// The code up to the mark is in how-to.md too, letter by letter.

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
		// Too much was missed, or it is the first time: the client has got the
		// last 100. A program whose messages are changes sends the state here:
		// see Greet of hub.SubscribeOptions.
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

// The mark: end of the code in how-to.md.

// shownCode is a line that begins what a page shows of a test's source. The
// code ends at the line "// The mark: end of the code in ...".
var shownCode = regexp.MustCompile(`(?m)^// The code up to the mark is in (\S+) too, letter by letter.$`)

// Each page has the code that stands between the marks of the tests, here and
// in the module of the middleware.
func TestPagesHaveTheCodeTestedHere(t *testing.T) {
	names, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, name := range append(names, filepath.FromSlash("../internal/middleware/mount_test.go")) {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m := shownCode.FindSubmatchIndex(src)
		if m == nil {
			continue
		}
		page := string(src[m[2]:m[3]])
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		shown[page] = true
		code, _, found := strings.Cut(string(src[m[1]:]), "\n// The mark: end of the code in "+page+".\n")
		if !found {
			t.Fatalf("%s: there is no mark for %s", name, page)
		}
		for _, f := range declarations(code) {
			if !strings.Contains(string(text), f+"\n") {
				t.Errorf("%s does not have this code as it stands in %s: %.60s", page, name, f)
			}
		}
	}
	for _, page := range []string{"deployment.md", "how-to.md", "slow-clients.md", "ways-to-serve.md", "middleware.md"} {
		if !shown[page] {
			t.Errorf("no test has code of %s", page)
		}
	}
}

// declarations splits code at its declarations, with the comments above them.
func declarations(code string) []string {
	var all []string
	for _, block := range regexp.MustCompile(`\n(\n+)`).Split(strings.TrimSpace(code), -1) {
		if regexp.MustCompile(`^(//|func|type|var|const) ?`).MatchString(block) {
			all = append(all, block)
		} else {
			all[len(all)-1] += "\n\n" + block // an empty line within a function
		}
	}
	return all
}

// A client that is disconnected now and then, at a message that it is not done
// with, gets every message once, in order.
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

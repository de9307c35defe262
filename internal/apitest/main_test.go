package apitest

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/httpfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Short names of what the tests in the root have too.
var (
	start      = wstest.Start
	await      = wstest.Await
	running    = wstest.Running
	matches    = wstest.Matches
	newServer  = httpfake.NewServer
	wsURL      = httpfake.URL
	pipeServer = httpfake.NewClient
	discardLog = httpfake.DiscardLog
	smuggled   = httpfake.Smuggled
	asIs       = httpfake.AsIs
	request    = httpfake.Request
	edit       = httpfake.Edit
	dribble    = httpfake.Dribble
	rawServer  = httpfake.RawServer
	serveOn    = httpfake.ServeOn
	refused    = httpfake.Refused
	refusals   = httpfake.Refusals
	answerTo   = httpfake.AnswerTo
	wantCalls  = httpfake.WantCalls
	wantPanic  = httpfake.WantPanic
	sendAll    = httpfake.SendAll

	testCertificate = httpfake.Certificate
)

const goodRequest = httpfake.GoodRequest

type (
	roundTripper = httpfake.RoundTripper
	pipeListener = httpfake.Listener
	hijacker     = httpfake.Hijacker
	slowHijacker = httpfake.SlowHijacker
)

type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// TestMain fails the run if a test has left something behind: see wstest.Main.
func TestMain(m *testing.M) { os.Exit(wstest.Main(m)) }

// serveEcho is the serve of most servers here.
func serveEcho(c *websocket.Conn, _ *http.Request) { _ = echo(c) }

// serveReads is a serve that reads until the connection is over.
func serveReads(c *websocket.Conn, _ *http.Request) {
	for {
		if _, _, err := c.Read(context.Background()); err != nil {
			return
		}
	}
}

// checkEcho sends a few messages through c and expects them back, then closes
// c.
func checkEcho(t *testing.T, c *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, data := range []string{"hello", "", strings.Repeat("x", 100_000)} {
		if err := c.Write(ctx, websocket.MessageText, []byte(data)); err != nil {
			t.Fatal(err)
		}
		typ, got, err := c.Read(ctx)
		if err != nil || typ != websocket.MessageText || string(got) != data {
			t.Fatalf("got %v %.20q (%d bytes), %v, want %.20q", typ, got, len(got), err, data)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// echo answers every message with itself until the connection ends.
func echo(c *websocket.Conn) error {
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			return err
		}
		if err := c.Write(context.Background(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

func fixedWorld() *world { return newWorld(rand.New(rand.NewPCG(1, 2))) }

func TestBallMovesAndStaysInside(t *testing.T) {
	for _, test := range []struct {
		name   string
		dx, dy int8
		ticks  int
		want   point
	}{
		{"to the right", 127, 0, tickRate, point{800 + 420, 450}},
		{"at half speed", 0, -64, tickRate, point{800, 450 - 420*64.0/127}},
		{"not faster across", 127, 127, tickRate / 2, point{800 + 210/math.Sqrt2, 450 + 210/math.Sqrt2}},
		{"as far as the edge", -128, 0, 10 * tickRate, point{radius, 450}},
		{"nowhere", 0, 0, 10, point{800, 450}},
	} {
		w := fixedWorld()
		w.coins = [coinCount]point{} // out of the way
		b := &ball{point: point{800, 450}}
		w.balls = []*ball{b}
		b.steer(test.dx, test.dy)
		for range test.ticks {
			w.step()
		}
		if math.Hypot(b.x-test.want.x, b.y-test.want.y) > 1e-6 {
			t.Errorf("%s: at %v, want %v", test.name, b.point, test.want)
		}
	}
}

func TestCoin(t *testing.T) {
	w := fixedWorld()
	b := &ball{point: w.coins[2]}
	w.balls = []*ball{b}
	before := w.coins
	w.step()
	if b.score != 1 || w.coins[2] == before[2] {
		t.Errorf("score %d, coin at %v, was at %v", b.score, w.coins[2], before[2])
	}
}

func TestPositionsOnTheWire(t *testing.T) {
	w := &world{tick: 0x01020304, balls: []*ball{{id: 7, score: 300, point: point{1000.4, 899.6}}}}
	for i := range w.coins {
		w.coins[i] = point{float64(i), 2}
	}
	want := []byte{
		positions, 1, 2, 3, 4,
		1, 0, 7, 0x03, 0xe8, 0x03, 0x84, 0x01, 0x2c,
		coinCount, 0, 0, 0, 2, 0, 1, 0, 2, 0, 2, 0, 2, 0, 3, 0, 2, 0, 4, 0, 2, 0, 5, 0, 2,
	}
	if got := appendPositions(nil, w); !bytes.Equal(got, want) {
		t.Errorf("positions:\ngot  %v\nwant %v", got, want)
	}
}

// A client is a page without a browser.
type client struct {
	t *testing.T
	c *websocket.Conn
}

func dial(t *testing.T, url string) *client {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return &client{t, c}
}

func (c *client) send(b ...byte) {
	c.t.Helper()
	if err := c.c.Write(c.t.Context(), websocket.MessageBinary, b); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next message, which must be of that kind.
func (c *client) next(kind byte) []byte {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	typ, b, err := c.c.Read(ctx)
	if err != nil || typ != websocket.MessageBinary || len(b) == 0 || b[0] != kind {
		c.t.Fatalf("got %v %v, %v, want a message %d", typ, b, err, kind)
	}
	return b
}

func serveGame(t *testing.T) (*game, string) {
	g := newGame()
	g.world = fixedWorld()
	s := httptest.NewServer(program(g).Handler())
	t.Cleanup(s.Close)
	return g, s.URL
}

// The moves of one player are in the positions that the other gets.
func TestTwoPlayers(t *testing.T) {
	g, url := serveGame(t)
	ada, bob := dial(t, url), dial(t, url)
	for _, c := range []*client{ada, bob} {
		if got := c.next(welcome); !bytes.Equal(got[3:], []byte{0x06, 0x40, 0x03, 0x84}) {
			t.Fatalf("welcome %v", got)
		}
	}
	g.tick()
	before := bob.next(positions)
	ada.next(positions)
	if before[5] != 2 {
		t.Fatalf("%d balls", before[5])
	}

	ada.send(steer, 127, 0)
	ada.send(ping, 1, 2, 3, 4)
	if got := ada.next(pong); !bytes.Equal(got[1:], []byte{1, 2, 3, 4}) { // so the server has read what came before
		t.Fatalf("pong %v", got)
	}
	g.tick()
	after := bob.next(positions)
	if bytes.Equal(before[6:22], after[6:22]) {
		t.Errorf("nobody moved: %v", after)
	}
	ada.c.Close(websocket.StatusNormalClosure, "")
	for g.count() != 1 { // Close has returned: the server is on its way out of serve
		g.tick()
		bob.next(positions)
	}
	g.tick()
	if got := bob.next(positions); got[5] != 1 {
		t.Errorf("%d balls after one has left", got[5])
	}
}

func (g *game) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.players)
}

// Positions that were not sent in time are replaced by newer ones; tick never
// waits.
func TestNewestPositionsOnly(t *testing.T) {
	g := newGame()
	p := g.join()
	for range 5 {
		g.tick()
	}
	// Only now a goroutine writes for it.
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) { p.write(c.CloseRead(r.Context()), c) }, nil))
	defer s.Close()
	c := dial(t, s.URL)
	if got := c.next(positions); got[4] != 5 {
		t.Errorf("the first positions are of tick %d, want 5", got[4])
	}
	g.tick()
	if got := c.next(positions); got[4] != 6 {
		t.Errorf("the next positions are of tick %d, want 6", got[4])
	}
}

func TestBadInput(t *testing.T) {
	_, url := serveGame(t)
	for _, test := range []struct {
		name string
		typ  websocket.MessageType
		data []byte
		code websocket.StatusCode
	}{
		{"text", websocket.MessageText, []byte{steer, 1, 1}, websocket.StatusUnsupportedData},
		{"unknown", websocket.MessageBinary, []byte{99, 0, 0}, websocket.StatusPolicyViolation},
		{"empty", websocket.MessageBinary, nil, websocket.StatusPolicyViolation},
		{"short", websocket.MessageBinary, []byte{steer, 1}, websocket.StatusPolicyViolation},
		{"long", websocket.MessageBinary, make([]byte, maxInput+1), websocket.StatusMessageTooBig},
	} {
		c := dial(t, url)
		c.next(welcome)
		if err := c.c.Write(t.Context(), test.typ, test.data); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if _, _, err := c.c.Read(ctx); websocket.CloseStatus(err) != test.code {
			t.Errorf("%s: %v, want %v", test.name, err, test.code)
		}
		cancel()
	}
}

func TestFull(t *testing.T) {
	g, url := serveGame(t)
	for range maxPlayers {
		g.join()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, _, err := dial(t, url).c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusTryAgainLater {
		t.Errorf("one player too many: %v", err)
	}
}

// A player gets the lowest number that no other has: the page has a colour for
// each.
func TestNumbersOfPlayers(t *testing.T) {
	g := newGame()
	first, second, third := g.join(), g.join(), g.join()
	g.leave(second)
	if again := g.join(); first.ball.id != 1 || third.ball.id != 3 || again.ball.id != 2 {
		t.Errorf("got the numbers %d, %d, and %d in the place of the second", first.ball.id, third.ball.id, again.ball.id)
	}
}

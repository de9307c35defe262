package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
)

const (
	tickRate   = 30 // per second
	maxPlayers = 32
)

// A game moves the world and tells its players.
type game struct {
	mu      sync.Mutex
	world   *world           // guarded by mu
	players map[*player]bool // guarded by mu
	buf     []byte           // guarded by mu: the last positions, encoded
}

// A player is one connection.
type player struct {
	ball *ball // guarded by the game's mu, except its id
	// next holds the newest positions that were not sent yet: at most one
	// message, because old positions are worth nothing. A client that reads
	// slowly sees fewer of them, and no other waits for it.
	next chan *websocket.PreparedMessage
}

func newGame() *game {
	return &game{
		world:   newWorld(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
		players: make(map[*player]bool),
	}
}

// run moves the world until ctx ends.
func (g *game) run(ctx context.Context) {
	ticker := time.NewTicker(time.Second / tickRate)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			g.tick()
		}
	}
}

// tick moves the world once and passes the positions to all players. Without
// players the world stands still.
func (g *game) tick() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.players) == 0 {
		return
	}
	g.world.step()
	g.buf = appendPositions(g.buf[:0], g.world)
	m, err := websocket.NewPreparedMessage(websocket.MessageBinary, g.buf) // encoded once for all of them
	if err != nil {
		panic(err) // MessageBinary is a valid type: cannot be
	}
	for p := range g.players {
		select {
		case <-p.next: // was not sent in time
		default:
		}
		p.next <- m // there is room: only tick puts anything in, and it holds the lock
	}
}

// serve runs one connection from beginning to end.
func (g *game) serve(c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	p := g.join()
	if p == nil {
		c.Close(websocket.StatusTryAgainLater, "all places are taken")
		return
	}
	defer g.leave(p)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if err := c.Write(ctx, websocket.MessageBinary, appendWelcome(nil, p.ball.id)); err != nil {
		return
	}
	go p.write(ctx, c)
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return
		}
		if m.Type != websocket.MessageBinary {
			c.Close(websocket.StatusUnsupportedData, "binary messages only")
			return
		}
		kind, body, err := parseInput(m.Data)
		switch {
		case err != nil:
			c.Close(websocket.StatusPolicyViolation, err.Error())
			return
		case kind == steer:
			g.steer(p, int8(body[0]), int8(body[1]))
		case kind == ping:
			m.Data[0] = pong // the rest comes back as it is
			if err := c.Write(ctx, websocket.MessageBinary, m.Data); err != nil {
				return
			}
		}
	}
}

// write sends the newest positions until ctx ends or the connection fails.
func (p *player) write(ctx context.Context, c *websocket.Conn) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-p.next:
			if err := c.WritePrepared(ctx, m); err != nil {
				return // serve's read fails too, and ends the player
			}
		}
	}
}

// join makes a player, with a ball somewhere; nil if there are too many.
func (g *game) join() *player {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.players) == maxPlayers {
		return nil
	}
	b := &ball{id: g.freeIDLocked(), point: g.world.somewhere()}
	p := &player{ball: b, next: make(chan *websocket.PreparedMessage, 1)}
	g.world.balls = append(g.world.balls, b)
	g.players[p] = true
	return p
}

// freeIDLocked returns the lowest number that no player has, from 1 to
// maxPlayers: the page has a colour for each.
func (g *game) freeIDLocked() uint16 {
	id := uint16(1)
	for slices.ContainsFunc(g.world.balls, func(b *ball) bool { return b.id == id }) {
		id++
	}
	return id
}

func (g *game) leave(p *player) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.players, p)
	g.world.balls = slices.DeleteFunc(g.world.balls, func(b *ball) bool { return b == p.ball })
}

func (g *game) steer(p *player, dx, dy int8) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.ball.steer(dx, dy)
}

package main

import (
	"math"
	"math/rand/v2"
)

const (
	width, height = 1600, 900 // of the world
	radius        = 32        // of a ball
	coinRadius    = 20
	coinCount     = 6
	speed         = 420.0 / tickRate // how far a ball moves in one tick, at most
)

// A world is the state of the game. It has no lock, no clock and no connection:
// the game owns it.
type world struct {
	tick  uint32
	balls []*ball // in the order in which they came
	coins [coinCount]point
	rand  *rand.Rand
}

type point struct{ x, y float64 }

type ball struct {
	id    uint16
	score uint16
	point
	dx, dy float64 // where it is steered: a vector not longer than 1
}

func newWorld(r *rand.Rand) *world {
	w := &world{rand: r}
	for i := range w.coins {
		w.coins[i] = w.somewhere()
	}
	return w
}

// somewhere returns a point that is not at the very edge.
func (w *world) somewhere() point {
	return point{radius + w.rand.Float64()*(width-2*radius), radius + w.rand.Float64()*(height-2*radius)}
}

// steer sets where b is going: (127, 0) is to the right at full speed. A longer
// vector is no faster.
func (b *ball) steer(dx, dy int8) {
	b.dx, b.dy = float64(dx)/127, float64(dy)/127
	if n := math.Hypot(b.dx, b.dy); n > 1 {
		b.dx, b.dy = b.dx/n, b.dy/n
	}
}

// step moves everything by one tick.
func (w *world) step() {
	w.tick++
	for _, b := range w.balls {
		b.x = min(max(b.x+b.dx*speed, radius), width-radius)
		b.y = min(max(b.y+b.dy*speed, radius), height-radius)
		for i, c := range w.coins {
			if math.Hypot(b.x-c.x, b.y-c.y) < radius+coinRadius {
				b.score++
				w.coins[i] = w.somewhere()
			}
		}
	}
}

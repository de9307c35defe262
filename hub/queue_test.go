package hub

import "testing"

// A queue that has outgrown small keeps no message that has left it. A slow
// subscriber's queue may not be empty for long.
func TestQueueForgetsWhatLeft(t *testing.T) {
	var q queue
	for range len(q.small) + 1 {
		q.push(&message{})
	}
	q.drop(len(q.small))
	for i, m := range q.small {
		if m != nil {
			t.Errorf("small[%d] keeps a message", i)
		}
	}
}

package registry

import (
	"context"
	"sync"
)

// turns lets changes of one room go one after the other in this replica. Many
// at once would only find, each in its compare-and-swap, that another one was
// faster; that is left to what other replicas do.
type turns struct {
	mu    sync.Mutex
	rooms map[string]*turn // of which somebody has the turn, or waits for it
}

type turn struct {
	users int
	held  chan struct{} // has one element while somebody has the turn
}

// take waits for the turn of a room; done gives it back. Errors: that of ctx.
func (t *turns) take(ctx context.Context, room string) (done func(), err error) {
	t.mu.Lock()
	if t.rooms == nil {
		t.rooms = make(map[string]*turn)
	}
	mine := t.rooms[room]
	if mine == nil {
		mine = &turn{held: make(chan struct{}, 1)}
		t.rooms[room] = mine
	}
	mine.users++
	t.mu.Unlock()
	left := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(t.rooms, room)
		}
	}
	select {
	case mine.held <- struct{}{}:
		return func() { <-mine.held; left() }, nil
	case <-ctx.Done():
		left()
		return nil, ctx.Err()
	}
}

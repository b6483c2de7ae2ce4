package fanout

import (
	"context"
	"slices"
	"time"
)

// compareSoon has all rooms compared with the log now; it does not wait.
func (h *Hub) compareSoon() {
	select {
	case h.reconnected <- struct{}{}:
	default:
	}
}

// compareAgain is when rooms are compared for the second time after a
// reconnect: the first answer may have come from a replica that lagged.
const compareAgain = time.Second

// compareForEver compares all rooms with the log now and then. The chain of
// seqs shows a loss as soon as something comes after it; in a room that falls
// silent, only the log's tail does.
func (h *Hub) compareForEver() {
	for pause := h.compareEvery; ; {
		select {
		case <-h.ctx.Done():
			return
		case <-h.reconnected:
			pause = compareAgain
		case <-time.After(pause):
			pause = h.compareEvery
		}
		if !h.compareAll() {
			pause = compareAgain
		}
	}
}

// compareChunk is how many rooms are compared by one call.
const compareChunk = 512

// compareAll has every room that is behind the log's tail read what it lacks.
// It says whether the log could be asked.
func (h *Hub) compareAll() bool {
	for worker := range h.workers {
		for names := range slices.Chunk(h.names(worker), compareChunk) {
			if !h.compare(worker, names) {
				return false
			}
		}
	}
	return true
}

// names gives a worker's rooms.
func (h *Hub) names(worker int) []string {
	answer := make(chan []string, 1)
	_ = h.feed.On(h.ctx, worker, func() { // fails only when the hub ends
		names := make([]string, 0, len(h.workers[worker].rooms))
		for name := range h.workers[worker].rooms {
			names = append(names, name)
		}
		answer <- names
	})
	select {
	case names := <-answer:
		return names
	case <-h.ctx.Done():
		return nil
	}
}

func (h *Hub) compare(worker int, names []string) bool {
	var tails map[string]uint64
	asked := time.Now()
	_, err := h.once(func(ctx context.Context) (_ func(), err error) {
		tails, err = h.source.Tails(ctx, names)
		return nil, err
	})
	if err != nil {
		if h.ctx.Err() == nil {
			h.log.Warn("comparing rooms with the log", "error", err)
		}
		return false
	}
	_ = h.feed.On(h.ctx, worker, func() { // fails only when the hub ends
		for _, name := range names {
			r := h.workers[worker].rooms[name]
			if r == nil {
				continue
			}
			r.catchUp(tails[name]) // 0 for an empty log
			if r.loaded && !r.reading {
				r.current = asked
			}
		}
	})
	return true
}

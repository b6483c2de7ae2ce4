package fanout

import (
	"container/list"
	"sync/atomic"
)

// memory bounds the recent entries of all rooms of one worker; an even share of
// the gateway's bound, so that workers need not ask each other. When it is
// exceeded, the rooms that nothing was said in and nobody joined for the
// longest time forget theirs; who joins those next has the log read. Only the
// worker touches it.
type memory struct {
	share int // bytes
	bytes int
	rooms list.List     // of *room that held something, the one used last at the front
	total *atomic.Int64 // of all workers
}

// newMemories makes the workers' memories. A share has room for one room.
func newMemories(workers, limit int, total *atomic.Int64) []*memory {
	all := make([]*memory, workers)
	for i := range all {
		all[i] = &memory{share: max(limit/workers, recentBytes), total: total}
	}
	return all
}

// used notes that a room was used and what it holds now, and makes place. The
// room itself keeps what it has.
func (m *memory) used(r *room) {
	switch {
	case r.place != nil:
		m.rooms.MoveToFront(r.place)
	case r.recent.bytes == 0:
		return
	default:
		r.place = m.rooms.PushFront(r)
	}
	m.account(r)
	for m.bytes > m.share && m.rooms.Back() != r.place {
		coldest := m.rooms.Back().Value.(*room)
		coldest.recent.drop()
		m.left(coldest)
	}
}

// left takes a room out, which holds nothing more.
func (m *memory) left(r *room) {
	if r.place != nil {
		m.rooms.Remove(r.place)
		r.place = nil
		m.account(r)
	}
}

func (m *memory) account(r *room) {
	if more := r.recent.bytes - r.counted; more != 0 {
		r.counted += more
		m.bytes += more
		m.total.Add(int64(more))
	}
}

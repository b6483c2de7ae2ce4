package registry

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// vacancy knows which rooms are empty, and when something is to be done about
// one: hide it, end it, or bring it back. Only rooms that do not stay by
// themselves are in its queue, and only while presence is known; the queue is
// ordered by time, so that nothing looks at all rooms.
type vacancy struct {
	grace, expire time.Duration

	mu       sync.Mutex
	known    bool                // whether occupied is the whole picture
	occupied map[string]struct{} // rooms that somebody is in
	queue    vacantQueue
	byID     map[string]*vacant
	wake     chan struct{} // holds at most one notice that the queue begins with another
}

type vacant struct {
	id     string
	since  time.Time // found empty by this replica, or brought back into the lists
	hidden bool
	due    time.Time
	place  int // in the queue
}

func newVacancy(grace, expire time.Duration) *vacancy {
	return &vacancy{
		grace:    grace,
		expire:   expire,
		occupied: make(map[string]struct{}),
		byID:     make(map[string]*vacant),
		wake:     make(chan struct{}, 1),
	}
}

// count takes in how many users are in a room.
func (v *vacancy) count(id string, users int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if users > 0 {
		v.occupied[id] = struct{}{}
	} else {
		delete(v.occupied, id)
	}
}

// complete begins the time in which presence is known, forget ends it.
func (v *vacancy) complete() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known = true
}

func (v *vacancy) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known = false
	v.queue = nil
	clear(v.occupied)
	clear(v.byID)
}

// consider decides anew when something is to be done about a room, given its
// record; nil is one that is gone. The picture cannot change meanwhile.
func (v *vacancy) consider(id string, room *registryv1.Room) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.known {
		return
	}
	_, occupied := v.occupied[id]
	hidden := room.GetHiddenAt() != nil
	entry := v.byID[id]
	if room == nil || room.Persistent || id == ids.Lobby || occupied && !hidden {
		if entry != nil {
			heap.Remove(&v.queue, entry.place)
			delete(v.byID, id)
		}
		return
	}
	now := time.Now()
	if entry == nil {
		entry = &vacant{id: id, since: now, due: now, place: -1}
		v.byID[id] = entry
	}
	if occupied || entry.hidden && !hidden {
		// Should it be empty again or still, it is for a new grace period:
		// whoever was let in is about to come.
		entry.since = now
	}
	entry.hidden = hidden
	if occupied {
		v.schedule(entry, now)
		return
	}
	due := entry.since.Add(v.grace)
	if hidden {
		// Also after a grace period of its own: a replica that has just learnt
		// of presence sees nobody where everybody is about to come back.
		if expires := room.HiddenAt.AsTime().Add(v.expire); expires.After(due) {
			due = expires
		}
	}
	// One replica is to be first, and the others to learn from it.
	v.schedule(entry, due.Add(rand.N(v.grace/10+1)))
}

// later puts off what could not be done now.
func (v *vacancy) later(id string, wait time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if entry := v.byID[id]; entry != nil {
		v.schedule(entry, time.Now().Add(wait))
	}
}

// schedule puts an entry into the queue, or elsewhere in it; mu is held.
func (v *vacancy) schedule(entry *vacant, due time.Time) {
	entry.due = due
	if entry.place < 0 {
		heap.Push(&v.queue, entry)
	} else {
		heap.Fix(&v.queue, entry.place)
	}
	if entry.place == 0 {
		select {
		case v.wake <- struct{}{}:
		default:
		}
	}
}

// next gives the room that something is due for, and whether it is occupied;
// or how long until there is one.
func (v *vacancy) next() (id string, occupied bool, wait time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.queue) == 0 {
		return "", false, time.Hour
	}
	first := v.queue[0]
	if wait := time.Until(first.due); wait > 0 {
		return "", false, wait
	}
	_, occupied = v.occupied[first.id]
	return first.id, occupied, 0
}

// vacantQueue is a heap of entries, the next due first.
type vacantQueue []*vacant

func (q vacantQueue) Len() int           { return len(q) }
func (q vacantQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q vacantQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *vacantQueue) Push(x any) {
	entry := x.(*vacant)
	entry.place = len(*q)
	*q = append(*q, entry)
}

func (q *vacantQueue) Pop() any {
	last := len(*q) - 1
	entry := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	entry.place = -1
	return entry
}

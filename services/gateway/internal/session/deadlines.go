package session

import (
	"container/heap"
	"sync"
	"time"
)

// deadlines ends the time of sessions that have not signed in or whose token
// expires. One timer, set to the earliest, serves all sessions of a gateway,
// which number at most its connections.
type deadlines struct {
	now   func() time.Duration // the hub's
	ended func(*Session)       // called without a lock

	mu    sync.Mutex
	queue deadlineQueue
	timer *time.Timer   // nil before the first
	armed time.Duration // what the timer is set to; never for nothing
}

const never = time.Duration(-1)

// set gives a session a deadline in place of the one it has.
func (d *deadlines) set(s *Session, at time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.deadline = at
	if s.queued == 0 {
		heap.Push(&d.queue, s)
	} else {
		heap.Fix(&d.queue, int(s.queued-1))
	}
	d.arm()
}

// clear takes a session's deadline away, if it has one.
func (d *deadlines) clear(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.queued > 0 {
		heap.Remove(&d.queue, int(s.queued-1))
		d.arm()
	}
}

// has says whether a session has a deadline that is still to come.
func (d *deadlines) has(s *Session) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return s.queued > 0
}

// arm sets the timer to the earliest deadline; d.mu is held.
func (d *deadlines) arm() {
	switch {
	case len(d.queue) == 0:
		if d.timer != nil {
			d.timer.Stop()
		}
		d.armed = never
		return
	case d.queue[0].deadline == d.armed:
		return
	}
	d.armed = d.queue[0].deadline
	if d.timer == nil {
		d.timer = time.AfterFunc(d.armed-d.now(), d.fire)
		return
	}
	d.timer.Reset(d.armed - d.now())
}

func (d *deadlines) fire() {
	var over []*Session
	d.mu.Lock()
	for now := d.now(); len(d.queue) > 0 && d.queue[0].deadline <= now; {
		over = append(over, heap.Pop(&d.queue).(*Session))
	}
	d.armed = never // the timer has fired
	d.arm()
	d.mu.Unlock()
	for _, s := range over {
		d.ended(s)
	}
}

// deadlineQueue is a heap whose sessions know their place, from 1.
type deadlineQueue []*Session

func (q deadlineQueue) Len() int           { return len(q) }
func (q deadlineQueue) Less(i, j int) bool { return q[i].deadline < q[j].deadline }

func (q deadlineQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].queued, q[j].queued = int32(i+1), int32(j+1)
}

func (q *deadlineQueue) Push(x any) {
	s := x.(*Session)
	*q = append(*q, s)
	s.queued = int32(len(*q))
}

func (q *deadlineQueue) Pop() any {
	last := len(*q) - 1
	s := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	s.queued = 0
	return s
}

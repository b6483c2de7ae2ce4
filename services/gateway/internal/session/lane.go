package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lane runs a session's slow requests one after the other, beside the reading
// goroutine. It has a goroutine only while there is something to run.
type lane struct {
	mu      sync.Mutex
	shorter chan struct{} // closed when the lane gets shorter; nil while nobody waits
	tasks   []laneTask
	running bool
	current string
}

type laneTask struct {
	room string
	run  func()
}

// laneLength is how many requests may wait; a client that sends more is not
// read from until there is room.
const laneLength = 64

// has says whether a request about a room is waiting or running.
func (l *lane) has(room string) bool {
	if room == "" {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running && l.current == room {
		return true
	}
	for _, t := range l.tasks {
		if t.room == room {
			return true
		}
	}
	return false
}

// add queues a request; it waits while the lane is full.
func (l *lane) add(room string, run func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.tasks) >= laneLength {
		l.await()
	}
	l.tasks = append(l.tasks, laneTask{room, run})
	if !l.running {
		l.running = true
		go l.work()
	}
}

func (l *lane) work() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.tasks) > 0 {
		t := l.tasks[0]
		l.tasks = l.tasks[1:]
		l.current = t.room
		l.told() // there is room for one more
		l.mu.Unlock()
		t.run()
		l.mu.Lock()
	}
	l.tasks = nil
	l.current = ""
	l.running = false
	l.told()
}

// await waits until the lane has got shorter; l.mu is held.
func (l *lane) await() {
	if l.shorter == nil {
		l.shorter = make(chan struct{})
	}
	shorter := l.shorter
	l.mu.Unlock()
	<-shorter
	l.mu.Lock()
}

// told wakes who waits; l.mu is held.
func (l *lane) told() {
	if l.shorter != nil {
		close(l.shorter)
		l.shorter = nil
	}
}

// wait returns when the lane is empty.
func (l *lane) wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.running {
		l.await()
	}
}

// flight bounds the publishes of one session that wait for the log.
type flight struct {
	limit int
	waits *atomic.Int64 // counts those that had to wait; nil counts nothing

	mu     sync.Mutex
	count  int
	landed bool // no more may start
	freed  *sync.Cond
}

// take waits until one more may be on its way; false when none may any more.
func (f *flight) take() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.freed == nil {
		f.freed = sync.NewCond(&f.mu)
	}
	if f.count >= f.limit && f.waits != nil {
		f.waits.Add(1)
	}
	for f.count >= f.limit && !f.landed {
		f.freed.Wait()
	}
	if f.landed {
		return false
	}
	f.count++
	return true
}

// give says that one has come back and that its answer is on its way out.
func (f *flight) give() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count--
	f.freed.Signal()
}

// land waits until none is on its way, or until ctx ends, and lets none start
// from that moment on: what the log takes after that could not be acknowledged.
func (f *flight) land(ctx context.Context) {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		f.mu.Lock()
		if f.count == 0 || ctx.Err() != nil {
			f.landed = true
			if f.freed != nil {
				f.freed.Broadcast()
			}
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

package session

import (
	"context"
	"sync"
	"time"
)

// lane runs a session's slow requests one after the other, beside the reading
// goroutine. It has a goroutine only while there is something to run.
type lane struct {
	mu      sync.Mutex
	room    *sync.Cond // signalled when the lane gets shorter
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
	if l.room == nil {
		l.room = sync.NewCond(&l.mu)
	}
	for len(l.tasks) >= laneLength {
		l.room.Wait()
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
		l.mu.Unlock()
		t.run()
		l.mu.Lock()
		l.room.Broadcast()
	}
	l.tasks = nil
	l.current = ""
	l.running = false
	l.room.Broadcast()
}

// wait returns when the lane is empty.
func (l *lane) wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.running {
		l.room.Wait()
	}
}

// flight bounds the publishes of one session that wait for the log.
type flight struct {
	limit int

	mu    sync.Mutex
	count int
	freed *sync.Cond
}

// take waits until one more may be on its way.
func (f *flight) take() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.freed == nil {
		f.freed = sync.NewCond(&f.mu)
	}
	for f.count >= f.limit {
		f.freed.Wait()
	}
	f.count++
}

func (f *flight) give() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count--
	f.freed.Signal()
}

// wait returns when nothing is on its way, or when ctx ends.
func (f *flight) wait(ctx context.Context) {
	for pause := time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 20*time.Millisecond) {
		f.mu.Lock()
		n := f.count
		f.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

package conn

import (
	"bytes"
	"testing"
	"time"
)

// History does not count against the queue: a peer that has asked for more than
// the queue holds gets it, and what is live meanwhile does not end in 4102.
func TestHistoryIsBeyondTheLimit(t *testing.T) {
	c := &Conn{listener: NewListener(Options{QueueBytes: 1000})}
	c.writing = true // nobody writes, as with a peer that does not read
	page := Text(bytes.Repeat([]byte("h"), 900))
	live := Text(bytes.Repeat([]byte("l"), 400))
	for range 5 {
		c.SendHistory(page)
	}
	c.Send(live, false)
	c.Send(live, false)
	if code, _ := c.Ended(); code != 0 || c.HistoryWritten() {
		t.Fatalf("ended with %d, history written %v", code, c.HistoryWritten())
	}
	if got := c.listener.HistoryBytes(); got != 5*int64(len(page.plain)) {
		t.Errorf("%d bytes of history wait", got)
	}
	var chunk *[]byte
	p := c.next(&chunk)
	history := p.history
	c.wrote(p, nil)
	if want := 5 * len(page.plain); history != want || !c.HistoryWritten() {
		t.Errorf("%d bytes of history were written, want %d", history, want)
	}
	for range 2 {
		c.Send(live, false)
	}
	c.SendHistory(page)
	c.mu.Lock()
	c.stop()
	c.mu.Unlock()
	if queued, _, _ := c.listener.Stats(); queued != 0 || c.listener.HistoryBytes() != 0 {
		t.Errorf("%d bytes, %d of history, wait on a connection that has stopped", queued, c.listener.HistoryBytes())
	}
}

// A peer that takes nothing of what it has asked for is closed; one that takes
// a little is not.
func TestStalledHistoryEnds(t *testing.T) {
	l := NewListener(Options{})
	now := l.now()
	stalled, slow := &Conn{listener: l}, &Conn{listener: l}
	for _, c := range []*Conn{stalled, slow} {
		c.writing = true // nobody writes, as with a peer that does not read
		c.SendHistory(Text(bytes.Repeat([]byte("h"), 900)))
	}
	l.endStalled(now)
	if code, _ := stalled.Ended(); code != 0 {
		t.Fatalf("ended with %d at once", code)
	}
	later := now + int64(stallAfter+time.Minute)
	slow.progress.Store(later - int64(time.Second))
	l.endStalled(later)
	if code, _ := stalled.Ended(); code != SlowConsumer {
		t.Errorf("the stalled connection ended with %d, want 4102", code)
	}
	if code, _ := slow.Ended(); code != 0 {
		t.Errorf("the slow connection ended with %d", code)
	}
	if len(l.heavy) != 1 {
		t.Errorf("%d connections are watched, want the slow one", len(l.heavy))
	}
	for _, c := range []*Conn{stalled, slow} {
		if c.limit != nil {
			c.limit.Stop()
		}
	}
}

package check

import (
	"sync"
	"time"
)

// Control is what who breaks things during a run has of it.
type Control struct {
	run *run
	end func()
}

// End ends the sending before Options.Duration is over.
func (c *Control) End() { c.end() }

// Fault notes that something is being broken from now until the returned
// function is called. Faults that overlap are told of as the first of them.
func (c *Control) Fault(kind string) (mended func()) {
	w := &Window{Kind: kind, Begin: c.run.now()}
	c.run.mu.Lock()
	c.run.windows = append(c.run.windows, w)
	c.run.mu.Unlock()
	return sync.OnceFunc(func() {
		end := c.run.now()
		c.run.mu.Lock()
		defer c.run.mu.Unlock()
		w.End = end
	})
}

// Cut ends the connections of n clients, chosen at random, without goodbye.
func (c *Control) Cut(n int) {
	for _, client := range c.some(n) {
		client.cut()
	}
}

// Stall has n clients, chosen at random, read nothing for a while. Their
// gateway has to bound what it keeps for them, and may close them for it.
func (c *Control) Stall(n int, d time.Duration) {
	until := int64(c.run.now() + d)
	for _, client := range c.some(n) {
		client.stalled.Store(until)
	}
}

// some gives n clients, chosen at random.
func (c *Control) some(n int) []*client {
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	var list []*client
	for _, i := range c.run.rand.Perm(len(c.run.clients)) {
		if len(list) < n {
			list = append(list, c.run.clients[i])
		}
	}
	return list
}

func (c *client) cut() {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l != nil {
		l.cut()
	}
}

// Whole says whether all clients are connected and in all their rooms.
func (c *Control) Whole() bool { return c.run.whole() }

// Oldest is how long the message has been under way that has waited longest
// for its acknowledgement; 0 when none waits.
func (c *Control) Oldest() time.Duration {
	now, oldest := c.run.now(), time.Duration(0)
	c.run.eachWriter(func(w *writer) {
		if sent, ok := w.oldest(); ok {
			oldest = max(oldest, now-sent)
		}
	})
	return oldest
}

// Acked is how many messages have been acknowledged so far.
func (c *Control) Acked() int64 { return c.run.acked.Load() }

// Connections is how many connections the clients have made so far, Resumes how
// many sessions went on.
func (c *Control) Connections() int64 { return c.run.links.Load() }

// Resumes is told of at Connections.
func (c *Control) Resumes() int64 { return c.run.resumes.Load() }

// Rooms are the run's rooms, for who wants to join them.
func (c *Control) Rooms() []string { return c.run.roomNames() }

// Elapsed is how long the run has taken so far.
func (c *Control) Elapsed() time.Duration { return c.run.now() }

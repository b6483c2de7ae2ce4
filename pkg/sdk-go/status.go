package parley

import (
	"context"
	"iter"
	"time"
)

// State is how a client stands.
type State int

const (
	// Connecting: on the way to being signed in.
	Connecting State = iota
	// Recovering: signed in, and rooms are being joined or caught up.
	Recovering
	// Online: nothing is missing anywhere.
	Online
	// Offline: waiting for the next attempt.
	Offline
	// Closed: there will be no further attempt.
	Closed
)

// String returns the state in lower case.
func (s State) String() string {
	return [...]string{"connecting", "recovering", "online", "offline", "closed"}[s]
}

// Status is a state and what belongs to it.
type Status struct {
	State State
	// RetryAt is when the next attempt comes, while Offline.
	RetryAt time.Time
	// Err is why the last connection ended, while Offline, or the client, when Closed.
	Err error
}

// Status tells how the client stands.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Statuses gives the status now, and each other one as it comes, for an interface
// to show. A slow reader sees the newest of several. It ends behind Closed, and when
// ctx does.
func (c *Client) Statuses(ctx context.Context) iter.Seq[Status] {
	return func(yield func(Status) bool) {
		for version := -1; ; {
			c.mu.Lock()
			status, changed, told := c.status, c.changed, version == c.version
			version = c.version
			c.mu.Unlock()
			if !told && (!yield(status) || status.State == Closed) {
				return
			}
			if wait(ctx, changed) != nil {
				return
			}
		}
	}
}

// become sets what the connection is doing.
func (c *Client) become(s State, retryAt time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setStatus(Status{s, retryAt, err})
}

// setStatus wakes who waits for another, with the lock.
func (c *Client) setStatus(s Status) {
	if s.State == c.status.State && s.RetryAt.Equal(c.status.RetryAt) {
		return
	}
	c.status = s
	c.version++
	close(c.changed)
	c.changed = make(chan struct{})
}

// caughtUp makes Recovering and Online of how the rooms stand, with the lock.
func (c *Client) caughtUp() {
	if c.link == nil {
		return
	}
	for _, r := range c.rooms {
		if r.state == joining {
			c.setStatus(Status{State: Recovering})
			return
		}
	}
	c.setStatus(Status{State: Online})
}

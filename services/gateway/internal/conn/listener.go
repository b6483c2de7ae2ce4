package conn

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the limits and the words of a Listener.
type Options struct {
	// Subprotocols that are served; a client that offers none of them gets
	// text messages and no echo.
	Subprotocols []string
	// Binary is the one of them whose messages are binary.
	Binary string
	// AnyKind takes text and binary messages whatever the subprotocol.
	AnyKind bool
	// AllowedOrigins are host patterns, or with a scheme ("https://…"), from
	// which browsers may connect beside the request's own host.
	AllowedOrigins []string
	// MaxMessage is the largest message a peer may send, bytes; default 64 KiB.
	MaxMessage int64
	// QueueBytes bounds what waits to be written to one peer; default 1 MiB. A
	// single message may be larger.
	QueueBytes int
	// QueueTotal bounds what waits to be written to all peers, without history,
	// bytes: beyond it a peer for which more than 64 KiB wait is slow. Default
	// 256 MiB.
	QueueTotal int64
	// InputRate is how many bytes a second are taken from one peer, and InputBurst
	// how many may come at once. A frame counts as its payload and 256 bytes more,
	// and what is compressed also as what comes out of it. More is not read until
	// it may be, which makes the peer wait. 0 in either is no limit.
	InputRate, InputBurst int64
	// Heartbeat is how often each peer is pinged; default 25 s. A peer that
	// leaves two unanswered is dropped, and so is one that takes longer for the
	// fragments of a message.
	Heartbeat time.Duration
	// NoDeflate refuses permessage-deflate.
	NoDeflate bool
	// Waited is told how long a peer whose socket was full took to take all that
	// waited for it; nil is told nothing.
	Waited func(time.Duration)
	// Forgotten is told whose address has a connection less, once for each that
	// was accepted; nil is told nothing.
	Forgotten func(remote string)
}

func (o *Options) complete() {
	if o.MaxMessage == 0 {
		o.MaxMessage = 64 << 10
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 1 << 20
	}
	if o.QueueTotal == 0 {
		o.QueueTotal = 256 << 20
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 25 * time.Second
	}
}

// Listener makes connections of upgrade requests and looks after them: one
// goroutine pings all of them, spread evenly over the heartbeat.
type Listener struct {
	opts                     Options
	closeTimeout, stallAfter time.Duration
	began                    time.Time

	queuedBytes, historyBytes, dropped, overflows, heldUp atomic.Int64

	mu    sync.Mutex         // taken after that of a Conn, never before
	heavy map[*Conn]struct{} // those that history waits for
	slots [wheelSlots][]*Conn
	next  int
	count int

	busy atomic.Int64 // goroutines that write, and connections that close
}

// wheelSlots is into how many groups the connections are spread; a heartbeat
// goes by with each group pinged once.
const wheelSlots = 50

// closeTimeout bounds how long a closing connection may take to bring out what
// is queued and its close frame, and then how long the peer may take to answer
// that.
const closeTimeout = 5 * time.Second

// NewListener makes a Listener. Run must be running for heartbeats.
func NewListener(opts Options) *Listener {
	opts.complete()
	return &Listener{opts: opts, closeTimeout: closeTimeout, stallAfter: stallAfter, began: time.Now().Add(-1), heavy: make(map[*Conn]struct{})}
}

// now is how long the listener has been there, ns, and never 0: a time of day would
// be wrong by as much as somebody sets the machine's clock.
func (l *Listener) now() int64 { return int64(time.Since(l.began)) }

// Accept answers an upgrade request. When it fails it has written the refusal:
// 403 for a foreign origin, 400, 405 or 426 for what is no upgrade. The answer
// goes out with what is sent before the first Read, or before Greet.
func (l *Listener) Accept(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	c := &Conn{listener: l, remote: r.RemoteAddr}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		c.remote = host
	}
	if err := c.upgrade(w, r, &l.opts); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.slot = int32(l.next)
	l.next = (l.next + 1) % wheelSlots
	c.place = int32(len(l.slots[c.slot]))
	l.slots[c.slot] = append(l.slots[c.slot], c)
	l.count++
	return c, nil
}

// Forget takes a connection that has ended out of the heartbeat.
func (l *Listener) Forget(c *Conn) {
	if l.remove(c) && l.opts.Forgotten != nil {
		l.opts.Forgotten(c.remote)
	}
}

// remove says whether the connection was there.
func (l *Listener) remove(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := l.slots[c.slot]
	if int(c.place) >= len(slot) || slot[c.place] != c {
		return false // forgotten already
	}
	last := slot[len(slot)-1]
	slot[c.place], last.place = last, c.place
	slot[len(slot)-1] = nil
	l.slots[c.slot] = slot[:len(slot)-1]
	l.count--
	return true
}

// Count is how many connections there are.
func (l *Listener) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// Stats tells the bytes that wait in all queues, and how often something
// ephemeral was dropped and a queue overflowed.
func (l *Listener) Stats() (queuedBytes, dropped, overflows int64) {
	return l.queuedBytes.Load(), l.dropped.Load(), l.overflows.Load()
}

// HeldUp is how often a peer that sent too fast was made to wait.
func (l *Listener) HeldUp() int64 { return l.heldUp.Load() }

// stallAfter is how long a peer may take nothing of the history that waits for
// it.
const stallAfter = 5 * time.Second

func (l *Listener) watch(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heavy[c] = struct{}{}
}

func (l *Listener) unwatch(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.heavy, c)
}

// endStalled ends the connections that take nothing of the history that waits
// for them.
func (l *Listener) endStalled(now int64) {
	l.mu.Lock()
	heavy := slices.Collect(maps.Keys(l.heavy))
	l.mu.Unlock()
	for _, c := range heavy {
		c.stall(now - int64(l.stallAfter))
	}
}

// HistoryBytes is how much of what SendHistory has queued, on all connections,
// waits to be written.
func (l *Listener) HistoryBytes() int64 { return l.historyBytes.Load() }

// Run pings until ctx ends.
func (l *Listener) Run(ctx context.Context) error {
	tick := time.NewTicker(max(l.opts.Heartbeat/wheelSlots, time.Millisecond))
	defer tick.Stop()
	stalls := time.NewTicker(l.stallAfter / 5)
	defer stalls.Stop()
	var (
		due     []*Conn
		flusher Flusher
	)
	for slot := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-stalls.C:
			l.endStalled(l.now())
			continue
		case <-tick.C:
		}
		slot = (slot + 1) % wheelSlots
		l.mu.Lock()
		due = append(due, l.slots[slot]...)
		l.mu.Unlock()
		for _, c := range due {
			c.beat(&flusher)
		}
		flusher.Flush()
		clear(due)
		due = due[:0]
	}
}

// Wait returns when no connection is being written to or closed any more, or
// when ctx ends.
func (l *Listener) Wait(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for l.busy.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

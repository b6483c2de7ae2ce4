package conn

import (
	"sync"
	"sync/atomic"
	"time"
)

// outgoing is what waits to be written to a peer, and how the writing ends.
//
// Only one goroutine writes at a time: whoever sends, as far as the socket takes
// it at once, and for the rest one that is started for it and gone when nothing
// is left. It writes whole frames: control frames first, then the queue, the
// close frame last and nothing behind it (RFC 6455, section 5.5.1). When a write
// fails, half a frame may be out, and nothing is written any more.
type outgoing struct {
	mu         sync.Mutex
	queue      []queued
	one        [1]queued    // the queue's array where one is all that waits
	ephemerals int          // how many in the queue may be dropped
	size       int          // bytes of the queue and of what is being written
	reported   int          // of size, what the listener's sum has
	out        int64        // bytes of messages that were written
	history    int          // those of them that SendHistory has queued
	progress   atomic.Int64 // when the peer last took something, by the listener's now; only looked at while history waits
	answer     []byte       // to the upgrade; goes out before everything else
	pongs      []byte       // answers to pings, framed
	ping       bool         // one is due
	unheard    int          // pings since the peer last answered one
	final      []byte       // the close frame, once it is due

	gathered bool // in a Flusher, which writes, or not greeted yet
	writing  bool // a goroutine is at it
	closing  bool // nothing is queued any more
	written  bool // the close frame is, or nothing ever will be any more
	broken   bool // writing failed
	over     bool // the socket is closed

	whenWritten chan struct{} // closed with written; nil while nobody waits
	limit       *time.Timer   // on closing; nil before

	code   Code // how it ended, from our side; 0 while it has not
	reason string
}

type queued struct {
	message   *Prepared
	ephemeral bool
	history   bool
}

// Send queues a message and writes what the socket takes at once. An ephemeral
// one is dropped when the queue is about to overflow; when there is nothing more
// to drop, the connection is closed as a slow consumer. A message larger than
// the whole queue is taken while nothing else waits. Send never waits for the
// peer; after Close it does nothing.
func (c *Conn) Send(message *Prepared, ephemeral bool) {
	c.mu.Lock()
	flush := c.enqueue(message, ephemeral) && !c.gathered
	c.mu.Unlock()
	if flush {
		c.flushNow()
	}
}

// tightQueue is how many bytes may wait for one peer while more than
// Options.QueueTotal wait for all; history has bounds of its own.
const tightQueue = 64 << 10

// enqueue is Send without the writing; it says whether somebody has to write,
// which is not so while a goroutine is at it. c.mu is held.
func (c *Conn) enqueue(message *Prepared, ephemeral bool) bool {
	if c.closing {
		return false
	}
	size := len(message.frame(c.deflate))
	limit := c.listener.opts.QueueBytes
	if c.size-c.history > tightQueue && c.listener.queuedBytes.Load()-c.listener.historyBytes.Load() > c.listener.opts.QueueTotal {
		limit = min(limit, tightQueue) // others need the room
	}
	if c.size-c.history+size > limit && c.ephemerals > 0 {
		c.dropEphemeral()
	}
	if waiting := c.size - c.history; waiting+size > limit && waiting > 0 {
		if ephemeral {
			c.listener.dropped.Add(1)
			return false
		}
		c.listener.overflows.Add(1)
		c.close(SlowConsumer, "the outgoing queue is full")
		return false
	}
	c.push(queued{message: message, ephemeral: ephemeral}, size)
	if ephemeral {
		c.ephemerals++
	}
	return !c.writing
}

// push puts a message of some size at the queue's end; c.mu is held.
func (c *Conn) push(q queued, size int) {
	if len(c.queue) == 0 {
		c.queue = c.one[:0]
	}
	c.queue = append(c.queue, q)
	if len(c.queue) == 2 {
		c.one[0] = queued{} // it has moved to a larger array, and would be kept by this one
	}
	c.size += size
	if c.writing {
		c.report()
	}
}

// SendHistory queues a message that the peer has asked for and that may be
// larger than the queue: it does not count against the queue's limit, so that
// a peer that reads well is not taken for a slow one. Whoever answers a peer so
// bounds it in another way, by waiting for HistoryWritten before the next
// answer. A peer that takes none of it for 5 seconds is closed as a slow
// consumer, for it holds memory that others could have.
func (c *Conn) SendHistory(message *Prepared) {
	c.mu.Lock()
	flush := c.pushHistory(message) && !c.writing && !c.gathered
	c.mu.Unlock()
	if flush {
		c.flushNow()
	}
}

// pushHistory says whether it is queued; c.mu is held.
func (c *Conn) pushHistory(message *Prepared) bool {
	if c.closing {
		return false
	}
	size := len(message.frame(c.deflate))
	c.push(queued{message: message, history: true}, size)
	c.accountHistory(size)
	return true
}

// HistoryWritten says whether nothing of SendHistory waits any more.
func (c *Conn) HistoryWritten() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.history == 0
}

// report brings the listener's sum of what waits up to date; c.mu is held. What
// is written at once never gets there: all connections share that sum.
func (c *Conn) report() {
	if c.size != c.reported {
		c.listener.queuedBytes.Add(int64(c.size - c.reported))
		c.reported = c.size
	}
}

// accountHistory adds to those of them that are history; c.mu is held.
func (c *Conn) accountHistory(size int) {
	if size == 0 {
		return
	}
	if c.history == 0 {
		c.progress.Store(c.listener.now())
		c.listener.watch(c)
	}
	c.history += size
	c.listener.historyBytes.Add(int64(size))
	if c.history == 0 {
		c.listener.unwatch(c)
	}
}

// stall ends the connection when it has taken nothing of the history it was
// sent since then, as the listener counts.
func (c *Conn) stall(since int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.history > 0 && c.progress.Load() < since {
		c.listener.overflows.Add(1)
		c.close(SlowConsumer, "what was asked for is not read")
	}
}

// dropEphemeral takes what may be dropped out of the queue; c.mu is held.
func (c *Conn) dropEphemeral() {
	kept := c.queue[:0]
	for _, q := range c.queue {
		if q.ephemeral {
			c.size -= len(q.message.frame(c.deflate))
			c.listener.dropped.Add(1)
			continue
		}
		kept = append(kept, q)
	}
	clear(c.queue[len(kept):])
	c.queue, c.ephemerals = kept, 0
}

// stop drops the queue and takes nothing more; c.mu is held.
func (c *Conn) stop() {
	c.closing = true
	for _, q := range c.queue {
		size := len(q.message.frame(c.deflate))
		c.size -= size
		if q.history {
			c.accountHistory(-size)
		}
	}
	c.queue, c.one, c.ephemerals = nil, [1]queued{}, 0
	c.report()
}

// Close ends the connection with a code: what is queued goes out first, unless
// the peer does not take it, which is why it ends; then the close frame, all
// that within 5 seconds; then the peer has 5 more to answer. It returns at once, and may be called while another goroutine
// reads, or by the function that Read calls. Only the first call counts.
//
// A code that must not be sent becomes InternalError; a reason longer than 123
// bytes is cut.
func (c *Conn) Close(code Code, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.close(code, reason)
}

// close is Close; c.mu is held.
func (c *Conn) close(code Code, reason string) {
	if !code.sendable() {
		code = InternalError
	}
	reason = fitReason(reason)
	if c.code == 0 {
		c.code, c.reason = code, reason
	}
	if c.closing {
		return
	}
	if code == SlowConsumer || code == NoPong {
		c.stop()
	}
	c.shut(closeFrame(code, reason))
}

// shut lets nothing follow but the close frame; c.mu is held.
func (c *Conn) shut(frame []byte) {
	c.closing = true
	c.final = frame
	c.listener.busy.Add(1) // until end
	c.limit = time.AfterFunc(c.listener.closeTimeout, c.abort)
	c.startWriting()
}

// answerClose answers the peer's close frame, unless we have begun to close
// ourselves, and notes how the connection has ended. It returns when a close
// frame is written: the socket is closed next.
func (c *Conn) answerClose(g *goodbye) error {
	c.mu.Lock()
	if c.code == 0 {
		c.code, c.reason = g.code, g.reason
	}
	if !c.closing {
		if g.code == NoCode {
			c.shut([]byte{finBit | opClose, 0})
		} else {
			c.shut(closeFrame(g.code, g.reason))
		}
	}
	c.mu.Unlock()
	if !c.waitWritten() {
		return errNotWritten
	}
	return nil
}

// maxPongs bounds the pongs that wait to be written, bytes. A peer that pings
// faster than it reads gets the latest (RFC 6455, section 5.5.3).
const maxPongs = 2 << 10

// answerPing writes a pong, framed, soon.
func (c *Conn) answerPing(pong []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written {
		return
	}
	if len(c.pongs)+len(pong) > maxPongs {
		c.pongs = c.pongs[:0]
	}
	c.pongs = append(c.pongs, pong...)
	c.startWriting()
}

// beat asks the peer for a sign of life, or gives it up when it has not
// answered the last two. A ping has no place in the queue, so a full queue is
// never its fault; one that a stuck peer keeps from being written counts as
// unanswered.
func (c *Conn) beat(f *Flusher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	if c.unheard >= 2 {
		c.close(NoPong, "no pong within two heartbeats")
		return
	}
	if c.dawdles() {
		c.close(Policy, "a message takes too long to come")
		return
	}
	c.unheard++
	c.ping = true
	f.add(c)
}

// heard notes a pong. It is no answer while the ping has not been written: a
// peer that sends pongs but reads nothing is not alive.
func (c *Conn) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ping {
		c.unheard = 0
	}
}

// note keeps how the connection ended, if nothing is kept yet.
func (c *Conn) note(code Code, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		c.code, c.reason = code, reason
	}
}

// Ended tells with which code and reason the connection has ended; 0 while it
// has not.
func (c *Conn) Ended() (Code, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.reason
}

// Drop ends the connection without a word, as when the peer has died.
func (c *Conn) Drop() {
	c.note(Abnormal, "dropped")
	c.abort()
}

// abort ends the connection and has the kernel forget what it still holds for
// a peer that does not take it.
func (c *Conn) abort() {
	if socket, ok := c.wire.Conn.(interface{ SetLinger(int) error }); ok {
		_ = socket.SetLinger(0) // it may be closed already
	}
	c.end()
}

// end closes the socket, which ends reading and writing. It may be called more
// than once.
func (c *Conn) end() {
	c.mu.Lock()
	c.endWriting(true)
	if !c.over && c.limit != nil {
		c.limit.Stop()
		defer c.listener.busy.Add(-1)
	}
	c.over = true
	c.mu.Unlock()
	_ = c.wire.Conn.Close() // it may be closed already
}

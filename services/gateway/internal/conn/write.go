package conn

import (
	"errors"
	"sync"
	"time"
)

var errNotWritten = errors.New("the connection ended before its close frame was written")

// writeChunk is how much is gathered for one write, bytes. It is what a writer
// that a slow peer holds up keeps of its own; messages are everybody's.
const writeChunk = 16 << 10

var writeChunks = sync.Pool{New: func() any { b := make([]byte, 0, writeChunk); return &b }}

var pingFrame = []byte{finBit | opPing, 0}

// startWriting sees to it that what waits gets written; c.mu is held.
func (c *Conn) startWriting() {
	if c.writing || c.written {
		return
	}
	c.writing = true
	c.listener.busy.Add(1)
	go c.write()
}

// write writes until nothing waits, and ends; a connection with nothing to say
// has no writing goroutine.
func (c *Conn) write() {
	defer c.listener.busy.Add(-1)
	var chunk *[]byte
	defer func() {
		if chunk != nil {
			writeChunks.Put(chunk)
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if chunk == nil && !c.single() {
			chunk = writeChunks.Get().(*[]byte)
		}
		out, data, history, last := c.next(chunk)
		if out == nil {
			c.writing, c.queue, c.pongs = false, nil, nil
			return
		}
		c.mu.Unlock()
		err := c.put(out)
		c.mu.Lock()
		c.account(-data)
		c.accountHistory(-history)
		if err == nil {
			c.out.Add(int64(data))
		}
		if err != nil || last {
			c.endWriting(err != nil)
		}
	}
}

// writePiece is how much is handed to the socket at once, bytes. A peer that
// takes one within the stall time is a slow one and not a dead one.
const writePiece = 64 << 10

// put writes to the socket, and notes that the peer takes what is written.
func (c *Conn) put(out []byte) error {
	for len(out) > 0 {
		n, err := c.wire.Conn.Write(out[:min(len(out), writePiece)])
		if err != nil {
			return err
		}
		c.progress.Store(time.Now().UnixNano())
		out = out[n:]
	}
	return nil
}

// single says whether what is written next is a frame of the queue, or
// nothing, and needs no gathering; c.mu is held.
func (c *Conn) single() bool {
	return len(c.queue) <= 1 && len(c.pongs) == 0 && !c.ping && c.final == nil
}

// next takes what is written next, nil for nothing: as many frames as chunk
// holds, or one that is larger. data is how many bytes of it are messages, and
// history how many of those SendHistory has queued; last says that it ends with
// the close frame. c.mu is held.
func (c *Conn) next(chunk *[]byte) (out []byte, data, history int, last bool) {
	if c.written {
		return nil, 0, 0, false
	}
	var buf []byte
	if chunk != nil {
		buf = append((*chunk)[:0], c.pongs...)
		c.pongs = c.pongs[:0]
		if c.ping {
			buf = append(buf, pingFrame...)
			c.ping = false
		}
	}
	taken := 0
	for i := range c.queue {
		frame := c.queue[i].message.frame(c.deflate)
		if len(buf) == 0 && (len(frame) > writeChunk || c.single()) {
			// By itself, and not copied.
			out, data = frame, len(frame)
			if c.queue[i].history {
				history = data
			}
			c.take(1)
			return out, data, history, false
		}
		if len(buf)+len(frame) > writeChunk {
			break
		}
		buf = append(buf, frame...)
		data += len(frame)
		if c.queue[i].history {
			history += len(frame)
		}
		taken++
	}
	c.take(taken)
	if len(c.queue) == 0 && c.final != nil && len(buf)+len(c.final) <= writeChunk {
		buf = append(buf, c.final...)
		last = true
	}
	if len(buf) == 0 {
		return nil, 0, 0, false
	}
	return buf, data, history, last
}

// take removes the first n of the queue, which are about to be written; c.mu is
// held.
func (c *Conn) take(n int) {
	for _, q := range c.queue[:n] {
		if q.ephemeral {
			c.ephemerals--
		}
	}
	clear(c.queue[:n])
	c.queue = c.queue[n:]
}

// endWriting notes that nothing is written any more; c.mu is held.
func (c *Conn) endWriting(failed bool) {
	if c.written {
		return
	}
	c.written, c.broken = true, failed
	c.stop()
	if c.whenWritten != nil {
		close(c.whenWritten)
	}
	if failed {
		// What the peer sent before it went, maybe a close frame, is still to
		// be read; but it need not go on for ever.
		_ = c.wire.Conn.SetReadDeadline(time.Now().Add(c.listener.closeTimeout))
		return
	}
	if !c.over {
		c.limit.Reset(c.listener.closeTimeout)
	}
}

// waitWritten waits for the close frame, which must be due, and says whether it
// was written.
func (c *Conn) waitWritten() bool {
	c.mu.Lock()
	if !c.written && c.whenWritten == nil {
		c.whenWritten = make(chan struct{})
	}
	written, when := c.written, c.whenWritten
	c.mu.Unlock()
	if !written {
		<-when
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.broken
}

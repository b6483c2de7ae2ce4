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

// startWriting has a goroutine write what waits; c.mu is held.
func (c *Conn) startWriting() {
	if c.writing || c.written {
		return
	}
	c.writing = true
	c.handOver(piece{}, nil)
}

// handOver leaves the writing to a goroutine, which begins with what is left of
// a piece; c.mu is held and c.writing set.
func (c *Conn) handOver(p piece, chunk *[]byte) {
	c.report()
	c.listener.busy.Add(1)
	go c.write(p, chunk)
}

// write writes until nothing waits, and ends; a connection with nothing to say
// has no writing goroutine.
func (c *Conn) write(p piece, chunk *[]byte) {
	defer c.listener.busy.Add(-1)
	if waited := c.listener.opts.Waited; waited != nil && p.out != nil {
		began := time.Now()
		defer func() { waited(time.Since(began)) }()
	}
	defer func() {
		if chunk != nil {
			writeChunks.Put(chunk)
		}
	}()
	if p.out != nil {
		err := c.put(p.out)
		c.mu.Lock()
		c.wrote(p, err)
	} else {
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	for {
		p = c.next(&chunk)
		if p.out == nil {
			c.rest()
			return
		}
		c.mu.Unlock()
		err := c.put(p.out)
		c.mu.Lock()
		c.wrote(p, err)
		c.report()
	}
}

// wrote notes that a piece is written, or that it failed; c.mu is held.
func (c *Conn) wrote(p piece, err error) {
	c.size -= p.data
	c.accountHistory(-p.history)
	if err == nil {
		c.out += int64(p.data)
	}
	if err != nil || p.last {
		c.endWriting(err != nil)
	}
}

// rest ends the writing, for nothing waits; c.mu is held.
func (c *Conn) rest() {
	c.writing, c.queue, c.pongs = false, nil, nil
	c.report()
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
		c.progress.Store(c.listener.now())
		out = out[n:]
	}
	return nil
}

// piece is what is written at once: as many frames as a chunk holds, or a single
// one, which may be larger and is not copied.
type piece struct {
	out     []byte // nil for nothing
	data    int    // bytes of messages
	history int    // those of them that SendHistory has queued
	last    bool   // it ends with the close frame
}

// next takes what is written next. It gets a chunk where it needs one and there
// is none yet. c.mu is held.
func (c *Conn) next(chunk **[]byte) piece {
	if c.written {
		return piece{}
	}
	control := c.answer != nil || len(c.pongs) > 0 || c.ping
	if !control && len(c.queue) > 0 {
		first := &c.queue[0]
		frame := first.message.frame(c.deflate)
		if len(frame) > writeChunk || len(c.queue) == 1 && c.final == nil {
			p := piece{out: frame, data: len(frame)}
			if first.history {
				p.history = len(frame)
			}
			c.take(1)
			return p
		}
	}
	if !control && len(c.queue) == 0 && c.final == nil {
		return piece{}
	}
	if *chunk == nil {
		*chunk = writeChunks.Get().(*[]byte)
	}
	var p piece
	buf := append(append((**chunk)[:0], c.answer...), c.pongs...)
	c.answer, c.pongs = nil, c.pongs[:0]
	if c.ping {
		buf = append(buf, pingFrame...)
		c.ping = false
	}
	taken := 0
	for i := range c.queue {
		frame := c.queue[i].message.frame(c.deflate)
		if len(buf)+len(frame) > writeChunk {
			break
		}
		buf = append(buf, frame...)
		p.data += len(frame)
		if c.queue[i].history {
			p.history += len(frame)
		}
		taken++
	}
	c.take(taken)
	if len(c.queue) == 0 && c.final != nil && len(buf)+len(c.final) <= writeChunk {
		buf = append(buf, c.final...)
		p.last = true
	}
	p.out = buf
	return p
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

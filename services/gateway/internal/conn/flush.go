package conn

import (
	"sync"
	"syscall"
)

// Flusher gathers what one goroutine has to say to many connections, so that
// each of them is written to once, whatever number of messages there are for
// it. Its zero value is ready; one goroutine uses it.
type Flusher struct {
	conns []*Conn
	direct
}

// Send queues a message as Conn.Send does, to be written by Flush.
func (f *Flusher) Send(c *Conn, message *Prepared, ephemeral bool) {
	c.mu.Lock()
	if c.enqueue(message, ephemeral) {
		f.add(c)
	}
	c.mu.Unlock()
}

// add has Flush write what waits for a connection; c.mu is held.
func (f *Flusher) add(c *Conn) {
	if !c.gathered && !c.writing && !c.written {
		c.gathered = true
		f.conns = append(f.conns, c)
	}
}

// keptConns bounds the list that a Flusher keeps between flushes.
const keptConns = 16 << 10

// Flush writes to every connection what its socket takes at once. Connections
// whose sockets are full get a goroutine that goes on; Flush waits for no peer.
func (f *Flusher) Flush() {
	for _, c := range f.conns {
		c.flush(&f.direct)
	}
	clear(f.conns)
	if f.conns = f.conns[:0]; cap(f.conns) > keptConns {
		f.conns = nil
	}
}

// direct writes without waiting.
type direct struct {
	chunk *[]byte // for gathering; nil until it is needed

	// What try works on; it is bound once, because a closure for each write
	// would cost an allocation.
	try func(fd uintptr) bool
	out []byte
	n   int
	err error
}

var directs = sync.Pool{New: func() any { return new(direct) }}

// flushNow is for who has no Flusher.
func (c *Conn) flushNow() {
	d := directs.Get().(*direct)
	c.flush(d)
	directs.Put(d)
}

// directPieces bounds how long a flush stays with one connection to which more
// and more is sent.
const directPieces = 4

// flush writes what waits, as far as the socket takes it at once, unless a
// goroutine is at it.
func (c *Conn) flush(d *direct) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gathered = false
	if c.writing || c.written {
		return
	}
	c.writing = true
	if c.wire.raw == nil {
		c.handOver(piece{}, nil)
		return
	}
	for range directPieces {
		p := c.next(&d.chunk)
		if p.out == nil {
			c.rest()
			return
		}
		c.mu.Unlock()
		n, err := d.write(c.wire.raw, p.out)
		c.mu.Lock()
		if err == nil && n < len(p.out) {
			p.out = p.out[n:]
			// Its bytes may be in the chunk.
			c.handOver(p, d.chunk)
			d.chunk = nil
			return
		}
		c.wrote(p, err)
	}
	c.handOver(piece{}, nil)
}

// write hands bytes to a socket and tells how many it took, without waiting for
// it to take more.
func (d *direct) write(socket syscall.RawConn, out []byte) (int, error) {
	if d.try == nil {
		d.try = d.once
	}
	d.out, d.n, d.err = out, 0, nil
	err := socket.Write(d.try)
	d.out = nil
	if err == nil {
		err = d.err
	}
	return d.n, err
}

// once is for RawConn.Write; it always says that it is done.
func (d *direct) once(fd uintptr) bool {
	for {
		n, err := writeNow(fd, d.out)
		switch err {
		case nil:
			d.n = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			d.err = err
		}
		return true
	}
}

package conn

// Flusher gathers what one goroutine has to say to many connections, so that
// each of them is written to once, whatever number of messages there are for
// it. Its zero value is ready; one goroutine uses it.
type Flusher struct {
	conns []*Conn
	chunk *[]byte // for gathering; nil until it is needed
}

// Send queues a message as Conn.Send does, to be written by Flush.
func (f *Flusher) Send(c *Conn, message *Prepared, ephemeral bool) {
	c.mu.Lock()
	if c.enqueue(message, ephemeral) {
		f.add(c)
	}
	c.mu.Unlock()
}

// SendHistory queues a message as Conn.SendHistory does, to be written by Flush.
func (f *Flusher) SendHistory(c *Conn, message *Prepared) {
	c.mu.Lock()
	if c.pushHistory(message) {
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
		c.flush(&f.chunk)
	}
	clear(f.conns)
	if f.conns = f.conns[:0]; cap(f.conns) > keptConns {
		f.conns = nil
	}
}

// flushNow is for who has no Flusher.
func (c *Conn) flushNow() {
	var chunk *[]byte
	c.flush(&chunk)
	if chunk != nil {
		writeChunks.Put(chunk)
	}
}

// directPieces bounds how long a flush stays with one connection to which more
// and more is sent.
const directPieces = 4

// flush writes what waits, as far as the socket takes it at once, unless a
// goroutine is at it. It gets a chunk where it needs one and there is none yet.
//
// It keeps c.mu while it writes, which waits for nothing, and so needs none of
// what net and the runtime would look at for each write (some 400 ns of memory
// that is not in the cache, where there are many connections): until written is
// set, with c.mu held, the socket is open and its number is its own.
func (c *Conn) flush(chunk **[]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gathered = false
	if c.writing || c.written {
		return
	}
	for range directPieces {
		if c.wire.socket == 0 {
			break
		}
		p := c.next(chunk)
		if p.out == nil {
			c.rest()
			return
		}
		n, err := writeNow(c.wire.socket, p.out)
		if err == nil && n < len(p.out) {
			p.out = p.out[n:]
			c.writing = true
			c.handOver(p, *chunk) // its bytes may be in the chunk
			*chunk = nil
			return
		}
		c.wrote(p, err)
	}
	c.writing = true
	c.handOver(piece{}, nil)
}

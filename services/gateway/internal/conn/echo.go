package conn

import (
	"bytes"
	"time"
)

// Echo sends every message of a connection back as it came, text as text and
// binary as binary, until it ends: the whole of this package behind the smallest
// meaning that messages can have. It takes no more while it has an answer to
// write, so a peer that does not read holds one message and no more.
func (c *Conn) Echo() {
	for {
		err := c.Read(func(message []byte) {
			message = bytes.Clone(message) // it is good for this call alone
			if c.wire.input.kind == opBinary {
				c.SendHistory(Binary(message))
			} else {
				c.SendHistory(Text(message))
			}
		})
		if err != nil {
			return
		}
		c.awaitHistory()
	}
}

// awaitHistory waits until all is written that SendHistory has queued, or will
// never be.
func (c *Conn) awaitHistory() {
	if c.HistoryWritten() {
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if c.HistoryWritten() {
			return
		}
	}
}

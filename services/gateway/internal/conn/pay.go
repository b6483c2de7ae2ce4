package conn

import "time"

// frameCost is what a frame counts beside its payload, bytes: to take one costs
// as much as some bytes do, and a flood of empty ones is a flood.
const frameCost = 256

// pay makes a peer that sends faster than it may wait: nothing more is read from
// it meanwhile, and so its own socket fills up. It is the cell rate algorithm that
// requests are paced by, in bytes.
func (c *Conn) pay(bytes int) {
	o := &c.listener.opts
	if o.InputRate == 0 || o.InputBurst == 0 {
		return
	}
	now := c.listener.now()
	c.paid = max(c.paid, now) + inputTime(int64(bytes), o.InputRate)
	if ahead := c.paid - now - inputTime(o.InputBurst, o.InputRate); ahead > 0 {
		c.listener.heldUp.Add(1)
		time.Sleep(time.Duration(ahead)) // no longer than what one message costs
	}
}

// inputTime is how long some bytes take at a rate, ns.
func inputTime(bytes, rate int64) int64 {
	return int64(float64(bytes) / float64(rate) * float64(time.Second))
}

// fragments notes that a message is coming in fragments, or that it has come.
func (c *Conn) fragments(coming bool) {
	switch noted := c.begun.Load() != 0; {
	case noted && !coming:
		c.begun.Store(0)
	case coming && !noted:
		c.begun.Store(c.listener.now())
	}
}

// dawdles says whether the peer has not brought a message to its end for two
// heartbeats; what has come of it takes memory all the time.
func (c *Conn) dawdles() bool {
	begun := c.begun.Load()
	return begun != 0 && c.listener.now()-begun > int64(2*c.listener.opts.Heartbeat)
}

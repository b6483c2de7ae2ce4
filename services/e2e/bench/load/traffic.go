//go:build linux

package load

import (
	"math/rand/v2"
	"time"

	"github.com/parley-im/parley/services/e2e/bench/internal/socket"
)

// Traffic is the messages that are sent. They go to the rooms in turn, and are
// sent by a room's members in turn.
type Traffic struct {
	// Rate is messages per second, evenly spaced: the load does not wait for
	// the server, and delays count from when a message was due.
	Rate float64
	// OnTheirWay is how many messages are on their way at any time: each that
	// has come back to its own sender, as to any member, is followed by the
	// next. Either this or Rate is set; without both nothing is sent.
	OnTheirWay int
	// Comings is connections per second that come, join a room, and go again
	// after Stay: in turn with a close frame, and without a word.
	Comings float64
	Stay    time.Duration
}

// comings are the connections that come and go.
type comings struct {
	begun bool
	next  int64
	here  []*conn // the oldest first; some are not members yet
	left  int64
	gone  int
}

// Begin changes the traffic.
func (c *Client) Begin(t Traffic) {
	c.look()
	c.traffic, c.next, c.owed = t, c.now, t.OnTheirWay
	if c.comings.begun = t.Comings > 0; c.comings.begun {
		c.comings.next, c.joinThem = c.now, true
	}
}

func (c *Client) since(t int64) time.Duration { return time.Duration(c.now - t) }

// send sends what is due.
func (c *Client) send() error {
	c.look()
	if c.traffic.Rate > 0 {
		for ; c.next <= c.now; c.next += int64(float64(time.Second) / c.traffic.Rate) {
			if err := c.sendOne(c.next); err != nil {
				return err
			}
		}
		return nil
	}
	for ; c.owed > 0; c.owed-- {
		if err := c.sendOne(c.now); err != nil {
			return err
		}
	}
	return nil
}

// sendOne sends the next message; at is when it was due.
func (c *Client) sendOne(at int64) error {
	r := &c.rooms[c.turnOf]
	cn := r.members[r.turn]
	n := c.verifier.Sent(int32(c.turnOf), int32(cn.Tag), at)
	b, err := c.requests.message(r.name, n)
	if err != nil {
		return err
	}
	if c.turnOf++; c.turnOf == len(c.rooms) {
		c.turnOf = 0
	}
	if r.turn++; r.turn == len(r.members) {
		r.turn = 0
	}
	c.sent++
	if c.opts.Secret == nil {
		c.verifier.Acked(n) // the floor does not, and owes it all the same
	}
	return cn.Write(b)
}

// deliver takes a delivery.
func (c *Client) deliver(cn *conn, n uint32) {
	sender, sentAt := c.verifier.Delivered(&cn.place, n)
	c.delivered++
	c.delays.Add(c.since(sentAt))
	if int(sender) == cn.Tag && c.traffic.OnTheirWay > 0 {
		c.owed++
	}
}

// comeAndGo has connections come and go as the traffic says.
func (c *Client) comeAndGo() error {
	g := &c.comings
	for ; g.begun && g.next <= c.now; g.next += int64(float64(time.Second) / c.traffic.Comings) {
		if err := c.dial(rand.IntN(len(c.rooms))); err != nil {
			return err
		}
		cn := c.conns[len(c.conns)-1]
		cn.visitor = true
		g.here = append(g.here, cn)
	}
	for len(g.here) > 0 && g.here[0].state == member && (!g.begun || c.since(g.here[0].since) > c.traffic.Stay) {
		cn := g.here[0]
		g.here = g.here[1:]
		if g.gone++; g.gone%2 == 0 {
			const normal = "\x03\xE8" // 1000
			if err := cn.Write(append(socket.AppendClient(nil, socket.Close, len(normal)), normal...)); err != nil {
				return err
			}
		}
		c.verifier.Left(&cn.place)
		cn.Close()
		c.conns[cn.Tag] = nil
		g.left++
	}
	return nil
}

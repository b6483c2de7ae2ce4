//go:build linux

package load

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/services/e2e/bench/internal/socket"
)

// CrowdOptions says who is there and what they do.
type CrowdOptions struct {
	// Gateways are where they listen (IPv4), in a deployment whose tokens Secret
	// signs.
	Gateways []netip.AddrPort
	Secret   []byte
	// Name is part of the names of users and rooms.
	Name string
	// Connections is how many there are, each of one user in one of Rooms.
	Connections, Rooms int
	// Churn is connections per second that end and come back, in turn with a
	// close frame and without a word.
	Churn float64
	// Rate is messages per second that they say, all together.
	Rate float64
	// Seed decides who goes and who speaks.
	Seed uint64
}

// Crowd is connections that are there, whatever happens to the gateways: one
// that ends is made anew, at another gateway where its own does not answer, and
// goes back later, as behind a load balancer, so that each gateway has its share
// again. It verifies nothing, for that others are needed.
type Crowd struct {
	opts     CrowdOptions
	poller   *socket.Poller
	shared   []byte
	began    time.Time
	now      time.Duration
	rand     *rand.Rand
	requests requests
	people   []*person // by tag

	away     absent
	dialling int
	nextGo   time.Duration
	nextSay  time.Duration
	looked   time.Duration
	goodbyes int

	mu   sync.Mutex
	seen CrowdLook
}

// CrowdLook is how a crowd is doing.
type CrowdLook struct {
	// Members are connected and in their room now.
	Members int
	// Gone counts those that went of their own, Cut those whose connection ended
	// or could not be made, and Refused what was answered with an error.
	Gone, Cut, Refused int
	// Said counts messages, Delivered what came to all members.
	Said, Delivered int64
}

// person is one of a crowd.
type person struct {
	socket.Conn
	state state // where there is a socket
	there bool  // there is one
	room  int
	// since is when they began to connect, until when they come back, where none
	// is there; failures is how often in a row connecting has come to nothing.
	since, until time.Duration
	failures     int
	at           int // the gateway's number
}

// absent are those to be connected, a heap by when.
type absent []*person

func (a absent) Len() int           { return len(a) }
func (a absent) Less(i, j int) bool { return a[i].until < a[j].until }
func (a absent) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *absent) Push(p any)        { *a = append(*a, p.(*person)) }
func (a *absent) Pop() any {
	old := *a
	p := old[len(old)-1]
	*a = old[:len(old)-1]
	return p
}

const (
	// crowdInProgress bounds connections on their way, so that a gateway's end
	// does not become a stampede.
	crowdInProgress = 64
	// crowdPatience is how long one may be on its way.
	crowdPatience = 15 * time.Second
	// homesick is how long somebody stays at a gateway that is not theirs, and
	// homing how many go back in a second, when all the others are there.
	homesick = 10 * time.Second
	homing   = 50
)

// NewCrowd makes a crowd of which nobody is there yet.
func NewCrowd(o CrowdOptions) (*Crowd, error) {
	if len(o.Gateways) == 0 || o.Rooms < 1 {
		return nil, errors.New("a crowd needs a gateway and a room")
	}
	poller, err := socket.NewPoller()
	if err != nil {
		return nil, err
	}
	c := &Crowd{
		opts: o, poller: poller, shared: make([]byte, 1<<20), began: time.Now(), rand: rand.New(rand.NewPCG(o.Seed, 2)),
	}
	for i := range o.Connections {
		p := &person{room: i % o.Rooms}
		p.Tag = i
		c.people = append(c.people, p)
		c.away = append(c.away, p) // all at once: a heap
	}
	return c, nil
}

// Look tells how the crowd is doing. It may be called while Run runs.
func (c *Crowd) Look() CrowdLook {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// Run has the crowd live until ctx ends; then all connections are cut.
func (c *Crowd) Run(ctx context.Context) error {
	defer func() {
		for _, p := range c.people {
			if p.there {
				p.Close()
			}
		}
		c.poller.Close()
	}()
	for ctx.Err() == nil {
		c.now = time.Since(c.began)
		if err := c.due(); err != nil {
			return err
		}
		timeout := idle / 10
		if c.opts.Rate > 0 {
			timeout = min(timeout, c.nextSay-c.now)
		}
		events, err := c.poller.Wait(timeout)
		if err != nil {
			return err
		}
		c.now = time.Since(c.began)
		for _, e := range events {
			p := c.people[e.Fd]
			var err error
			if p.there && e.Events&unix.EPOLLOUT != 0 {
				err = c.writable(p)
			}
			if p.there && err == nil && e.Events&^unix.EPOLLOUT != 0 {
				err = c.readable(p)
			}
			if p.there && err != nil {
				c.lose(p)
			}
		}
	}
	return nil
}

func (c *Crowd) note(f func(*CrowdLook)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.seen)
}

// due does what does not wait for a socket.
func (c *Crowd) due() error {
	for c.dialling < crowdInProgress && len(c.away) > 0 && c.away[0].until <= c.now {
		if err := c.dial(heap.Pop(&c.away).(*person)); err != nil {
			return err
		}
	}
	if c.now-c.looked >= time.Second {
		c.looked = c.now
		home := 0
		if c.dialling+len(c.away) < crowdInProgress+3*homing {
			home = homing
		}
		for _, p := range c.people {
			switch {
			case p.there && p.state != member && c.now-p.since > crowdPatience:
				c.lose(p)
			case p.there && p.state == member && p.at != c.home(p) && c.now-p.since > homesick && home > 0:
				home--
				c.leave(p)
			}
		}
	}
	for ; c.opts.Churn > 0 && c.nextGo <= c.now; c.nextGo += per(c.opts.Churn) {
		if p := c.some(); p != nil {
			c.leave(p)
		}
	}
	for ; c.opts.Rate > 0 && c.nextSay <= c.now; c.nextSay += per(c.opts.Rate) {
		if p := c.some(); p != nil {
			if err := c.say(p); err != nil {
				c.lose(p)
			}
		}
	}
	return nil
}

func per(rate float64) time.Duration { return time.Duration(float64(time.Second) / rate) }

// some gives a member, nil where chance meets somebody who is none now.
func (c *Crowd) some() *person {
	if len(c.people) == 0 {
		return nil
	}
	if p := c.people[c.rand.IntN(len(c.people))]; p.there && p.state == member {
		return p
	}
	return nil
}

func (c *Crowd) home(p *person) int { return p.Tag % len(c.opts.Gateways) }

// dial begins to connect somebody. Its error ends the run: the machine lacks
// something.
func (c *Crowd) dial(p *person) error {
	p.at = (p.Tag + p.failures) % len(c.opts.Gateways)
	fd, err := connect(c.opts.Gateways[p.at], 1+p.Tag/perAddress)
	if errors.Is(err, unix.ECONNREFUSED) {
		p.failures++
		c.later(p, c.pause(p))
		return nil
	}
	if err != nil {
		return err
	}
	conn, err := socket.NewConn(c.poller, fd, p.Tag)
	if err != nil {
		_ = unix.Close(fd) // the first error counts
		return err
	}
	p.Conn = conn
	p.there, p.state, p.since = true, dialling, c.now
	c.dialling++
	return nil
}

// end closes somebody's connection; they come back after a pause.
func (c *Crowd) end(p *person, pause time.Duration) {
	if p.state == member {
		c.note(func(l *CrowdLook) { l.Members-- })
	} else {
		c.dialling--
	}
	p.Close()
	p.there = false
	c.later(p, pause)
}

func (c *Crowd) later(p *person, pause time.Duration) {
	p.until = c.now + pause
	heap.Push(&c.away, p)
}

// pause is how long to wait after somebody's failures.
func (c *Crowd) pause(p *person) time.Duration {
	longest := 200 * time.Millisecond << min(p.failures, 5)
	return longest/2 + time.Duration(c.rand.Int64N(int64(longest/2)))
}

// lose is end for a connection that ended otherwise than its owner wanted.
func (c *Crowd) lose(p *person) {
	c.note(func(l *CrowdLook) { l.Cut++ })
	p.failures++
	c.end(p, c.pause(p))
}

// leave has a member go and come back.
func (c *Crowd) leave(p *person) {
	if c.goodbyes++; c.goodbyes%2 == 0 {
		const normal = "\x03\xE8" // 1000
		_ = p.Write(append(socket.AppendClient(nil, socket.Close, len(normal)), normal...))
	}
	c.note(func(l *CrowdLook) { l.Gone++ })
	c.end(p, time.Second+time.Duration(c.rand.Int64N(int64(2*time.Second))))
}

func (c *Crowd) roomName(room int) string { return c.opts.Name + "-" + strconv.Itoa(room) }

func (c *Crowd) say(p *person) error {
	b, err := c.requests.message(c.roomName(p.room), uint32(c.now/time.Millisecond))
	if err != nil {
		return err
	}
	c.note(func(l *CrowdLook) { l.Said++ })
	return p.Write(b)
}

func (c *Crowd) writable(p *person) error {
	if p.state != dialling {
		return p.Flush()
	}
	if err := p.Established(); err != nil {
		return err
	}
	token, err := sign(c.opts.Secret, c.opts.Name+"-"+strconv.Itoa(p.Tag))
	if err != nil {
		return fmt.Errorf("signing a token: %w", err)
	}
	p.state = upgrading
	return p.Write(upgradeRequest(c.opts.Gateways[p.at].String(), token, frame.JSON.Subprotocol(), false))
}

var errEnded = errors.New("the gateway has ended it")

func (c *Crowd) readable(p *person) error {
	b, err := p.Read(c.shared)
	if err != nil {
		return err
	}
	if p.state == upgrading && len(b) > 0 {
		head, rest, whole := bytes.Cut(b, []byte("\r\n\r\n"))
		if !whole {
			p.Keep(b)
			return nil
		}
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
			c.note(func(l *CrowdLook) { l.Refused++ })
			return errEnded
		}
		b, p.state = rest, signingIn
	}
	for len(b) > 0 {
		first, payload, size := socket.Next(b)
		if size == 0 {
			p.Keep(b)
			return nil
		}
		if err := c.take(p, first, payload); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// take takes a frame; an error ends the connection.
func (c *Crowd) take(p *person, first byte, payload []byte) error {
	switch first {
	case socket.Ping:
		return p.Write(append(socket.AppendClient(nil, socket.Pong, len(payload)), payload...))
	case socket.Close:
		return errEnded
	}
	switch event, _ := look(frame.JSON, payload); {
	case event == chatMessage && p.state == member:
		c.note(func(l *CrowdLook) { l.Delivered++ })
	case event == authSuccess && p.state == signingIn:
		p.state = joining
		b, err := c.requests.join(c.roomName(p.room), 0)
		if err != nil {
			return err
		}
		return p.Write(b)
	case event == messageHistory && p.state == joining:
		p.state, p.failures, p.since = member, 0, c.now
		c.dialling--
		c.note(func(l *CrowdLook) { l.Members++ })
	case event == refusal && !bytes.HasPrefix(payload, []byte(`{"type":"going-away"`)):
		c.note(func(l *CrowdLook) { l.Refused++ })
		if p.state != member {
			return errEnded
		}
	}
	return nil
}

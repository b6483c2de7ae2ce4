//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/services/e2e/bench/internal/socket"
)

// Options says whom to load.
type Options struct {
	// Gateways are where they listen (IPv4); connection i is made to the i-th,
	// modulo their number.
	Gateways []netip.AddrPort
	// Secret signs the clients' tokens. Without it they join without signing
	// in, which the floor lets them.
	Secret []byte
	// Name is part of the names of users and rooms: at most 20 letters and
	// digits. On one deployment no two clients may have the same.
	Name string
	// Rooms is how many there are.
	Rooms int
	// Protobuf speaks parley.v1.proto in place of parley.v1.json.
	Protobuf bool
	// Deflate offers permessage-deflate.
	Deflate bool
	// History is how many messages a join asks for.
	History int
	// InProgress is how many connections may be on their way to be made;
	// default 256.
	InProgress int
}

// Client is a load. It belongs to one goroutine, does nothing between calls,
// and has to be closed.
type Client struct {
	opts   Options
	poller *socket.Poller
	shared []byte
	began  time.Time
	now    int64 // ns since began

	requests  requests
	tokens    []string // by tag, those that Prepare has made
	conns     []*conn  // by tag; nil for those that are gone
	rooms     []roomOf
	planned   []int // rooms of connections that are to be made
	toJoin    []*conn
	making    int // connections, or joins, on their way
	ready     int // what has been made
	joinThem  bool
	verifier  *Verifier
	traffic   Traffic
	next      int64 // when the next message is due
	turnOf    int   // the room whose turn it is
	owed      int   // messages to send in the place of those that came back
	comings   comings
	delivered int64
	acked     int64
	sent      int64
	delays    Delays
	joins     Delays
}

// roomOf is a room and those of its members that send.
type roomOf struct {
	name    string
	members []*conn
	turn    int
}

// New makes a load without connections.
func New(o Options) (*Client, error) {
	poller, err := socket.NewPoller()
	if err != nil {
		return nil, err
	}
	if o.InProgress == 0 {
		o.InProgress = 256
	}
	c := &Client{
		opts: o, poller: poller, shared: make([]byte, 1<<20), began: time.Now(),
		rooms: make([]roomOf, o.Rooms), verifier: NewVerifier(o.Rooms),
	}
	if o.Protobuf {
		c.requests.encoding = frame.Proto
	}
	for i := range c.rooms {
		c.rooms[i].name = fmt.Sprintf("%s-%d", o.Name, i)
	}
	return c, nil
}

// Close cuts all connections.
func (c *Client) Close() {
	for _, cn := range c.conns {
		if cn != nil {
			cn.Close()
		}
	}
	c.poller.Close()
}

// Prepare makes the tokens of the first n connections, which a client has before
// it connects. Those of others are made when they connect.
func (c *Client) Prepare(n int) error {
	for tag := len(c.tokens); tag < n && c.opts.Secret != nil; tag++ {
		token, err := c.sign(tag)
		if err != nil {
			return err
		}
		c.tokens = append(c.tokens, token)
	}
	return nil
}

// token is that of a connection.
func (c *Client) token(tag int) (string, error) {
	switch {
	case c.opts.Secret == nil:
		return "", nil
	case tag < len(c.tokens):
		return c.tokens[tag], nil
	}
	return c.sign(tag)
}

func (c *Client) sign(tag int) (string, error) {
	token, err := sign(c.opts.Secret, c.opts.Name+"-"+strconv.Itoa(tag))
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return token, nil
}

// connectPatience is how long making any number of connections, or joins, may
// take.
const connectPatience = 2 * time.Minute

// Connect makes a connection for each of the rooms named, by its number, and
// where join is set joins that. It returns when all are made.
func (c *Client) Connect(ctx context.Context, rooms []int, join bool) error {
	c.joinThem, c.ready = join, 0
	c.planned = append(c.planned, rooms...)
	return c.wait(ctx, connectPatience, "the connections", func() bool { return c.ready == len(rooms) })
}

// Join has those join that Connect did not.
func (c *Client) Join(ctx context.Context) error {
	c.ready = 0
	for _, cn := range c.conns {
		if cn != nil && cn.state == signedIn {
			c.toJoin = append(c.toJoin, cn)
		}
	}
	all := len(c.toJoin)
	return c.wait(ctx, connectPatience, "the joins", func() bool { return c.ready == all })
}

var errPatience = errors.New("not in time")

// wait runs until it is done.
func (c *Client) wait(ctx context.Context, patience time.Duration, what string, done func() bool) error {
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting for %s: %w: after %v", what, errPatience, patience)
		}
		if err := c.turn(ctx, deadline); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
	}
	return nil
}

// Run goes on for a time, with the traffic that was begun.
func (c *Client) Run(ctx context.Context, d time.Duration) error {
	deadline := time.Now().Add(d)
	for time.Now().Before(deadline) {
		if err := c.turn(ctx, deadline); err != nil {
			return err
		}
	}
	return nil
}

// idle bounds one wait, so that the end of a context is noticed.
const idle = 100 * time.Millisecond

// turn does what is due, waits for sockets, and serves them.
func (c *Client) turn(ctx context.Context, deadline time.Time) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.look()
	if err := c.due(); err != nil {
		return err
	}
	timeout := min(idle, time.Until(deadline))
	if c.traffic.Rate > 0 {
		timeout = min(timeout, time.Duration(c.next-c.now))
	}
	events, err := c.poller.Wait(timeout)
	if err != nil {
		return err
	}
	for i, e := range events {
		cn := c.conns[e.Fd]
		if cn == nil {
			continue
		}
		if e.Events&unix.EPOLLOUT != 0 {
			if err := c.writable(cn); err != nil {
				return fmt.Errorf("connection %d: %w", cn.Tag, err)
			}
		}
		if e.Events&^unix.EPOLLOUT != 0 && c.conns[e.Fd] != nil {
			if err := c.readable(cn); err != nil {
				return fmt.Errorf("connection %d: %w", cn.Tag, err)
			}
		}
		if i%16 == 15 && c.traffic.Rate > 0 { // serving a thousand takes a millisecond
			if err := c.send(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Client) look() { c.now = int64(time.Since(c.began)) }

// due does what does not wait for a socket.
func (c *Client) due() error {
	for c.making < c.opts.InProgress && len(c.planned) > 0 {
		room := c.planned[0]
		c.planned = c.planned[1:]
		if err := c.dial(room); err != nil {
			return err
		}
	}
	for c.making < c.opts.InProgress && len(c.toJoin) > 0 {
		cn := c.toJoin[0]
		c.toJoin = c.toJoin[1:]
		c.making++
		cn.asked = c.now
		if err := c.join(cn); err != nil {
			return err
		}
	}
	if err := c.comeAndGo(); err != nil {
		return err
	}
	return c.send()
}

// Counts are what has happened since the last Take, or the beginning.
type Counts struct {
	Sent, Acked, Delivered int64
	// Delays are those of all deliveries, Joins from dialling, or from
	// asking where Join was called, to the history.
	Delays, Joins Quantiles
	Joined, Left  int64
}

// Take gives the counts and begins anew.
func (c *Client) Take() Counts {
	counts := Counts{
		Sent: c.sent, Acked: c.acked, Delivered: c.delivered, Delays: c.delays.Quantiles(), Joins: c.joins.Quantiles(),
		Joined: c.joins.n, Left: c.comings.left,
	}
	c.sent, c.acked, c.delivered, c.delays, c.joins, c.comings.left = 0, 0, 0, Delays{}, Delays{}, 0
	return counts
}

// Settle ends the traffic and waits until all that is under way has arrived; what
// has not then is the Verdict's.
func (c *Client) Settle(ctx context.Context, patience time.Duration) error {
	c.Begin(Traffic{})
	err := c.wait(ctx, patience, "what is under way", func() bool {
		if c.making > 0 || c.verifier.UnderWay() > 0 {
			return false
		}
		for _, cn := range c.conns {
			if cn != nil && !c.verifier.Reached(&cn.place) {
				return false
			}
		}
		return true
	})
	if errors.Is(err, errPatience) {
		return nil
	}
	return err
}

// Verdict judges all deliveries.
func (c *Client) Verdict() Faults {
	var places []*Place
	for _, cn := range c.conns {
		if cn != nil && cn.state == member {
			places = append(places, &cn.place)
		}
	}
	return c.verifier.Verdict(places)
}

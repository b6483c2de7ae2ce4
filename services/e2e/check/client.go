package check

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/parley-im/parley/pkg/frame"
)

// client is one user with one connection at a time, which it replaces whenever
// it ends.
type client struct {
	run      *run
	index    int
	account  *account
	encoding frame.Encoding
	rand     *rand.Rand // of the goroutine of live

	heard   atomic.Int64 // when the last frame came, nanoseconds of the run
	stalled atomic.Int64 // until when nothing is read, likewise

	mu          sync.Mutex
	places      []*place
	byRoom      map[string]*place
	writer      *writer // nil where it only reads
	link        *link   // nil while there is none
	links       int32
	resumeToken string
	ready       bool // signed in on this link
	returnIn    time.Duration
	asked       time.Time // when auth or resume was sent and not answered yet
	pinged      time.Time
}

// place is a client's membership of a room while the run goes on.
type place struct {
	Place
	name    string
	epoch   string
	last    uint64 // the newest seq that came
	started bool   // the first history has come
	joined  bool   // on this link
	// asked is when join-room was sent; joinAt is when to send it (again).
	asked, joinAt time.Time
	how           How  // of the message-history that is to come
	skipped       *Gap // told that something is gone, and not yet how far
}

// live keeps the client connected until ctx ends.
func (c *client) live(ctx context.Context) {
	url := c.rand.IntN(len(c.run.opts.URLs))
	for failures := 0; ctx.Err() == nil; {
		began := time.Now()
		reached, err := c.serve(ctx, c.run.opts.URLs[url])
		if ctx.Err() != nil {
			return
		}
		if !reached {
			c.run.notReached(err)
		}
		if reached && time.Since(began) > 5*time.Second {
			failures = 0
		}
		failures++
		pause, again := c.pause(err, failures)
		if !again {
			c.run.violated(Violation{Kind: Refused, Client: c.index, Detail: "sent away for good: " + err.Error()})
			return
		}
		if n := len(c.run.opts.URLs); n > 1 {
			url = (url + 1 + c.rand.IntN(n-1)) % n
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// pause says how long to wait before connecting again, and whether to
// (PROTOCOL.md, section 6).
func (c *client) pause(err error, failures int) (time.Duration, bool) {
	backOff := min(100*time.Millisecond<<min(failures, 6), 3*time.Second)
	backOff = backOff/2 + time.Duration(c.rand.Int64N(int64(backOff)))
	code := websocket.CloseStatus(err)
	if code >= 0 {
		c.run.count(fmt.Sprintf("closed with %d", code))
	}
	switch {
	case code == websocket.StatusGoingAway:
		c.mu.Lock()
		defer c.mu.Unlock()
		return max(c.returnIn, time.Millisecond), true
	case code == websocket.StatusNormalClosure, code == websocket.StatusUnsupportedData,
		code == websocket.StatusInvalidFramePayloadData, code == websocket.StatusMessageTooBig,
		code >= 4000 && code < 4100:
		return 0, false
	case code == websocket.StatusPolicyViolation:
		// Too old a token, or a gateway that could not check it in time.
		c.account.spoil()
		c.mu.Lock()
		c.resumeToken = ""
		c.mu.Unlock()
		return backOff, failures < 20
	case code == websocket.StatusTryAgainLater:
		return 2*time.Second + backOff, true
	case code >= 4200 && code < 4300:
		if code == 4203 {
			c.account.spoil()
			c.mu.Lock()
			c.resumeToken = ""
			c.mu.Unlock()
		}
		return time.Duration(c.rand.Int64N(int64(200 * time.Millisecond))), true
	}
	return backOff, true
}

var errSilent = errors.New("the gateway has stopped answering")

// serve connects and takes in what comes until the connection ends. reached
// says whether the gateway said welcome.
func (c *client) serve(ctx context.Context, url string) (reached bool, err error) {
	token, err := c.account.bearer(ctx, url)
	if err != nil {
		return false, err
	}
	l, err := dial(ctx, url, c.encoding)
	if err != nil {
		return false, err
	}
	defer l.cut()
	c.heard.Store(int64(c.run.now()))
	c.mu.Lock()
	c.link, c.links, c.returnIn, c.ready, c.asked = l, c.links+1, 0, false, time.Now()
	c.mu.Unlock()
	c.run.links.Add(1)
	defer c.lose()

	// Ended by the beat where the gateway has fallen silent.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var beat sync.WaitGroup
	beat.Go(func() {
		if err := c.beat(ctx, l); err != nil {
			cancel(err)
			l.cut()
		}
	})
	defer beat.Wait()
	defer cancel(nil)
	for {
		c.stall(ctx)
		f, err := l.read(ctx)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
				err = cause
			}
			return reached, err
		}
		reached = true
		c.heard.Store(int64(c.run.now()))
		if err := c.take(l, f, token); err != nil {
			return true, err
		}
	}
}

// stall waits while nothing is to be read.
func (c *client) stall(ctx context.Context) {
	rest := time.Duration(c.stalled.Load()) - c.run.now()
	if rest <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(rest):
		c.heard.Store(int64(c.run.now()))
	}
}

// lose notes that the connection is gone.
func (c *client) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link, c.ready = nil, false
	for _, p := range c.places {
		p.joined, p.asked, p.joinAt, p.skipped = false, time.Time{}, time.Time{}, nil
	}
	if c.writer != nil {
		c.writer.lose()
	}
}

// beat does what is due while a connection stands: joins, messages, pings. Its
// error ends the connection.
func (c *client) beat(ctx context.Context, l *link) error {
	every := 100 * time.Millisecond
	if c.writer != nil {
		every = 15 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if c.run.now()-time.Duration(c.heard.Load()) > silence {
			return errSilent
		}
		c.mu.Lock()
		frames, err := c.due(time.Now())
		c.mu.Unlock()
		if err != nil {
			return err
		}
		for _, f := range frames {
			if err := l.send(f); err != nil {
				return fmt.Errorf("sending: %w", err)
			}
		}
	}
}

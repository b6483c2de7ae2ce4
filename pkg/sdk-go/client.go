package parley

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// lobby is the room that every session belongs to.
const lobby = "lobby"

// Client is rooms over one connection.
type Client struct {
	url     string
	options Options
	alive   context.Context // ends with the client
	kill    context.CancelFunc
	working sync.WaitGroup
	hurry   chan struct{}
	joins   chan struct{} // a place for each join under way

	// mu guards all of a client, its rooms and its link. It is held for moments, and
	// never while something is sent or waited for.
	mu      sync.Mutex
	link    *link // nil while nobody is signed in
	life    int   // counts signed-in connections
	status  Status
	version int           // of status
	changed chan struct{} // closed, and another made, with each other status
	account *wirev1.Account
	limits  *wirev1.Limits
	rooms   map[string]*Room
	letters map[string]*letter // of all rooms, by id
	feeds   map[*stream]struct{}
	told    *wirev1.SetStatus // what SetStatus has told
}

// Dial connects to a deployment and signs in. The address is http:, https:, ws: or
// wss: of a gateway, or of what stands before them; "/ws" is added where it has no
// path. Who does not answer is tried again for as long as ctx lasts; ctx has no
// part in the client afterwards, which comes back by itself until [Client.Close].
func Dial(ctx context.Context, url string, o Options) (*Client, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	full, err := address(url)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	c := &Client{
		url: full, options: o, changed: make(chan struct{}), hurry: make(chan struct{}, 1), joins: make(chan struct{}, joiningAtOnce),
		rooms: make(map[string]*Room), letters: make(map[string]*letter), feeds: make(map[*stream]struct{}),
	}
	c.alive, c.kill = context.WithCancel(context.Background())
	k := &connector{c: c}
	c.working.Go(func() { k.run(c.alive) })
	if _, err := c.connected(ctx); err != nil {
		last := c.Status()
		c.Close()
		if last.Err != nil && last.State != Closed {
			err = fmt.Errorf("%w: %w", err, last.Err)
		}
		return nil, fmt.Errorf("connecting to %s: %w", url, err)
	}
	return c, nil
}

// Close ends the session, and returns when nothing of the client runs any more.
// What waits to be sent fails with CodeClosed.
func (c *Client) Close() {
	c.kill()
	c.working.Wait()
}

// Account is who is signed in.
func (c *Client) Account() *wirev1.Account {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.account
}

// Limits are what the gateway allows.
func (c *Client) Limits() *wirev1.Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limits
}

// RetryNow ends the wait for the next attempt, if there is one.
func (c *Client) RetryNow() {
	if c.Status().State != Offline {
		return
	}
	select {
	case c.hurry <- struct{}{}:
	default:
	}
}

// Room gives the room of that id, the same each time. It is not joined by this.
func (c *Client) Room(id string) *Room {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rooms[id]
	if r == nil {
		r = newRoom(c, id)
		if c.status.State == Closed {
			r.stream.finish(c.status.Err)
		}
		c.rooms[id] = r
	}
	return r
}

// Ask makes any request, where there is no method for it, and gives the first
// frame that answers it; a refusal is an *Error. It waits for a connection. A
// request whose effect is the same if it is made again is made again where the
// connection is lost meanwhile.
func (c *Client) Ask(ctx context.Context, q *wirev1.ClientFrame) (*wirev1.ServerFrame, error) {
	for {
		l, err := c.connected(ctx)
		if err != nil {
			return nil, err
		}
		f, err := l.ask(ctx, q, nil)
		if CodeOf(err) != CodeConnectionLost || !again(frame.RequestType(q)) {
			return f, err
		}
		// The next connection, not this one that has not been noticed to be gone.
		if err := c.another(ctx, l); err != nil {
			return nil, err
		}
	}
}

// again tells whether a request may be made twice.
func again(request string) bool {
	for _, prefix := range []string{"get-", "edit-", "delete-m", "mark-", "open-", "ping"} {
		if strings.HasPrefix(request, prefix) {
			return true
		}
	}
	return false
}

// Events gives what concerns no room, from now on: [Presence], [Broadcast],
// [Invited], [GoingAway] and [Trouble]. The oldest go where too many wait. It ends
// with the client, and when ctx does.
func (c *Client) Events(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		s := newStream(c.options.Buffer)
		c.mu.Lock()
		if c.status.State == Closed {
			s.finish(c.status.Err)
		}
		c.feeds[&s] = struct{}{}
		c.mu.Unlock()
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.feeds, &s)
		}()
		for {
			c.mu.Lock()
			e, ok := s.pop()
			end := s.end
			var arrived <-chan struct{}
			if !ok {
				arrived = s.watch()
			}
			c.mu.Unlock()
			switch {
			case ok && !yield(e), !ok && end != nil, !ok && wait(ctx, arrived) != nil:
				return
			}
		}
	}
}

// SetStatus tells how available the user is: online, away or busy, and a text. It
// is told again after each sign-in.
func (c *Client) SetStatus(ctx context.Context, status, text string) error {
	q := &wirev1.SetStatus{Status: status}
	if text != "" {
		q.Text = &text
	}
	_, err := c.Ask(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_SetStatus{SetStatus: q}})
	if err == nil {
		c.mu.Lock()
		c.told = q
		c.mu.Unlock()
	}
	return err
}

// retellStatus tells a session that is another what the one before was told.
func (c *Client) retellStatus(ctx context.Context, l *link) {
	c.mu.Lock()
	q := c.told
	c.mu.Unlock()
	if q != nil {
		_, _ = l.ask(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_SetStatus{SetStatus: q}}, nil)
	}
}

// connected waits for a connection that is signed in.
func (c *Client) connected(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, status, changed := c.link, c.status, c.changed
		c.mu.Unlock()
		switch {
		case status.State == Closed:
			return nil, status.Err
		case l != nil:
			return l, nil
		}
		if err := wait(ctx, changed); err != nil {
			return nil, err
		}
	}
}

// another waits until a connection is noticed to be gone.
func (c *Client) another(ctx context.Context, l *link) error {
	for {
		c.mu.Lock()
		same, changed := c.link == l, c.changed
		c.mu.Unlock()
		if !same {
			return nil
		}
		if err := wait(ctx, changed); err != nil {
			return err
		}
	}
}

func (c *Client) wasOnline() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.life > 0
}

// ---- What the connection tells ----------------------------------------------

func (c *Client) welcome(l *link, w *wirev1.Welcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limits = w.Limits
	l.most = w.Limits.GetMaxFrameBytes()
}

// places tells where each room stands that a resume shall bring back.
func (c *Client) places() map[string]*wirev1.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	places := make(map[string]*wirev1.Position)
	for id, r := range c.rooms {
		if len(places) == maxResumed {
			break
		}
		if p := r.resumable(); p != nil {
			places[id] = &wirev1.Position{Seq: p.Seq, Epoch: &p.Epoch}
		}
	}
	return places
}

// ready is told of a connection that is signed in.
func (c *Client) ready(l *link, in *signedIn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.account != nil && c.account.Id != in.account.GetId() {
		// Ids of messages are known for one user alone.
		for _, r := range c.rooms {
			r.failTried(&Error{Code: CodeUnknownOutcome, Message: "another user is signed in, and it is not known whether this was sent"})
		}
	}
	c.account, c.link = in.account, l
	c.life++
	for id, r := range c.rooms {
		if r.state == out {
			continue
		}
		switch back := in.rooms[id]; {
		case back == nil:
			r.again()
		case back.Error == nil:
			r.begin(answer{back.Recovered, back.Seq, back.Epoch, back.GetOldestSeq(), back.MemberCount})
		default:
			switch code := back.GetError(); code {
			case codeUnavailable, codeNotFound, codeInternal:
				r.again()
			default:
				r.exit(&Error{Code: code, Message: "not in " + id + " any more"})
			}
		}
	}
	c.caughtUp()
}

// gone is told of its end.
func (c *Client) gone(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = nil
	l.lose()
	for _, r := range c.rooms {
		r.interrupted()
	}
	c.setStatus(Status{State: Connecting})
}

// finish is told that there will be no further connection.
func (c *Client) finish(err *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rooms {
		r.exit(err)
	}
	for s := range c.feeds {
		s.finish(err)
	}
	c.setStatus(Status{State: Closed, Err: err})
	c.kill()
}

// frame takes what comes on a signed-in connection, in its order.
func (c *Client) frame(l *link, f *wirev1.ServerFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.answer(f) {
		return
	}
	switch e := f.Event.(type) {
	case *wirev1.ServerFrame_Presence:
		c.announce(Presence{user(e.Presence.User), e.Presence.Status, e.Presence.GetText()})
	case *wirev1.ServerFrame_AdminMessage:
		c.announce(Broadcast{user(e.AdminMessage.From), e.AdminMessage.Content, e.AdminMessage.Timestamp.AsTime()})
	case *wirev1.ServerFrame_Invited:
		c.announce(Invited{e.Invited.RoomId, user(e.Invited.User)})
	case *wirev1.ServerFrame_GoingAway:
		c.announce(GoingAway{time.Duration(e.GoingAway.ReconnectInMs) * time.Millisecond})
	case *wirev1.ServerFrame_Error:
		c.announce(Trouble{refused(f)})
	case *wirev1.ServerFrame_MessageHistory:
		// Under an id it is a late answer that nobody waits for any more.
		if r := c.rooms[e.MessageHistory.RoomId]; r != nil && f.Id == nil {
			r.page(e.MessageHistory)
		}
	default:
		if r := c.rooms[roomOf(f)]; r != nil {
			r.frame(f)
		}
	}
}

// announce gives an event to who reads [Client.Events], with the lock.
func (c *Client) announce(e Event) {
	for s := range c.feeds {
		s.pass(e)
	}
}

// isMe tells whether an entry is of who is signed in, with the lock.
func (c *Client) isMe(u User) bool {
	if u.ID == "" {
		return u.Username == c.account.GetUsername()
	}
	return u.ID == c.account.GetId()
}

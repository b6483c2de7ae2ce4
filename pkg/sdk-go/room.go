package parley

import (
	"context"
	"fmt"
	"iter"
	"time"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// roomState is whether a room is wanted, and had.
type roomState int

const (
	out     roomState = iota // not wanted
	joining                  // will be joined, or is being caught up
	in                       // joined, and everything was seen
)

// Room is one room. What is said in it comes to one loop: each event is given once,
// to whichever loop asks, and one that is broken off can be begun again without
// loss. All is guarded by the client's lock.
type Room struct {
	c  *Client
	id string

	state  roomState
	log    log
	stream stream
	// lag: stream was full, and what came since was not kept: it is read from the
	// log again, from log.at, when there is room.
	lag bool
	// seen is the newest entry that came, kept or not.
	seen int64
	// asked is where the join under way goes on from; turn tells it from earlier
	// ones, and futile that the log was asked for from an earlier place and has not
	// all of it any more.
	asked  *Position
	turn   int
	futile bool
	// due: a join is to be sent, no sooner than dueAt; tries counts those in vain.
	due     bool
	dueAt   time.Time
	tries   int
	history *int32
	settled chan struct{} // closed, and another made, when state is in or out
	why     error         // why state is out

	members  int64
	readSeq  *int64
	unread   *int64
	letters  []*letter // oldest first
	letterAt time.Time // none is tried before
	underWay *letter
	running  bool // run does
	wake     chan struct{}
}

// JoinOptions say where to begin.
type JoinOptions struct {
	// History is how many of the newest messages come first, where there is no
	// After: up to 1000; 0 is 50, and less than 0 none.
	History int
	// After is where the application stands already: what follows comes first.
	After *Position
}

func newRoom(c *Client, id string) *Room {
	return &Room{c: c, id: id, stream: newStream(c.options.Buffer), settled: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// ID is the id of the room.
func (r *Room) ID() string { return r.id }

// Join enters the room, and stays in it over reconnects until [Room.Leave]. It
// returns when what the log has waits to be read, or when ctx ends: the room is
// joined all the same then, unless it is left.
func (r *Room) Join(ctx context.Context, o JoinOptions) error {
	history, err := o.count()
	if err != nil {
		return err
	}
	r.c.mu.Lock()
	if r.c.status.State == Closed {
		defer r.c.mu.Unlock()
		return r.c.status.Err
	}
	if r.state == out {
		r.state, r.why, r.history, r.lag = joining, nil, history, false
		r.stream.finish(nil)
		if o.After != nil {
			r.log = log{at: o.After}
		}
		r.again()
		r.c.caughtUp()
		if !r.running {
			r.running = true
			r.c.working.Go(r.run)
		}
	}
	r.c.mu.Unlock()
	for {
		r.c.mu.Lock()
		state, why, settled := r.state, r.why, r.settled
		r.c.mu.Unlock()
		switch state {
		case in:
			return nil
		case out:
			return fmt.Errorf("room %s: %w", r.id, why)
		}
		if err := wait(ctx, settled); err != nil {
			return fmt.Errorf("joining room %s: %w", r.id, err)
		}
	}
}

func (o JoinOptions) count() (*int32, error) {
	n := int32(o.History)
	switch {
	case o.History > 1000:
		return nil, fmt.Errorf("history: %d is more than 1000", o.History)
	case n == 0:
		return nil, nil
	}
	n = max(n, 0)
	return &n, nil
}

// Leave leaves the room. What waits to be sent there fails with CodeLeft.
func (r *Room) Leave(ctx context.Context) error {
	r.c.mu.Lock()
	l, was := r.c.link, r.state
	r.exit(&Error{Code: CodeLeft, Message: "the room was left"})
	r.c.mu.Unlock()
	if was == out || l == nil {
		return nil
	}
	_, err := l.ask(ctx, leave(r.id), nil)
	if code := CodeOf(err); code == codeNotJoined || code == CodeConnectionLost {
		return nil
	}
	return err
}

func leave(id string) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_LeaveRoom{LeaveRoom: &wirev1.LeaveRoom{RoomId: id}}}
}

// Events gives what happens in the room, in order, and waits for more. An error is
// the last: the room was left, or the user put out of it, or the client closed, or
// ctx ended. A room that was not joined yet is waited for.
func (r *Room) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			e, err := r.next(ctx)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Messages is Events for who wants messages alone. A [Gap] comes as an error, and
// is the only one behind which the loop goes on.
func (r *Room) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for e, err := range r.Events(ctx) {
			switch e := e.(type) {
			case Message:
				if !yield(e, nil) {
					return
				}
			case Gap:
				if !yield(Message{}, e) {
					return
				}
			case nil:
				yield(Message{}, err)
				return
			}
		}
	}
}

// next takes the next event, or says why there is none.
func (r *Room) next(ctx context.Context) (Event, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		r.c.mu.Lock()
		e, ok := r.stream.pop()
		end := r.stream.end
		var arrived <-chan struct{}
		if !ok {
			arrived = r.stream.watch()
		}
		if ok && r.lag && r.stream.drained() {
			r.nudge()
		}
		r.c.mu.Unlock()
		switch {
		case ok:
			return e, nil
		case end != nil:
			return nil, end
		}
		if err := wait(ctx, arrived); err != nil {
			return nil, err
		}
	}
}

// Position is up to where everything waits to be read, or was; nil before the
// first join. An application that keeps the Seq of what it has dealt with instead,
// with this Epoch, can go on exactly there.
func (r *Room) Position() *Position {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.log.at
}

// MemberCount is how many users are in the room, as far as is known.
func (r *Room) MemberCount() int64 {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.members
}

// Unread is how far the user had read when the room was joined, and how many
// entries followed; false without a mark.
func (r *Room) Unread() (readSeq, unread int64, ok bool) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.readSeq == nil || r.unread == nil {
		return 0, 0, false
	}
	return *r.readSeq, *r.unread, true
}

// Signal tells who is in the room now something that is not stored, once, if there
// is a connection. data is marshalled as JSON, unless nil.
func (r *Room) Signal(name string, data any) error {
	q := &wirev1.SendSignal{RoomId: r.id, Event: name}
	if data != nil {
		b, err := marshal(data)
		if err != nil {
			return fmt.Errorf("signal %s: %w", name, err)
		}
		q.Data = b
	}
	r.c.mu.Lock()
	l, state := r.c.link, r.state
	r.c.mu.Unlock()
	if l == nil || state != in {
		return nil
	}
	if err := l.tell(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_Signal{Signal: q}}); err != nil && CodeOf(err) != CodeConnectionLost {
		return err
	}
	return nil
}

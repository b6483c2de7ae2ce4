package parley

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// Messages on their way out. Each keeps its id from the first try to the ack, so
// that sending it again is harmless while the gateway remembers ids (PROTOCOL.md,
// section 5). One message of a room is under way at a time, which keeps a room's
// messages in the order they were written.

// Draft is a message that is to be sent.
type Draft struct {
	// ID is what the application calls it, 1 to 64 bytes; "" is one that is made up.
	// The same ID sent again by the same user within 2 minutes is the same message.
	ID string
	// Content is its text, and Data any JSON beside it or instead.
	Content string
	Data    json.RawMessage
}

// Ack says that the log has a message.
type Ack struct {
	ID string
	// Seq is its place in the log of the room.
	Seq int64
	// Time is when it was stored; may be zero when Duplicate.
	Time time.Time
	// Duplicate tells whether an earlier try had stored it.
	Duplicate bool
	// Durability is memory, file or replicated, and Synced whether it was forced to
	// disk first; "" and false where an earlier try had stored it, or the gateway
	// cannot tell.
	Durability string
	Synced     bool
}

// Outgoing is a message that waits to be stored.
type Outgoing struct {
	room   *Room
	letter *letter
}

// letter is a message in the outbox; the client's lock guards it until done.
type letter struct {
	draft Draft
	// tried is when it was tried first, from where the log was then: between
	// from and its ack it is in the log or nowhere.
	tried time.Time
	from  *Position

	done chan struct{}
	ack  Ack
	err  error
}

func (l *letter) stale() bool { return !l.tried.IsZero() && time.Since(l.tried) > idempotent }

// Send sends a text, and returns when the log has it. Over reconnects it waits, and
// is sent again under the same id. The room has to be joined, or to be in time.
// When ctx ends first, a message that was not tried yet is withdrawn; of one that
// was, only the outcome is not told, for it goes on.
func (r *Room) Send(ctx context.Context, text string) (Ack, error) {
	return r.SendDraft(ctx, Draft{Content: text})
}

// SendDraft is Send for more than a text.
func (r *Room) SendDraft(ctx context.Context, d Draft) (Ack, error) {
	o, err := r.Queue(d)
	if err != nil {
		return Ack{}, err
	}
	ack, err := o.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		o.withdraw()
	}
	return ack, err
}

// Queue puts a message into the outbox and does not wait for it.
func (r *Room) Queue(d Draft) (*Outgoing, error) {
	if d.ID == "" {
		d.ID = newID()
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	switch {
	case r.c.status.State == Closed:
		return nil, r.c.status.Err
	case len(r.letters) >= r.c.options.Outbox:
		return nil, &Error{Code: CodeOutboxFull, Message: fmt.Sprintf("%d messages wait in room %s already", len(r.letters), r.id)}
	case r.c.letters[d.ID] != nil:
		return nil, &Error{Code: codeInvalid, Field: "id", Message: "a message of this id waits already"}
	}
	l := &letter{draft: d, done: make(chan struct{})}
	r.letters = append(r.letters, l)
	r.c.letters[d.ID] = l
	r.nudge()
	return &Outgoing{r, l}, nil
}

// ID is the id of the message.
func (o *Outgoing) ID() string { return o.letter.draft.ID }

// Wait returns when the log has the message, or it will not be sent, or ctx ends.
// It may be called again.
func (o *Outgoing) Wait(ctx context.Context) (Ack, error) {
	select {
	case <-o.letter.done:
		return o.letter.ack, o.letter.err
	case <-ctx.Done():
		return Ack{}, fmt.Errorf("waiting for the ack of a message in room %s: %w", o.room.id, context.Cause(ctx))
	}
}

// withdraw takes back a message that was not tried.
func (o *Outgoing) withdraw() {
	o.room.c.mu.Lock()
	defer o.room.c.mu.Unlock()
	if o.letter.tried.IsZero() {
		o.room.end(o.letter, Ack{}, context.Canceled)
	}
}

// Waiting tells how many messages of the room wait to be stored.
func (r *Room) Waiting() int {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return len(r.letters)
}

// deliver tries a message on a connection. It is called without the lock, by run.
func (r *Room) deliver(l *link, o *letter) {
	r.c.mu.Lock()
	first := o.tried.IsZero()
	if !slices.Contains(r.letters, o) || r.state != in {
		r.underWay = nil
		r.c.mu.Unlock()
		return
	}
	if first {
		o.tried, o.from = time.Now(), r.place()
	}
	r.c.mu.Unlock()

	q := &wirev1.SendMessage{RoomId: r.id, Data: o.draft.Data}
	if o.draft.Content != "" || o.draft.Data == nil {
		q.Content = &o.draft.Content
	}
	f, err := l.ask(r.c.alive, &wirev1.ClientFrame{Id: &o.draft.ID, Request: &wirev1.ClientFrame_ChatMessage{ChatMessage: q}}, nil)

	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.underWay = nil
	if err == nil {
		a := f.GetAck()
		ack := Ack{ID: o.draft.ID, Seq: a.GetSeq(), Duplicate: a.GetDuplicate(), Durability: a.GetDurability(), Synced: a.GetSynced()}
		if a.GetTimestamp() != nil {
			ack.Time = a.Timestamp.AsTime()
		}
		r.end(o, ack, nil)
		return
	}
	e, ours := err.(*Error)
	switch {
	case !ours || e.Code == CodeConnectionLost:
		// After the next join, and not while it was not noticed that one is needed.
		r.letterAt = time.Now().Add(100 * time.Millisecond)
	case e.Code == codeNotJoined && r.state != in: // it will be again, or is out for good
	case e.Temporary():
		if e.Code == codeRateLimited && first {
			o.tried, o.from = time.Time{}, nil // it had no effect
		}
		pause := e.RetryAfter
		if pause == 0 {
			pause = retry
		}
		r.letterAt = time.Now().Add(pause)
	default:
		r.end(o, Ack{}, e)
	}
}

// logged is told of an entry of this user: if it waits for another try, it needs
// none.
func (r *Room) logged(e entry) {
	l := r.c.letters[e.id]
	// Of one under way the ack tells more.
	if l == nil || l == r.underWay || !slices.Contains(r.letters, l) {
		return
	}
	ack := Ack{ID: e.id, Seq: e.seq, Duplicate: true}
	if m, ok := e.Event.(Message); ok {
		ack.Time = m.Time
	}
	r.end(l, ack, nil)
}

// resolve is told that everything in the log behind a place was seen, or, where it
// was not recovered, cannot be any more. It is the moment of truth for what was
// tried too long ago to be sent again blindly.
func (r *Room) resolve(from *Position, recovered bool) {
	for _, l := range slices.Clone(r.letters) {
		if !l.stale() || from == nil || l.from == nil {
			continue
		}
		switch {
		case recovered && from.Epoch == l.from.Epoch && from.Seq <= l.from.Seq:
			l.tried, l.from = time.Time{}, nil // it was never stored
		case !recovered && from.Seq <= l.from.Seq:
			r.end(l, Ack{}, &Error{Code: CodeUnknownOutcome, Message: "it is not known whether this was sent"})
		}
	}
	r.nudge()
}

// fail ends all that waits.
func (r *Room) fail(err error) {
	for _, l := range slices.Clone(r.letters) {
		r.end(l, Ack{}, err)
	}
}

// failTried ends what was tried.
func (r *Room) failTried(err error) {
	for _, l := range slices.Clone(r.letters) {
		if !l.tried.IsZero() {
			r.end(l, Ack{}, err)
		}
	}
}

// end takes a message out of the outbox and tells what became of it.
func (r *Room) end(l *letter, ack Ack, err error) {
	at := slices.Index(r.letters, l)
	if at < 0 {
		return
	}
	r.letters = slices.Delete(r.letters, at, at+1)
	delete(r.c.letters, l.draft.ID)
	l.ack, l.err = ack, err
	close(l.done)
}

package parley

import (
	"math"
	"time"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// How a room follows its log. Everything here but run and enter is called with the
// client's lock.

// run joins the room when that is due, and sends what waits, until the client ends.
func (r *Room) run() {
	for {
		do, after := r.work()
		if do != nil {
			do()
			continue
		}
		if after == 0 {
			after = math.MaxInt64
		}
		timer := time.NewTimer(after)
		select {
		case <-r.wake:
		case <-timer.C:
		case <-r.c.alive.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// work gives what is to be done now, or else how long nothing will be, unless the
// room is woken; 0 is for ever.
func (r *Room) work() (do func(), after time.Duration) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	l := r.c.link
	if l == nil {
		return nil, 0
	}
	switch {
	case r.state == joining && r.due:
		if wait := time.Until(r.dueAt); wait > 0 {
			return nil, wait
		}
		r.due = false
		r.turn++
		turn, from := r.turn, r.asked
		return func() { r.enter(l, turn, from) }, 0
	case r.state == in && r.lag && r.stream.drained():
		r.lag = false
		r.reread(r.log.at)
		return func() {}, 0
	case r.state == in && len(r.letters) > 0:
		if wait := time.Until(r.letterAt); wait > 0 {
			return nil, wait
		}
		first := r.letters[0]
		if first.stale() {
			r.reread(first.from)
			return func() {}, 0
		}
		r.underWay = first
		return func() { r.deliver(l, first) }, 0
	}
	return nil, 0
}

// nudge wakes run.
func (r *Room) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// again has the room joined anew from where it stands.
func (r *Room) again() { r.enterFrom(r.place()) }

// reread has the log read again from an earlier place.
func (r *Room) reread(from *Position) {
	r.state = joining
	r.enterFrom(from)
	r.c.caughtUp()
}

func (r *Room) enterFrom(from *Position) {
	r.asked, r.due, r.dueAt, r.tries = from, true, time.Time{}, 0
	r.nudge()
}

// place is up to where everything was seen.
func (r *Room) place() *Position {
	if r.lag && r.log.at != nil {
		return &Position{Seq: max(r.seen, r.log.at.Seq), Epoch: r.log.at.Epoch}
	}
	return r.log.at
}

// resumable is where a resume goes on from.
func (r *Room) resumable() *Position {
	if r.state == out {
		return nil
	}
	r.turn++
	r.asked = r.place()
	return r.asked
}

// enter joins the room on a connection.
func (r *Room) enter(l *link, turn int, from *Position) {
	select {
	case r.c.joins <- struct{}{}:
		defer func() { <-r.c.joins }()
	case <-r.c.alive.Done():
		return
	}
	q := &wirev1.JoinRoom{RoomId: r.id, History: r.history}
	if from != nil {
		q.After = &from.Seq
		if from.Epoch != "" {
			q.Epoch = &from.Epoch
		}
	}
	late := false // it was left before the answer came
	_, err := l.ask(r.c.alive, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_JoinRoom{JoinRoom: q}}, func(f *wirev1.ServerFrame) bool {
		joined := f.GetRoomJoined()
		late = late || r.state == out
		switch {
		case turn != r.turn || r.state == out:
			return joined != nil
		case joined != nil:
			r.readSeq, r.unread = joined.ReadSeq, joined.Unread
			r.begin(answer{joined.Recovered, joined.Seq, joined.Epoch, joined.GetOldestSeq(), joined.MemberCount})
			return true
		case f.GetMessageHistory() != nil:
			r.page(f.GetMessageHistory())
		}
		return r.log.behind()
	})
	if err == nil && late {
		_, _ = l.ask(r.c.alive, leave(r.id), nil) // which it is, or was already
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	switch e, _ := err.(*Error); {
	case err == nil || turn != r.turn:
	case e == nil || e.Code == CodeConnectionLost: // the next connection does it
	case e.Temporary():
		wait := e.RetryAfter
		if wait == 0 {
			wait = min(maxRetry, retry<<min(r.tries, 10))
		}
		r.tries++
		r.due, r.dueAt = true, time.Now().Add(wait)
	default:
		r.exit(e)
	}
}

// interrupted is told that the connection is gone.
func (r *Room) interrupted() {
	r.turn++
	r.futile, r.due = false, false
	r.log.interrupt()
	if r.state == in {
		r.state = joining
	}
}

// begin is told that the room is joined, and pages follow.
func (r *Room) begin(a answer) {
	r.members = a.memberCount
	at := r.place()
	r.futile = !a.recovered && at != nil && at.Epoch == a.epoch && r.asked != nil && r.asked.Seq < at.Seq
	if r.futile {
		return
	}
	if at == nil || at.Epoch != a.epoch {
		r.seen = 0
	}
	if gap := r.log.begin(a, r.asked); gap != nil {
		gap.Room = r.id
		r.stream.keep(*gap)
	}
}

// page takes a page of the log.
func (r *Room) page(h *wirev1.MessageHistory) {
	if r.futile {
		r.futile = false
		r.resolve(r.asked, false)
		r.again()
		return
	}
	if r.state != joining || !r.log.behind() {
		return
	}
	for _, f := range h.Messages {
		if e, ok := readEntry(r.id, f, false); ok {
			r.take(e)
		}
	}
	caught := r.log.page(h.HasMore)
	if caught == nil {
		return
	}
	r.seen = max(r.seen, caught.seq)
	if !r.lag {
		r.log.advance(caught.seq)
	}
	r.settle(in, nil)
	r.resolve(caught.from, caught.recovered)
}

// live takes an entry that came as it was sent.
func (r *Room) live(e entry) {
	// What comes while the room is not caught up, the pages will bring.
	if r.state != in {
		return
	}
	if !r.lag && r.log.hole(e.prev) {
		r.reread(r.log.at)
		return
	}
	r.take(e)
}

// take gives an entry to the application, unless that has it.
func (r *Room) take(e entry) {
	// Also what was seen before, where an earlier place was gone back to.
	if e.id != "" && r.c.isMe(e.user) {
		r.logged(e)
	}
	r.seen = max(r.seen, e.seq)
	if r.lag || e.seq <= r.log.seq() {
		return
	}
	if r.stream.full() {
		r.lag = true
		return
	}
	r.log.advance(e.seq)
	r.stream.keep(e.Event)
}

// frame takes what concerns the room and is no page.
func (r *Room) frame(f *wirev1.ServerFrame) {
	if r.state == out {
		return
	}
	if e, ok := readEntry(r.id, f, true); ok {
		r.live(e)
		return
	}
	switch e := f.Event.(type) {
	case *wirev1.ServerFrame_Signal:
		r.stream.pass(Signal{r.id, e.Signal.Event, e.Signal.Data, user(e.Signal.User)})
	case *wirev1.ServerFrame_UserJoined:
		r.members = e.UserJoined.MemberCount
		r.stream.pass(Joined{r.id, user(e.UserJoined.User), r.members})
	case *wirev1.ServerFrame_UserLeft:
		r.members = e.UserLeft.MemberCount
		r.stream.pass(Left{r.id, user(e.UserLeft.User), r.members})
	case *wirev1.ServerFrame_RoomStats:
		r.members = e.RoomStats.MemberCount
		r.stream.pass(Stats{r.id, r.members})
	case *wirev1.ServerFrame_RoomUpdated:
		r.stream.pass(Updated{e.RoomUpdated})
	case *wirev1.ServerFrame_RoomDeleted:
		r.exit(&Error{Code: CodeRoomDeleted, Message: "the room was deleted"})
	case *wirev1.ServerFrame_Kicked:
		r.exit(&Error{Code: CodeKicked, Message: e.Kicked.GetReason()})
	}
}

// exit is told that the room is not wanted any more, or cannot be had.
func (r *Room) exit(err *Error) {
	r.turn++
	r.due, r.futile, r.lag = false, false, false
	r.log.interrupt()
	if r.state != out {
		r.settle(out, err)
	}
	r.stream.finish(err)
	r.fail(err)
}

func (r *Room) settle(s roomState, why error) {
	r.state, r.why = s, why
	close(r.settled)
	r.settled = make(chan struct{})
	r.nudge()
	r.c.caughtUp()
}

// roomOf gives the room that a frame concerns, "" for one that concerns none.
func roomOf(f *wirev1.ServerFrame) string {
	if f.GetChat() != nil {
		return lobby
	}
	for _, of := range []interface{ GetRoomId() string }{
		f.GetChatMessage(), f.GetRoomMessage(), f.GetMessageEdited(), f.GetMessageDeleted(), f.GetSignal(), f.GetUserJoined(),
		f.GetUserLeft(), f.GetRoomStats(), f.GetRoomUpdated(), f.GetRoomDeleted(), f.GetKicked(),
	} {
		if id := of.GetRoomId(); id != "" {
			return id
		}
	}
	return ""
}

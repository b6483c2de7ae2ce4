package fanout

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// Request asks for a place in a room.
type Request struct {
	Room   string
	Member Member
	// Silent: nothing is told of the past, and no reply is sent.
	Silent bool
	// NoReply: the past is told, but no room-joined, for the caller tells in
	// its own way what Join returns.
	NoReply bool
	// ReplyID is the id of the client's request.
	ReplyID *string
	// Epoch is the room's present one; ClientEpoch is the one that After
	// belongs to, nil for the present one.
	Epoch       string
	ClientEpoch *string
	// After is the last seq the client has seen.
	After *uint64
	// History is how many of the newest messages are sent where After is not
	// given or cannot be continued, at most bus.MaxPage.
	History int
	// MemberCount is put into the reply.
	MemberCount int64
	// MutedUntil is until when the user may not write, milliseconds since 1970.
	MutedUntil int64
	// Record is the room's, nil where it is not known.
	Record *registryv1.Room
	// Role is the user's own in the room; unspecified for none.
	Role registryv1.Role
	// ReadSeq is how far the user has read, nil where nobody knows.
	ReadSeq *uint64
}

// join is a Request on its way.
type join struct {
	Request
	lost  bool // After cannot be continued
	tries int  // of reading the log for it

	counted bool   // what is unread, or that could not be
	unread  *int64 // as the log has counted it; nil where memory can

	state atomic.Int32 // joinPending, then one of the others
	done  chan joinResult
}

type joinResult struct {
	place Place
	err   error
}

// Place is where a new member stands.
type Place struct {
	*Membership
	// Seq is the newest that the member has been brought up to.
	Seq uint64
	// Recovered: it was sent all that came after Request.After.
	Recovered bool
	// Oldest is the oldest seq that the log holds, where Request.After was
	// given and could not be continued.
	Oldest uint64
}

const (
	joinPending = iota
	joinClaimed
	joinAbandoned
)

// claim says that the join is being answered; false when the caller does not
// wait any more.
func (j *join) claim() bool { return j.state.CompareAndSwap(joinPending, joinClaimed) }

// finish answers the caller, where it still waits.
func (j *join) finish(place Place, err error) {
	if j.claim() {
		j.done <- joinResult{place, err}
	}
}

// abandon says that the caller does not wait any more; false when the answer
// is on its way.
func (j *join) abandon() bool { return j.state.CompareAndSwap(joinPending, joinAbandoned) }

// history is what a joiner is told of the past.
type history struct {
	entries []bus.Stored
	// recovered: they are all that came after Request.After, and are sent in
	// pages.
	recovered bool
	// more: the log has older ones.
	more bool
	// oldest is the oldest seq that the log holds, where After could not be
	// continued.
	oldest uint64
}

// enter takes up a join.
func (r *room) enter(j *join) {
	switch {
	case j.Epoch == "" || j.Epoch == r.epoch:
	case r.epoch == "":
		r.epoch = j.Epoch
	case olderLife(j.Epoch, r.epoch):
		j.finish(Place{}, errRoomGone)
		return
	default:
		// The room was deleted and made anew, and the word of it was lost. Its
		// members are told now, and what is known of its log is void.
		r.end()
		next, err := r.hub.room(r.id, j.Record)
		if err != nil {
			j.finish(Place{}, err)
			return
		}
		next.epoch = j.Epoch
		next.enter(j)
		return
	}
	if r.joining == nil {
		r.joining = make(map[*join]struct{}, 1)
	}
	r.joining[j] = struct{}{}
	r.obey(j.Record) // may refuse this one, where what it was admitted by is older
	if _, there := r.joining[j]; there {
		r.join(j)
	}
}

// join settles what a new member is told of the past and takes it in, in one
// step where memory has it all, or after reading the log.
func (r *room) join(j *join) {
	if !r.loaded {
		r.waiting = append(r.waiting, j)
		return
	}
	if keep := r.rules.Retention; keep > 0 {
		j.History = min(j.History, int(keep))
	}
	r.recent.expire(time.Now(), r.hub.limits.maxAge())
	r.worker.memory.used(r)
	switch {
	case !r.countUnread(j):
	case j.Silent:
		r.admit(j, history{})
	case j.After == nil || j.lost:
		r.joinNewest(j)
	case *j.After > r.last:
		r.joinAhead(j)
	default:
		if entries, ok := r.recent.since(*j.After); ok {
			r.admit(j, history{entries: entries, recovered: true})
			return
		}
		r.recover(j)
	}
}

func (r *room) joinNewest(j *join) {
	entries, more, ok := r.recent.newest(j.History)
	if !ok || j.After != nil && r.recent.more { // the oldest has to be looked up
		r.readNewest(j)
		return
	}
	h := history{entries: entries, more: more}
	if j.After != nil && len(r.recent.entries) > 0 {
		h.oldest = r.recent.entries[0].Seq
	}
	r.admit(j, h)
}

// joinAhead is for a joiner that has seen more than this room: the gateway it
// comes from was faster, or the log has lost what it saw.
func (r *room) joinAhead(j *join) {
	r.hub.readJoin(r, j, func(ctx context.Context) (func(), error) {
		tail, err := r.hub.source.Tail(ctx, r.id)
		if err != nil {
			return nil, err
		}
		return func() {
			j.lost = *j.After > max(tail, r.last)
			r.catchUp(tail)
			if r.reading && !j.lost {
				r.waiting = append(r.waiting, j)
				return
			}
			r.join(j)
		}, nil
	})
}

// admit answers a join and makes its session a member, in one step.
func (r *room) admit(j *join, h history) {
	if !r.letsIn(j) {
		r.refuse(j, errs.New(errs.Forbidden, "the room %q does not let you in", r.id))
		return
	}
	r.settled(j)
	if !j.claim() {
		r.closeIfEmpty()
		return
	}
	if !j.Silent {
		h.entries, _ = bus.WithoutDeleted(h.entries)
		j.unread = r.unreadNow(j)
		// An entry that is not delivered yet, because a hole before it is
		// being filled, comes live.
		for len(h.entries) > 0 && h.entries[len(h.entries)-1].Seq > r.last {
			h.entries = h.entries[:len(h.entries)-1]
		}
		for _, out := range j.frames(r.id, r.last, h) {
			j.Member.Deliver(r.worker.only(out), &r.worker.flusher)
		}
	}
	r.flush() // it was not a member when those came
	m := &Membership{room: r.id, member: j.Member, index: len(r.members)}
	m.muted.Store(j.MutedUntil)
	m.role.Store(int32(j.Role))
	r.allow(m)
	r.members = append(r.members, m)
	j.done <- joinResult{place: Place{Membership: m, Seq: r.last, Recovered: h.recovered, Oldest: h.oldest}}
}

// olderLife says whether one epoch of a room is of an earlier life than
// another: their last part counts up (bus.Epoch), in base 36.
func olderLife(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

var errRoomGone = errs.New(errs.NotFound, "the room has been deleted")

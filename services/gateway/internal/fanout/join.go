package fanout

import (
	"context"
	"sync/atomic"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
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
	// given or cannot be continued.
	History int
	// MemberCount is put into the reply.
	MemberCount int64
}

// join is a Request on its way.
type join struct {
	Request
	stale bool // After belongs to another life of the room

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
	joinFinished
	joinAbandoned
)

// finish answers the caller; false when it does not wait any more.
func (j *join) finish(place Place, err error) bool {
	if !j.state.CompareAndSwap(joinPending, joinFinished) {
		return false
	}
	j.done <- joinResult{place, err}
	return true
}

// abandon says that the caller does not wait any more; false when the answer
// is there already.
func (j *join) abandon() bool   { return j.state.CompareAndSwap(joinPending, joinAbandoned) }
func (j *join) abandoned() bool { return j.state.Load() == joinAbandoned }

// history says what a joiner is told about the entries it is sent.
type history struct {
	// recovered: they are all that came after Request.After.
	recovered bool
	// after: they follow Request.After, and are sent in pages.
	after bool
	// more: the log has older ones.
	more bool
	// oldest is the oldest seq that the log holds, where After could not be
	// continued.
	oldest uint64
}

// historyPage is the most messages in one message-history of a recovery
// (PROTOCOL.md, section 5).
const historyPage = 200

// frames makes what a joiner is sent before anything live.
func (j *join) frames(room string, last uint64, entries []bus.Stored, h history) []*Outgoing {
	joined := &wirev1.RoomJoined{
		RoomId:      room,
		MemberCount: j.MemberCount,
		Seq:         int64(last),
		Epoch:       j.Epoch,
		Recovered:   h.recovered,
	}
	if j.After != nil && !h.recovered {
		oldest := int64(h.oldest)
		joined.OldestSeq = &oldest
	}
	var out []*Outgoing
	if !j.NoReply {
		out = append(out, NewOutgoing(&wirev1.ServerFrame{
			Id: j.ReplyID, Event: &wirev1.ServerFrame_RoomJoined{RoomJoined: joined},
		}))
	}
	page := len(entries)
	if h.after {
		page = historyPage
	}
	for first := true; first || len(entries) > 0; first = false {
		n := min(page, len(entries))
		messages := make([]*wirev1.ServerFrame, n)
		for i, s := range entries[:n] {
			messages[i] = Event(s)
		}
		entries = entries[n:]
		more := h.more
		if h.after {
			more = len(entries) > 0
		}
		out = append(out, NewOutgoing(&wirev1.ServerFrame{
			Id: j.ReplyID,
			Event: &wirev1.ServerFrame_MessageHistory{MessageHistory: &wirev1.MessageHistory{
				RoomId: room, Messages: messages, HasMore: more,
			}},
		}))
	}
	return out
}

// recover reads the log for a joiner whose place lies before what is in memory.
func (r *room) recover(j *join) {
	after, limits := *j.After, r.hub.limits()
	r.hub.readJoin(r, j, func(ctx context.Context) (func(), error) {
		first, err := r.hub.source.First(ctx, r.id)
		if err != nil {
			return nil, err
		}
		var entries []bus.Stored
		for pos := after; ; {
			page, err := r.hub.source.ReadAfter(ctx, r.id, pos, bus.MaxPage, 0)
			if err != nil {
				return nil, err
			}
			entries = append(entries, page.Entries...)
			if n := len(page.Entries); n > 0 {
				pos = page.Entries[n-1].Seq
			}
			if !page.More || len(entries) >= maxRecovery {
				break
			}
		}
		// The log drops from its front. So nothing after `after` is gone when
		// something at or before it is still there, or when less than the
		// retention follows and nothing is dropped for its age.
		whole := len(entries) < maxRecovery &&
			(first != 0 && first <= after ||
				int64(len(entries)) < limits.Retention && limits.MaxAge == 0)
		if whole {
			pos := after
			if n := len(entries); n > 0 {
				pos = entries[n-1].Seq
			}
			return func() { r.settle(j, entries, pos, history{recovered: true, after: true}) }, nil
		}
		return func() { r.readNewest(j) }, nil
	})
}

// maxRecovery bounds how many messages a joiner is brought up with; beyond it
// the newest are more useful than a stream of old ones.
const maxRecovery = 10_000

// readNewest reads the log for a joiner that wants more of the newest messages
// than memory has, or whose place cannot be continued.
func (r *room) readNewest(j *join) {
	last := r.last
	r.hub.readJoin(r, j, func(ctx context.Context) (func(), error) {
		var h history
		var err error
		if j.After != nil {
			if h.oldest, err = r.hub.source.First(ctx, r.id); err != nil {
				return nil, err
			}
		}
		var page bus.Page
		if j.History > 0 {
			if page, err = r.hub.source.ReadNewest(ctx, r.id, 0, j.History, last); err != nil {
				return nil, err
			}
		}
		pos := last
		if n := len(page.Entries); n > 0 {
			pos = page.Entries[n-1].Seq
		}
		h.more = page.More
		return func() { r.settle(j, page.Entries, pos, h) }, nil
	})
}

var errRoomGone = errs.New(errs.NotFound, "the room has been deleted")

package fanout

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// These bound what a joiner is brought up with; beyond them the newest are
// more useful than a stream of old ones.
const (
	maxRecovery      = 10_000
	maxRecoveryBytes = 32 << 20
)

// recover reads the log for a joiner whose place lies before what is in memory.
func (r *room) recover(j *join) {
	log, after, last := r.kept(), *j.After, r.last
	r.hub.readJoin(r, j, func(ctx context.Context) (func(), error) {
		r.hub.trim(ctx, log)
		page, whole, err := r.hub.readFrom(ctx, log, after, last, time.Time{})
		if err != nil {
			return nil, err
		}
		return func() {
			if !whole {
				j.lost = true
				r.readNewest(j)
				return
			}
			r.settle(j, reached(page.Entries, max(after, last)), history{entries: page.Entries, recovered: true})
		}, nil
	})
}

// readFrom reads what a log has after a seq. whole says that it is all that
// ever followed and was not deleted.
func (h *Hub) readFrom(ctx context.Context, log kept, after, reach uint64, current time.Time) (all bus.Page, whole bool, err error) {
	all, _, whole, err = h.readWhole(ctx, log, after, current, func(least uint64) (bus.Page, error) {
		var all bus.Page
		pos, bytes := after, 0
		for all.More = true; all.More; {
			page, err := h.source.ReadAfter(ctx, log.room, pos, bus.MaxPage, max(reach, least))
			if err != nil {
				return all, err
			}
			for _, s := range page.Entries {
				bytes += entrySize(s)
				pos = s.Seq
			}
			all.Entries = append(all.Entries, page.Entries...)
			all.Others += page.Others
			all.More = page.More && len(page.Entries) > 0
			if len(all.Entries) > maxRecovery || bytes > maxRecoveryBytes {
				all.More = true
				return all, nil
			}
		}
		return all, nil
	})
	return all, whole, err
}

// reached is how far a reading has come that was to reach a seq.
func reached(entries []bus.Stored, reach uint64) uint64 {
	if n := len(entries); n > 0 {
		return max(entries[n-1].Seq, reach)
	}
	return reach
}

// readNewest reads the log for a joiner that wants more of the newest messages
// than memory has, or whose place cannot be continued.
func (r *room) readNewest(j *join) {
	log, last := r.kept(), r.last
	r.hub.readJoin(r, j, func(ctx context.Context) (func(), error) {
		r.hub.trim(ctx, log)
		var h history
		if j.History > 0 {
			var err error
			if h.entries, h.more, err = r.hub.readBefore(ctx, r.id, last, j.History); err != nil {
				return nil, err
			}
		}
		if j.After != nil {
			var err error
			if h.oldest, err = r.hub.source.First(ctx, r.id); err != nil {
				return nil, err
			}
			if j.History == 0 {
				h.more = h.oldest != 0
			}
		}
		return func() { r.settle(j, reached(h.entries, last), h) }, nil
	})
}

// readBefore reads the newest n entries of a log up to last, for what comes
// after that will be delivered live. more says that the log has older ones.
func (h *Hub) readBefore(ctx context.Context, room string, last uint64, n int) (entries []bus.Stored, more bool, err error) {
	for limit := n; ; {
		page, err := h.source.ReadNewest(ctx, room, last+1, limit, last)
		if err != nil {
			return nil, false, err
		}
		kept, deleted := bus.WithoutDeleted(page.Entries)
		if limit = min(n+len(deleted), bus.MaxPage); len(kept) >= n || !page.More || limit <= len(page.Entries) {
			return kept, page.More, nil
		}
	}
}

// maxTries is how often the log is read for one join while the room runs away.
const maxTries = 3

// settle ends a join for which the log was read up to pos: what came since is
// in memory. In a room that was faster than the reading it is not, and the log
// may have dropped some of it by now, so the reading is done again.
func (r *room) settle(j *join, pos uint64, h history) {
	rest, ok := r.recent.since(pos)
	switch {
	case ok:
		h.entries, _ = bus.WithoutDeleted(append(h.entries[:len(h.entries):len(h.entries)], rest...))
		if n := len(h.entries) - j.History; !h.recovered && n > 0 {
			h.entries, h.more = h.entries[n:], true
		}
		r.admit(j, h)
	case j.tries < maxTries:
		j.tries++
		r.join(j)
	default:
		n := max(0, len(r.recent.entries)-j.History)
		h = history{entries: r.recent.entries[n:], more: true, oldest: h.oldest}
		r.admit(j, h)
	}
}

// historyPage is the most messages in one message-history of a recovery
// (PROTOCOL.md, section 5).
const historyPage = 200

// frames makes what a joiner is sent before anything live.
func (j *join) frames(room string, last uint64, h history) []*Outgoing {
	joined := &wirev1.RoomJoined{
		RoomId:      room,
		MemberCount: j.MemberCount,
		Seq:         int64(last),
		Epoch:       j.Epoch,
		Recovered:   h.recovered,
	}
	if j.ReadSeq != nil {
		joined.ReadSeq = proto.Int64(int64(*j.ReadSeq))
		joined.Unread = j.unread
	}
	if j.After != nil && !h.recovered {
		oldest := int64(h.oldest)
		joined.OldestSeq = &oldest
	}
	var out []*Outgoing
	if !j.NoReply {
		out = append(out, told(&wirev1.ServerFrame{
			Id: j.ReplyID, Event: &wirev1.ServerFrame_RoomJoined{RoomJoined: joined},
		}))
	}
	entries, page := h.entries, len(h.entries)
	if h.recovered {
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
		if h.recovered {
			more = len(entries) > 0
		}
		out = append(out, told(&wirev1.ServerFrame{
			Id: j.ReplyID,
			Event: &wirev1.ServerFrame_MessageHistory{MessageHistory: &wirev1.MessageHistory{
				RoomId: room, Messages: messages, HasMore: more,
			}},
		}))
	}
	return out
}

// told makes an Outgoing of something that a joiner has asked for.
func told(f *wirev1.ServerFrame) *Outgoing { return &Outgoing{Frame: f, History: true} }

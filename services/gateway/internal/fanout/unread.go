package fanout

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// countUnread has the log count what comes after a joiner's read mark, where
// memory cannot; the join goes on when it has. It says whether there is
// nothing to count.
func (r *room) countUnread(j *join) (done bool) {
	if j.ReadSeq == nil || j.counted {
		return true
	}
	j.counted = true
	if _, ok := r.recent.since(*j.ReadSeq); ok {
		return true
	}
	r.hub.readJoin(r, j, func(ctx context.Context) (func(), error) {
		n, err := r.hub.source.CountAfter(ctx, r.id, *j.ReadSeq)
		return func() {
			if err == nil {
				j.unread = proto.Int64(int64(n))
			} else {
				// The join is worth more than the number.
				r.hub.log.Debug("counting what is unread", "room", r.id, "error", err)
			}
			r.join(j)
		}, nil
	})
	return false
}

// unreadNow is how many entries come after a joiner's read mark, nil where
// nobody knows. What the log has counted may be behind by what came since.
func (r *room) unreadNow(j *join) *int64 {
	if j.ReadSeq == nil {
		return nil
	}
	entries, ok := r.recent.since(*j.ReadSeq)
	if !ok {
		return j.unread
	}
	return proto.Int64(int64(len(entries)))
}

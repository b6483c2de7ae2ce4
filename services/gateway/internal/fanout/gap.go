package fanout

import (
	"context"
	"time"

	"github.com/parley-im/parley/pkg/bus"
)

// missed is for a reading of the log after the last delivered entry that is not
// known to be whole. It says whether the log has dropped something in between
// for its retention or its age; what was erased by somebody is no loss. The
// leader has the say, and where it cannot rule a loss out there is one: the
// same rule makes a resume from that place recovered:false.
func (h *Hub) missed(ctx context.Context, log kept, after, reach uint64, current time.Time) (bool, error) {
	limits, err := h.limits.fresh(ctx, log.room)
	if err != nil {
		return false, err
	}
	first, err := h.source.First(ctx, log.room)
	switch {
	case err != nil:
		return false, err
	case first == 0: // erased with its room, whose end its members are told
		return expired(limits, current), nil
	case first <= after: // it drops from its front
		return false, nil
	}
	// A page that is not the last does not tell how many there are, and the
	// front moves, too, when somebody erases the oldest.
	_, whole, err := h.readFrom(ctx, log, after, reach, current)
	return !whole, err
}

// expired says whether the log may have dropped for its age something that was
// stored since a room was known to be current. Half the limit is left to
// replicas that lag, for it is they who say that a room is current.
func expired(limits bus.LogConfig, current time.Time) bool {
	return limits.MaxAge > 0 && time.Since(current) >= limits.MaxAge/2
}

// stale says whether an entry without a predecessor may have had some that
// nobody here was shown and that are too old by now.
func (r *room) stale() bool {
	return r.last > 0 && expired(bus.LogConfig{MaxAge: r.hub.limits.maxAge()}, r.current)
}

// tellGap takes all members out before anything behind a gap is delivered: each
// has seen all up to the gap and nothing after it, and so can say where it was.
func (r *room) tellGap() {
	if len(r.members) == 0 {
		return
	}
	r.hub.gaps.Add(1)
	r.hub.log.Warn("the log dropped messages before they could be shown", "room", r.id, "last", r.last, "members", len(r.members))
	r.flush()
	for _, m := range r.members {
		m.index = -1
		m.member.Missed(r.id)
	}
	r.members = nil
	r.closeIfEmpty()
}

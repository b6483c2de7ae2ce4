package fanout

import (
	"context"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
)

// A room may keep fewer entries than the deployment does. The log's streams know
// one retention for all rooms, so what is beyond a room's own is taken out by
// who uses it: before a joiner is shown the log, and now and then by the gateway
// that stores into it. The log drops from its front then as it does by itself,
// and recovery judges it by the same rule; only the number of entries that
// shows that nothing was dropped is smaller (kept.limit).

// trimTimeout bounds how long a joiner waits for it; rather more is shown than
// nothing.
const trimTimeout = time.Second

// trimSlack is how many entries a gateway stores before it has the log trimmed,
// beside an eighth of what the room keeps.
const trimSlack = 16

// kept is a room's log and what is its own of how much that keeps. 0 is what
// the deployment does.
type kept struct {
	room  string
	keep  uint32
	least uint32 // that it ever kept in this life
}

func (r *room) kept() kept { return kept{r.id, r.rules.Retention, r.rules.LeastRetention} }

// limit gives the limits that the log was under at the most.
func (k kept) limit(limits bus.LogConfig) bus.LogConfig {
	if k.least > 0 {
		limits.Retention = min(limits.Retention, int64(k.least))
	}
	return limits
}

// keeps is how many entries the room may hold in memory.
func (r *room) keeps() int {
	keep := r.hub.limits.keep()
	if r.rules.Retention > 0 {
		keep = min(keep, int(r.rules.Retention))
	}
	return keep
}

// trim takes out of a log what its room does not keep.
func (h *Hub) trim(ctx context.Context, k kept) {
	if k.keep == 0 || h.trimLog == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, trimTimeout)
	defer cancel()
	if err := h.trimLog(ctx, k.room, k.keep); err != nil {
		h.log.Debug("trimming a log", "room", k.room, "error", errs.From(err))
	}
}

// published notes that this gateway has stored an entry.
func (r *room) published() {
	if r.rules.Retention == 0 {
		return
	}
	if r.untrimmed++; r.trimming || r.untrimmed < max(trimSlack, r.rules.Retention/8) {
		return
	}
	r.untrimmed, r.trimming = 0, true
	k := r.kept()
	r.hub.wg.Go(func() {
		_, _ = r.hub.once(func(ctx context.Context) (func(), error) { // fails only when the hub ends
			r.hub.trim(ctx, k)
			return nil, nil
		})
		r.hub.install(r, func() { r.trimming = false })
	})
}

// limit takes the oldest entries out where there are more than keep; the log
// drops them too.
func (r *recent) limit(keep int) {
	n := max(0, len(r.entries)-keep)
	for _, s := range r.entries[:n] {
		r.bytes -= entrySize(s)
		r.floor = s.Seq
	}
	r.cut(n)
}

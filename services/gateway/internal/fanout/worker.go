package fanout

import (
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/services/gateway/internal/conn"
)

// worker is what one of the feed's goroutines has: its rooms, and what it is
// about to say to their members. In one turn it takes what the bus has brought,
// collects it by room, hands every member of a room the whole in one piece, and
// writes to each connection once: the more there is to do, the fewer system
// calls a delivery costs.
type worker struct {
	rooms   map[string]*room
	memory  *memory // of what was said in them
	flusher conn.Flusher
	dirty   []*room // that have something pending
	retold  retold
	single  Burst
	one     [1]*Outgoing // the frame of single
	spans   []trace.Span // of the turn's deliveries that are traced
}

// flush ends a turn.
func (w *worker) flush() {
	for i, r := range w.dirty {
		r.flush()
		w.dirty[i] = nil
	}
	w.dirty = w.dirty[:0]
	w.flusher.Flush()
	if len(w.spans) > 0 {
		w.delivered()
	}
}

// only makes a burst of one frame, good until the next one.
func (w *worker) only(out *Outgoing) *Burst {
	w.one[0] = out
	w.single = Burst{Frames: w.one[:]}
	return &w.single
}

// maxPending bounds what a room collects before its members get it, bytes.
const maxPending = 64 << 10

// toAll has all present members get a stored entry's frame of about some size
// when the worker's turn ends, or sooner.
func (r *room) toAll(out *Outgoing, size int) {
	if len(r.pending) == 0 {
		r.worker.dirty = append(r.worker.dirty, r)
	}
	r.pending = append(r.pending, out)
	if r.pendingBytes += size; r.pendingBytes > maxPending {
		r.flush()
	}
}

// flush hands the members what is pending. It comes before anything else that
// any of them is told, and before the members change.
func (r *room) flush() {
	if len(r.pending) == 0 {
		return
	}
	burst := Burst{Frames: r.pending}
	for _, m := range r.members {
		m.member.Deliver(&burst, &r.worker.flusher)
	}
	clear(r.pending)
	if r.pending = r.pending[:0]; cap(r.pending) > keptPending {
		r.pending = nil
	}
	r.pendingBytes = 0
}

// keptPending is how many places for pending frames a room keeps.
const keptPending = 16

// Burst is frames that all members of a room get, in this order and in one
// piece.
type Burst struct {
	Frames []*Outgoing
	joined [2]form // by frame.Encoding
}

// Ephemeral says whether all of it may be dropped for a peer that reads too
// slowly.
func (b *Burst) Ephemeral() bool {
	for _, out := range b.Frames {
		if !out.Ephemeral {
			return false
		}
	}
	return true
}

// Prepared gives all frames in an encoding as one.
func (b *Burst) Prepared(encoding frame.Encoding) (*conn.Prepared, error) {
	if len(b.Frames) == 1 {
		return b.Frames[0].Prepared(encoding)
	}
	var err error
	p := &b.joined[encoding]
	p.once.Do(func() {
		parts := make([]*conn.Prepared, len(b.Frames))
		for i, out := range b.Frames {
			if parts[i], err = out.Prepared(encoding); err != nil {
				return
			}
		}
		p.prepared = conn.Join(parts)
	})
	return p.prepared, err
}

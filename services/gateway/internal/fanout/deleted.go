package fanout

import (
	"slices"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// remove takes a message out that was deleted, and the edits of it. The log
// holds them no more, so nothing is missing above floor.
func (r *recent) remove(target uint64) {
	r.entries = slices.DeleteFunc(r.entries, func(s bus.Stored) bool {
		gone := s.Seq == target || s.Entry.Kind == busv1.LogEntry_KIND_EDIT && s.Entry.Target == target
		if gone {
			r.bytes -= entrySize(s)
		}
		return gone
	})
}

// deleted says whether a message is known to have been deleted.
func (r *recent) deleted(target uint64) bool {
	return slices.ContainsFunc(r.entries, func(s bus.Stored) bool {
		return s.Entry.Kind == busv1.LogEntry_KIND_DELETION && s.Entry.Target == target
	})
}

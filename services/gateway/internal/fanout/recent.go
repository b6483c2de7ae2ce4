package fanout

import (
	"time"

	"github.com/parley-im/parley/pkg/bus"
)

// recent holds a room's newest entries in memory, so that most joins read
// nothing from the log.
//
// It has every entry that the log holds with a seq greater than floor, up to
// the newest that was added; without that it could not tell a client that
// nothing is missing.
type recent struct {
	entries []bus.Stored // oldest first
	floor   uint64
	bytes   int
}

// Bounds of one room's recent entries.
const (
	recentEntries = 64
	recentBytes   = 128 << 10
)

// add puts the newest entry in and the oldest out where there are too many.
func (r *recent) add(s bus.Stored, keep int) {
	r.entries = append(r.entries, s)
	r.bytes += entrySize(s)
	n := 0
	for len(r.entries)-n > min(keep, recentEntries) || r.bytes > recentBytes && len(r.entries)-n > 1 {
		r.bytes -= entrySize(r.entries[n])
		r.floor = r.entries[n].Seq
		n++
	}
	if n > 0 {
		// Moving, and not reslicing, keeps the array from growing behind the
		// entries that are gone.
		kept := copy(r.entries, r.entries[n:])
		clear(r.entries[kept:])
		r.entries = r.entries[:kept]
	}
}

func entrySize(s bus.Stored) int {
	return 128 + len(s.Entry.GetContent()) + len(s.Entry.GetData())
}

// reset begins anew with what a read of the newest entries gave; more says
// that the log holds older ones.
func (r *recent) reset(page []bus.Stored, more bool, keep int) {
	*r = recent{}
	if more && len(page) > 0 {
		r.floor = page[0].Seq - 1
	}
	for _, s := range page {
		r.add(s, keep)
	}
}

// since gives the entries with a seq greater than after. ok says that they are
// all the log has.
func (r *recent) since(after uint64) (entries []bus.Stored, ok bool) {
	if after < r.floor {
		return nil, false
	}
	for i, s := range r.entries {
		if s.Seq > after {
			return r.entries[i:], true
		}
	}
	return nil, true
}

// newest gives the newest n entries, and whether the log has older ones. ok
// says that they are what the log would give.
func (r *recent) newest(n int) (entries []bus.Stored, more, ok bool) {
	if len(r.entries) < n && r.floor > 0 {
		return nil, false, false
	}
	from := max(0, len(r.entries)-n)
	return r.entries[from:], from > 0 || r.floor > 0, true
}

// expire takes out what is older than age; the log has dropped it too.
func (r *recent) expire(now time.Time, age time.Duration) {
	if age == 0 {
		return
	}
	oldest := now.Add(-age).UnixMilli()
	n := 0
	for n < len(r.entries) && r.entries[n].Entry.TimeMs < oldest {
		r.bytes -= entrySize(r.entries[n])
		r.floor = r.entries[n].Seq
		n++
	}
	r.entries = r.entries[n:]
}

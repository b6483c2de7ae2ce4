package fanout

import (
	"time"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// recent holds a room's newest entries in memory, so that most joins read
// nothing from the log.
//
// It has every entry with a seq greater than floor that was ever stored and
// was not deleted; without that it could not tell a client that nothing is
// missing.
type recent struct {
	entries []bus.Stored // oldest first
	floor   uint64
	// more: the log may hold older ones.
	more  bool
	bytes int
}

// Bounds of one room's recent entries.
const (
	recentEntries = 64
	recentBytes   = 128 << 10
)

// add puts the newest entry in and the oldest out where there are too many.
// What a deletion is about goes with it, and an edit that comes behind the
// deletion of its message is about to be erased.
func (r *recent) add(s bus.Stored, keep int) {
	switch s.Entry.GetKind() {
	case busv1.LogEntry_KIND_DELETION:
		r.remove(s.Entry.Target)
	case busv1.LogEntry_KIND_EDIT:
		if r.deleted(s.Entry.Target) {
			return
		}
	}
	r.entries = append(r.entries, s)
	r.bytes += entrySize(s)
	n := 0
	for len(r.entries)-n > keep || r.bytes > recentBytes && len(r.entries)-n > 1 {
		r.bytes -= entrySize(r.entries[n])
		r.floor = r.entries[n].Seq
		// With a retention of keep the log has dropped it too.
		r.more = r.more || keep == recentEntries || len(r.entries)-n <= keep
		n++
	}
	r.cut(n)
}

// drop forgets all entries; the log has them.
func (r *recent) drop() {
	if n := len(r.entries); n > 0 {
		*r = recent{floor: r.entries[n-1].Seq, more: true}
	}
}

// cut takes the oldest n out. Moving, and not reslicing, keeps the array from
// growing behind the entries that are gone.
func (r *recent) cut(n int) {
	if n > 0 {
		kept := copy(r.entries, r.entries[n:])
		clear(r.entries[kept:])
		r.entries = r.entries[:kept]
	}
}

func entrySize(s bus.Stored) int {
	return 128 + len(s.Entry.GetContent()) + len(s.Entry.GetData())
}

// reset begins anew with a page that was read up to the log's end. all says
// that it has all that was ever stored; without, what is known begins with it.
func (r *recent) reset(page bus.Page, last uint64, all bool, keep int) {
	*r = recent{more: page.More}
	if !all {
		r.floor = before(page, last)
	}
	for _, s := range page.Entries {
		r.add(s, keep)
	}
}

// forget is for when the log may have dropped entries before a page that was
// read up to reach: what is known then begins with the page.
func (r *recent) forget(page bus.Page, reach uint64) {
	*r = recent{floor: before(page, max(r.floor, reach)), more: true}
}

// before is the place before the first entry of a page, or the given one where
// the page is empty.
func before(page bus.Page, otherwise uint64) uint64 {
	if len(page.Entries) > 0 {
		return page.Entries[0].Seq - 1
	}
	return otherwise
}

// since gives the entries with a seq greater than after. ok says that they are
// all that came after it.
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
	if len(r.entries) < n && r.more {
		return nil, false, false
	}
	from := max(0, len(r.entries)-n)
	return r.entries[from:], from > 0 || r.more, true
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
	r.cut(n)
}

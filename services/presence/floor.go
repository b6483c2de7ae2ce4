package presence

import (
	"time"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// floor knows the other replicas and so which one speaks to the rooms: of those
// that are complete and alive the one that started first. It is not safe for
// concurrent use.
type floor struct {
	id      string
	timeout time.Duration
	// startedMS is since when this replica has heard everything: its start, or
	// the end of its newest time without NATS, for whoever was out of hearing
	// queues behind those that were not.
	startedMS int64
	others    map[string]other
}

type other struct {
	startedMS int64
	complete  bool
	heard     time.Time
}

func newFloor(id string, timeout time.Duration) *floor {
	return &floor{id: id, timeout: timeout, others: make(map[string]other)}
}

// beat takes in that a replica is alive, or about to end. It reports whether
// that one speaks before us, so that what was to be told until now is told.
func (f *floor) beat(b *busv1.PresenceReplicaBeat, now time.Time) bool {
	if b.ReplicaId == "" || b.ReplicaId == f.id {
		return false
	}
	o := other{startedMS: b.StartedMs, complete: b.Complete, heard: now}
	if b.Leaving {
		delete(f.others, b.ReplicaId)
	} else {
		f.others[b.ReplicaId] = o
	}
	return f.before(b.ReplicaId, o)
}

// mine says whether this replica, if complete, is the one that speaks. It
// forgets who has fallen silent.
func (f *floor) mine(now time.Time) bool {
	mine := true
	for id, o := range f.others {
		if now.Sub(o.heard) >= f.timeout {
			delete(f.others, id)
		} else if f.before(id, o) {
			mine = false
		}
	}
	return mine
}

// before says whether a replica comes before this one in the queue.
func (f *floor) before(id string, o other) bool {
	return o.complete && (o.startedMS < f.startedMS || o.startedMS == f.startedMS && id < f.id)
}

// goLast has this replica queue behind all that are complete now, also where a
// clock goes wrong: of what they have not told yet this one may know nothing.
func (f *floor) goLast(now time.Time) {
	for _, o := range f.others {
		if o.complete && now.Sub(o.heard) < f.timeout {
			f.startedMS = max(f.startedMS, o.startedMS+1)
		}
	}
}

// accompanied says whether another complete replica is alive, whoever speaks.
func (f *floor) accompanied(now time.Time) bool {
	for _, o := range f.others {
		if o.complete && now.Sub(o.heard) < f.timeout {
			return true
		}
	}
	return false
}

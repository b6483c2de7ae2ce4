package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/run"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// Read marks are written far more often than rooms, each by one user and read
// by the same, so they have a bucket of their own that nobody watches: a call
// asks the bucket's leader; only for joins, of which many come at once (AdmitAll),
// the marks of many are asked together, of any replica. A mark names the epoch it
// belongs to, and one of an earlier life of the room counts for nothing.

func readsKey(room, user string) string { return ids.Token(room) + "." + ids.Token(user) }

// readMark is what the bucket of read marks holds.
type readMark struct {
	Seq   uint64 `json:"seq"`
	Epoch string `json:"epoch"`
}

// maxSeq is the greatest seq that all clients can count to (PROTOCOL.md,
// section 2).
const maxSeq = 1 << 53

// MarkRead keeps how far a user has read in a room.
func (s *Service) MarkRead(ctx context.Context, req *registryv1.MarkReadRequest) (*registryv1.ReadMark, error) {
	a, _, err := s.find(ctx, req.RoomId, req.Actor)
	if err != nil {
		return nil, err
	}
	switch {
	case a.user == nil:
		return nil, errs.Invalid("actor", "is missing")
	case req.Seq < 1 || req.Seq > maxSeq:
		return nil, errs.Invalid("seq", "is not between 1 and 2^53")
	}
	// Nobody comes back as the same guest.
	if err := a.notGuest("mark nothing as read"); err != nil {
		return nil, err
	}
	epoch, err := s.lifeOf(ctx, a, req.RoomId)
	if err != nil {
		return nil, err
	}
	key := readsKey(req.RoomId, a.user.Id)
	for n := range maxTries {
		old, revision, err := s.readMark(ctx, key)
		if err != nil {
			return nil, storeError(err)
		}
		if old.Epoch == epoch && old.Seq >= req.Seq {
			return &registryv1.ReadMark{Seq: &old.Seq}, nil
		}
		err = s.storeMark(ctx, key, readMark{Seq: req.Seq, Epoch: epoch}, revision)
		switch {
		case err == nil:
			return &registryv1.ReadMark{Seq: &req.Seq}, nil
		case !errors.Is(err, bus.ErrConflict) && !errors.Is(err, bus.ErrExists):
			return nil, storeError(err)
		}
		// Another device of the user was faster; it may have read further.
		s.metrics.conflicts.Add(ctx, 1)
		if !run.Sleep(ctx, rand.N(time.Millisecond<<min(n, 6))) {
			return nil, storeError(ctx.Err())
		}
	}
	return nil, storeError(fmt.Errorf("a read mark in room %s is changed by too many at once", req.RoomId))
}

// GetReadMark tells how far a user has read in a room.
func (s *Service) GetReadMark(ctx context.Context, req *registryv1.GetReadMarkRequest) (*registryv1.ReadMark, error) {
	a, _, err := s.find(ctx, req.RoomId, nil)
	if err != nil {
		return nil, err
	}
	if err := ids.CheckUser("userId", req.UserId); err != nil {
		return nil, err
	}
	epoch, err := s.lifeOf(ctx, a, req.RoomId)
	if err != nil {
		return nil, err
	}
	mark, _, err := s.readMark(ctx, readsKey(req.RoomId, req.UserId))
	if err != nil {
		return nil, storeError(err)
	}
	if mark.Epoch != epoch {
		return &registryv1.ReadMark{}, nil
	}
	return &registryv1.ReadMark{Seq: &mark.Seq}, nil
}

// readMarkTimeout bounds how long a join waits for the read mark, which it
// can do without.
const readMarkTimeout = time.Second

// in is the mark's seq, nil where it belongs to no life of the room or to an
// earlier one.
func (m readMark) in(room *registryv1.Room) *uint64 {
	if m.Epoch != room.Epoch {
		return nil
	}
	return &m.Seq
}

// marksNow reads the marks of some keys for joins, as far as some replica of the
// bucket knows; none where they cannot be read now.
func (s *Service) marksNow(ctx context.Context, keys []string) []readMark {
	if len(keys) == 0 || !s.bus.Connected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readMarkTimeout)
	defer cancel()
	s.metrics.markReads.Add(ctx, 1)
	entries, err := s.reads.Load().GetMany(ctx, keys)
	if err != nil {
		s.log.DebugContext(ctx, "reading read marks for joins", "marks", len(keys), "error", err)
		return nil
	}
	marks := make([]readMark, len(keys))
	for i, key := range keys {
		if entry, ok := entries[key]; ok {
			marks[i] = s.decodeMark(entry)
		}
	}
	return marks
}

// lifeOf gives the epoch of a room that the actor may know of. Another replica
// may have made the room a moment ago.
func (s *Service) lifeOf(ctx context.Context, a actor, id string) (epoch string, err error) {
	err = s.optimistic(ctx, subject{actor: a, room: id}, func() error {
		room := s.picture.room(id)
		if err := s.visible(a, id, room); err != nil {
			return err
		}
		epoch = room.Epoch
		return nil
	})
	return epoch, err
}

// readMark reads a mark and its revision; one that is not there, or that
// nobody can decode, belongs to no life of a room.
func (s *Service) readMark(ctx context.Context, key string) (readMark, uint64, error) {
	entry, err := s.reads.Load().Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) {
		return readMark{}, 0, nil
	}
	if err != nil {
		return readMark{}, 0, err
	}
	return s.decodeMark(entry), entry.Revision, nil
}

func (s *Service) decodeMark(entry bus.Entry) readMark {
	var mark readMark
	if err := json.Unmarshal(entry.Value, &mark); err != nil {
		s.log.Error("passed over a read mark", "key", entry.Key, "error", err)
		return readMark{}
	}
	return mark
}

// storeMark writes a mark in place of the one of this revision, 0 for none.
// Errors: bus.ErrConflict, bus.ErrExists.
func (s *Service) storeMark(ctx context.Context, key string, mark readMark, revision uint64) error {
	value, err := json.Marshal(mark)
	if err != nil {
		return fmt.Errorf("encoding a read mark: %w", err)
	}
	if revision == 0 {
		_, err = s.reads.Load().Create(ctx, key, value)
	} else {
		_, err = s.reads.Load().Update(ctx, key, value, revision)
	}
	return err
}

// forgetReads takes all read marks of a room away.
func (s *Service) forgetReads(ctx context.Context, room string) error {
	return s.reads.Load().Clear(ctx, ids.Token(room)+".*")
}

package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/run"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// The end of a room is more than one write, and a process may end between any
// two of them. Erasing the log first would lose messages if somebody joins in
// between and the record stays; erasing it last would let a room that is made
// again show the old messages. So it is written down first:
//
//  1. e.<room> is written, claimed.
//  2. r.<room> is deleted if it is still what was looked at. If it is not, the
//     end is called off and e.<room> taken away.
//  3. Members are told, and the log is erased.
//  4. e.<room> is released. After settle the log is erased a second time, for
//     what gateways published before they heard of the end; then read marks,
//     standings and e.<room> go.
//
// While there is e.<room> no room of this id is made without doing step 4
// first. What a replica leaves undone, another one does. Erasing is done only
// by who has claimed e.<room> by compare-and-swap, and stops well before the
// claim ends, so that nobody erases the log of a new life.
type endingTimes struct {
	claim  time.Duration // how long a claim keeps others away
	erase  time.Duration // how long erasing may take; well below claim
	settle time.Duration // how long gateways may take to hear of the end
	clear  time.Duration // how long who makes the room anew waits for who erases

	sanctions time.Duration // how often bans and mutes that are over are taken away
}

var defaultEndingTimes = endingTimes{claim: 10 * time.Second, erase: 4 * time.Second, settle: 2 * time.Second, clear: 500 * time.Millisecond, sanctions: 10 * time.Second}

// clearPause is between two looks into the picture, where the watch writes that
// another one has erased; that takes some 10 ms.
const clearPause = 10 * time.Millisecond

// errErasing: another one is between steps 1 and 4.
var errErasing = errors.New("an earlier life of the room is still being erased")

// end ends the life of a room that has this record. erased says whether the
// log is gone already; if not, that is tried again in the background. Errors:
// bus.ErrConflict when the room has changed.
func (s *Service) end(ctx context.Context, room *registryv1.Room) (erased bool, err error) {
	key := endingKey(room.Id)
	before := s.picture.end(room.Id)
	if before.claimed(s.times.claim) {
		return false, errors.Join(bus.ErrConflict, s.refresh(ctx, roomKey(room.Id)), s.refresh(ctx, key))
	}
	claim, err := s.writeEnding(ctx, room.Id, ending{Epoch: room.Epoch, Claimed: true}, before)
	if errors.Is(err, bus.ErrExists) || errors.Is(err, bus.ErrConflict) {
		// Two end it at once.
		return false, errors.Join(bus.ErrConflict, s.refresh(ctx, roomKey(room.Id)), s.refresh(ctx, key))
	}
	if err != nil {
		return false, err
	}
	last, err := encodeRoom(room)
	if err != nil {
		return false, errors.Join(err, s.delete(ctx, key, claim))
	}
	err = s.remove(ctx, roomKey(room.Id), room.Revision, last)
	if errors.Is(err, bus.ErrConflict) {
		return false, errors.Join(err, s.delete(ctx, key, claim))
	}
	if err != nil {
		return false, err // whether the record is there will be seen by who does the rest
	}
	s.tell(room.Id, &busv1.LiveEvent{Event: &busv1.LiveEvent_Gone{Gone: &busv1.RoomGone{Epoch: room.Epoch}}})
	// From here on the room has ended, whether or not the caller waits.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.times.claim)
	defer cancel()
	if err := s.erase(ctx, room.Id); err != nil {
		s.log.WarnContext(ctx, "the log of a room that ended will be erased later", "room", room.Id, "error", err)
		return false, nil
	}
	if _, err := s.writeEnding(ctx, room.Id, ending{Epoch: room.Epoch}, s.picture.end(room.Id)); err != nil {
		s.log.WarnContext(ctx, "what the end of a room leaves will be done later", "room", room.Id, "error", err)
	}
	return true, nil
}

// writeEnding writes e.<room> on the condition that it still is as old says,
// nil for not there. Errors: bus.ErrExists, bus.ErrConflict.
func (s *Service) writeEnding(ctx context.Context, room string, e ending, old *endingEntry) (revision uint64, err error) {
	value, err := e.encode()
	if err != nil {
		return 0, err
	}
	key := endingKey(room)
	if old == nil {
		revision, err = s.kv.Load().Create(ctx, key, value)
	} else {
		revision, err = s.kv.Load().Update(ctx, key, value, old.revision)
	}
	if err != nil {
		return 0, err
	}
	s.apply(bus.Entry{Key: key, Value: value, Revision: revision})
	return revision, nil
}

func (s *Service) erase(ctx context.Context, room string) error {
	if s.opts.Eraser == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.times.erase)
	defer cancel()
	if err := s.opts.Eraser.Erase(ctx, room); err != nil {
		return fmt.Errorf("erasing the log of room %s: %w", room, err)
	}
	s.metrics.erased.Add(ctx, 1)
	return nil
}

// finish does what the end of a room has left. Errors: bus.ErrConflict when
// somebody else is doing it.
func (s *Service) finish(ctx context.Context, room string, left *endingEntry) error {
	key := endingKey(room)
	_, err := s.kv.Load().Get(ctx, roomKey(room))
	if err == nil {
		// The end was called off by a process that could not say so any more.
		return s.delete(ctx, key, left.revision)
	}
	if !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	revision, err := s.writeEnding(ctx, room, ending{Epoch: left.Epoch, Claimed: true}, left)
	if errors.Is(err, bus.ErrExists) || errors.Is(err, bus.ErrConflict) {
		return errors.Join(bus.ErrConflict, s.refresh(ctx, key))
	}
	if err != nil {
		return err
	}
	if err := s.erase(ctx, room); err != nil {
		return err
	}
	if err := s.forgetReads(ctx, room); err != nil {
		return err
	}
	// Nobody can have a standing in a room that is not there and that nobody
	// makes before e.<room> is gone.
	for user, revision := range s.picture.standingsOf(room) {
		if err := s.delete(ctx, memberKey(room, user), revision); err != nil && !errors.Is(err, bus.ErrConflict) {
			return err
		}
	}
	return s.delete(ctx, key, revision)
}

// clearWay makes sure that nothing is left of earlier lives of a room that is
// about to be made. Errors: unavailable.
func (s *Service) clearWay(ctx context.Context, room string) error {
	began := time.Now()
	err := s.tryClear(ctx, room)
	for errors.Is(err, errErasing) && s.awaitErased(ctx, room, began) {
		err = s.tryClear(ctx, room)
	}
	if err != nil && errs.CodeOf(err) != errs.Unavailable {
		err = errs.Missing("the room's log", err)
	}
	return err
}

// awaitErased waits until nobody erases; false when that takes too long.
func (s *Service) awaitErased(ctx context.Context, room string, began time.Time) bool {
	for time.Since(began) < s.times.clear && run.Sleep(ctx, clearPause) {
		if !s.picture.end(room).claimed(s.times.claim) {
			return true
		}
	}
	return false
}

func (s *Service) tryClear(ctx context.Context, room string) error {
	left := s.picture.end(room)
	if left == nil {
		return nil
	}
	if left.claimed(s.times.claim) {
		// It may be done since; the watch is only a moment behind.
		if err := s.refresh(ctx, endingKey(room)); err != nil {
			return storeError(err)
		}
		if left = s.picture.end(room); left == nil {
			return nil
		}
		if left.claimed(s.times.claim) {
			return errErasing
		}
	}
	err := s.finish(ctx, room, left)
	if errors.Is(err, bus.ErrConflict) {
		return errErasing
	}
	return err
}

// claimed says whether somebody may be erasing; the moment when this replica
// saw the claim is later than when it was made, so the wait is rather too long.
func (e *endingEntry) claimed(claim time.Duration) bool {
	return e != nil && e.Claimed && time.Since(e.seen) < claim
}

// finishEndings does what ends of rooms have left, whichever replica began
// them, until ctx ends.
func (s *Service) finishEndings(ctx context.Context) {
	for run.Sleep(ctx, s.times.settle/4+rand.N(s.times.settle/4)) {
		for _, room := range s.picture.dueEndings(s.times, 1000) {
			left := s.picture.end(room)
			if left == nil {
				continue
			}
			err := s.finish(ctx, room, left)
			if ctx.Err() != nil {
				return
			}
			if err != nil && !errors.Is(err, bus.ErrConflict) {
				s.log.Warn("what the end of a room leaves will be done later", "room", room, "error", err)
				break // most likely the same for all
			}
		}
	}
}

// dueEndings gives up to limit rooms whose end leaves something that may be
// done now.
func (p *picture) dueEndings(times endingTimes, limit int) []string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var due []string
	for room, e := range p.endings {
		if len(due) < limit && !e.claimed(times.claim) && time.Since(e.seen) >= times.settle {
			due = append(due, room)
		}
	}
	return due
}

// standingsOf gives the revisions of all standings in a room, by user.
func (p *picture) standingsOf(room string) map[string]uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := make(map[string]uint64)
	if r := p.rosters[room]; r != nil {
		r.Scan(func(user string, st *standing) bool {
			all[user] = st.revision
			return true
		})
	}
	return all
}

package registry

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// followPresence keeps vacancy fresh until ctx ends.
func (s *Service) followPresence(ctx context.Context) {
	var wait backoff
	for {
		err := s.opts.Presence.WatchRooms(ctx, func(step RoomCount) {
			if step.RoomID != "" {
				s.picture.count(step.RoomID, step.Count)
				s.vacancy.count(step.RoomID, step.Count)
				s.picture.look(step.RoomID, func(room *registryv1.Room) { s.vacancy.consider(step.RoomID, room) })
			}
			if step.Complete {
				wait = backoff{}
				s.vacancy.complete()
				s.picture.countedAll()
				s.considerAll(ctx)
			}
		})
		s.vacancy.forget()
		s.picture.forgetCounts()
		if ctx.Err() != nil {
			return
		}
		s.log.Info("presence is unknown: no room is hidden and none expires", "error", err)
		if !wait.pause(ctx) {
			return
		}
	}
}

// considerAll looks at every room once, a few at a time so that the picture
// stays usable.
func (s *Service) considerAll(ctx context.Context) {
	for _, hidden := range [...]bool{false, true} {
		for from, more := "", true; more && ctx.Err() == nil; more = from != "" {
			from = s.picture.some(hidden, from, 1000, s.vacancy.consider)
		}
	}
}

// sweep does what is due about empty rooms until ctx ends. All replicas do,
// and compare-and-swap lets one of them through.
func (s *Service) sweep(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.vacancy.wake:
		case <-timer.C:
		}
		s.metrics.sweeps.Add(ctx, 1)
		for ctx.Err() == nil {
			id, occupied, wait := s.vacancy.next()
			if id == "" {
				timer.Reset(wait)
				break
			}
			if err := s.settleRoom(ctx, id, occupied); err != nil && ctx.Err() == nil {
				s.log.Warn("an empty room is left as it is for now", "room", id, "error", err)
				s.vacancy.later(id, s.retryAfter())
			}
		}
	}
}

// retryAfter is how long a room waits that nothing could be done about.
func (s *Service) retryAfter() time.Duration {
	return min(max(s.opts.EmptyGrace, 100*time.Millisecond), 10*time.Second)
}

// settleRoom does what is due about one room. When somebody else was faster it
// takes their state in and leaves it at that: the room is considered anew.
func (s *Service) settleRoom(ctx context.Context, id string, occupied bool) error {
	room := s.picture.room(id)
	var err error
	switch hidden := room.GetHiddenAt() != nil; {
	case room == nil, occupied && !hidden:
		return nil // the picture has told vacancy so
	case occupied:
		_, err = s.replaceHidden(ctx, room, nil)
	case !hidden:
		if _, err = s.replaceHidden(ctx, room, timestamppb.Now()); err == nil {
			s.metrics.hidden.Add(ctx, 1)
		}
	default:
		err = s.expireRoom(ctx, room)
	}
	if errors.Is(err, bus.ErrConflict) {
		s.metrics.conflicts.Add(ctx, 1)
		if err = s.refreshRoom(ctx, id); err == nil {
			s.vacancy.later(id, s.retryAfter()) // where the refresh brought nothing new
		}
	}
	return err
}

// replaceHidden stores since when a room is hidden, nil for not.
func (s *Service) replaceHidden(ctx context.Context, room *registryv1.Room, since *timestamppb.Timestamp) (*registryv1.Room, error) {
	next := proto.CloneOf(room)
	next.HiddenAt = since
	return s.replace(ctx, next)
}

// expireRoom ends a room that has been hidden for long enough.
func (s *Service) expireRoom(ctx context.Context, room *registryv1.Room) error {
	wait := max(time.Until(room.HiddenAt.AsTime().Add(s.opts.ExpireAfter)), time.Until(s.expireFrom))
	if wait > 0 {
		s.vacancy.later(room.Id, wait)
		return nil
	}
	erased, err := s.end(ctx, room)
	if err != nil {
		return err
	}
	s.metrics.expired.Add(ctx, 1)
	s.log.Info("room expired", "room", room.Id, "hiddenAt", room.HiddenAt.AsTime())
	if !erased {
		// The log is out of reach, and more ends would only wait in line.
		s.expireFrom = time.Now().Add(s.retryAfter())
	}
	return nil
}

package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/run"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// maxTries bounds how often a change is tried again because another one came
// in between. Changes of one room go one after the other in a replica (turns),
// so those of a handful of replicas meet at most, and each round lets at least
// one through.
const maxTries = 16

// subject names what a change reads and writes, beside the actor's standing.
type subject struct {
	actor actor
	room  string
	user  string // whose standing is changed; empty where the room is
}

// optimistic runs try until it neither finds that somebody else was faster
// nor fails otherwise. try reads the picture, decides, and writes on the
// condition that nothing has changed; called again it finds the newer state.
//
// What was written at another replica a moment ago may not be in this one's
// picture yet, and callers go from one replica to the next. So a refusal is
// given only after a look at the leader's state.
func (s *Service) optimistic(ctx context.Context, on subject, try func() error) error {
	looked := false
	for n := range maxTries {
		err := try()
		switch {
		case errors.Is(err, bus.ErrConflict), errors.Is(err, bus.ErrExists):
			s.metrics.conflicts.Add(ctx, 1)
			if !run.Sleep(ctx, rand.N(time.Millisecond<<min(n, 6))) {
				return storeError(ctx.Err())
			}
		case isRefusal(err) && !looked:
			looked = true
		default:
			return storeError(err)
		}
		if err := s.renew(ctx, on); err != nil {
			return storeError(err)
		}
	}
	return storeError(fmt.Errorf("room %s is changed by too many at once", on.room))
}

func isRefusal(err error) bool {
	switch errs.CodeOf(err) {
	case errs.NotFound, errs.Forbidden, errs.AlreadyExists, errs.Banned:
		return true
	}
	return false
}

// renew reads a subject from the leader into the picture.
func (s *Service) renew(ctx context.Context, on subject) error {
	if err := s.refreshRoom(ctx, on.room); err != nil {
		return err
	}
	for _, user := range slices.Compact([]string{on.user, on.actor.user.GetId()}) {
		if user == "" {
			continue
		}
		if err := s.refresh(ctx, memberKey(on.room, user)); err != nil {
			return err
		}
	}
	return nil
}

// storeError makes what is no answer for the caller an unavailable error.
func storeError(err error) error {
	if coded := (*errs.Error)(nil); err == nil || errors.As(err, &coded) {
		return err
	}
	return errs.Missing("the registry's store", err)
}

// create stores the record of a new room. Errors: bus.ErrExists.
func (s *Service) create(ctx context.Context, room *registryv1.Room) (*registryv1.Room, error) {
	value, err := encodeRoom(room)
	if err != nil {
		return nil, err
	}
	key := roomKey(room.Id)
	revision, err := s.kv.Load().Create(ctx, key, value)
	if err != nil {
		return nil, err
	}
	return s.written(key, value, revision)
}

// replace stores a changed record in place of the one it was made from, whose
// revision it still has. Errors: bus.ErrConflict.
func (s *Service) replace(ctx context.Context, room *registryv1.Room) (*registryv1.Room, error) {
	value, err := encodeRoom(room)
	if err != nil {
		return nil, err
	}
	key := roomKey(room.Id)
	revision, err := s.kv.Load().Update(ctx, key, value, room.Revision)
	if err != nil {
		return nil, err
	}
	return s.written(key, value, revision)
}

// written takes a record that was just stored into the picture and gives it
// as it is told.
func (s *Service) written(key string, value []byte, revision uint64) (*registryv1.Room, error) {
	entry := bus.Entry{Key: key, Value: value, Revision: revision}
	s.apply(entry)
	return decodeRoom(entry, s.bus.Epoch)
}

// changedSince tells who expected a revision that there is another.
func changedSince(what string, revision uint64) error {
	return &errs.Error{
		Code: errs.AlreadyExists, Field: "revision",
		Message: fmt.Sprintf("revision: %s was changed by somebody else, and has revision %d", what, revision),
	}
}

// changeRoom has f change a copy of a room's record until nobody came in
// between; f gets nil where there is no room, and says by false that nothing
// is to be changed. That is believed, like a refusal, only after a look at the
// leader's state: what this replica has may be older than what another one has
// just been asked for.
func (s *Service) changeRoom(ctx context.Context, a actor, id string, f func(room *registryv1.Room) (bool, error)) (*registryv1.Room, error) {
	done, err := s.turns.take(ctx, id)
	if err != nil {
		return nil, storeError(err)
	}
	defer done()
	on := subject{actor: a, room: id}
	var result *registryv1.Room
	err = s.optimistic(ctx, on, func() error {
		for looked := false; ; looked = true {
			result = proto.CloneOf(s.picture.room(id))
			changed, err := f(result)
			switch {
			case err != nil:
				return err
			case changed:
				result, err = s.replace(ctx, result)
				return err
			case looked:
				return nil
			}
			if err := s.renew(ctx, on); err != nil {
				return err
			}
		}
	})
	return result, err
}

// storeStanding writes a standing in place of the one that old says. Errors:
// bus.ErrConflict, bus.ErrExists.
func (s *Service) storeStanding(ctx context.Context, room string, member *registryv1.Member, old *standing) error {
	value, err := encodeMember(member)
	if err != nil {
		return err
	}
	key := memberKey(room, member.User.Id)
	var revision uint64
	if old == nil {
		revision, err = s.kv.Load().Create(ctx, key, value)
	} else {
		revision, err = s.kv.Load().Update(ctx, key, value, old.revision)
	}
	if err != nil {
		return err
	}
	s.apply(bus.Entry{Key: key, Value: value, Revision: revision})
	member.Revision = revision
	return nil
}

// changeStanding has f change a copy of a user's standing in a room that the
// actor may know of, until nobody came in between, and gives the room. f gets a
// standing also where none is stored; one that says nothing is not kept. That
// there is nothing to change is believed, like a refusal, only after a look at
// the leader's state. The standing says what was done, as kind and reason; a
// kick is stored for that alone.
func (s *Service) changeStanding(ctx context.Context, a actor, id, user string, kind changeKind, reason string, f func(*registryv1.Room, *registryv1.Member) error) (*registryv1.Room, error) {
	done, err := s.turns.take(ctx, id)
	if err != nil {
		return nil, storeError(err)
	}
	defer done()
	on := subject{actor: a, room: id, user: user}
	var room *registryv1.Room
	err = s.optimistic(ctx, on, func() error {
		for looked := false; ; looked = true {
			room = s.picture.room(id)
			if err := s.visible(a, id, room); err != nil {
				return err
			}
			old := s.picture.stored(id, user)
			before := s.picture.standingNow(room, user)
			if before == nil {
				before = &registryv1.Member{User: s.known(room, user, old), Role: s.picture.role(room, user), Epoch: room.Epoch}
			}
			next := proto.CloneOf(before)
			if err := f(room, next); err != nil {
				return err
			}
			if !proto.Equal(before, next) || kind == kicked {
				next.Change = &registryv1.StandingChange{Kind: kind, By: a.user, Reason: reason}
				return s.replaceStanding(ctx, room, next, old)
			}
			if looked {
				return nil
			}
			if err := s.renew(ctx, on); err != nil {
				return err
			}
		}
	})
	return room, err
}

// replaceStanding writes a standing in place of the one that old says, or takes
// that away where the new one says nothing. Errors: bus.ErrConflict,
// bus.ErrExists.
func (s *Service) replaceStanding(ctx context.Context, room *registryv1.Room, next *registryv1.Member, old *standing) error {
	user := next.User.Id
	switch {
	case next.Role != none, next.Ban != nil, next.Mute != nil, implied(room, user) != nil:
		return s.storeStanding(ctx, room.Id, next, old)
	case old == nil && next.Change.GetKind() == kicked:
		return s.noteKick(ctx, room.Id, next)
	case old == nil:
		return nil
	}
	last, err := encodeMember(next)
	if err != nil {
		return err
	}
	return s.remove(ctx, memberKey(room.Id, user), old.revision, last)
}

// kickNoted is how long it stays in the bucket that who has no standing was
// kicked.
const kickNoted = time.Minute

// noteKick stores a standing that says nothing, for a while. Errors:
// bus.ErrExists.
func (s *Service) noteKick(ctx context.Context, room string, member *registryv1.Member) error {
	value, err := encodeMember(member)
	if err != nil {
		return err
	}
	key := memberKey(room, member.User.Id)
	revision, err := s.kv.Load().CreateFor(ctx, key, value, kickNoted)
	if err != nil {
		return err
	}
	s.apply(bus.Entry{Key: key, Value: value, Revision: revision})
	return nil
}

// delete takes a key away that must still have this revision. Errors:
// bus.ErrConflict.
func (s *Service) delete(ctx context.Context, key string, revision uint64) error {
	return s.remove(ctx, key, revision, nil)
}

// remove is delete for what events tell of: last is the record as it was, or
// would be.
func (s *Service) remove(ctx context.Context, key string, revision uint64, last []byte) error {
	if err := s.kv.Load().Remove(ctx, key, revision, last); err != nil {
		return err
	}
	s.picture.forget(key, revision)
	return nil
}

package registry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/run"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// follow keeps the picture fresh until ctx ends, and closes loaded when it is
// whole for the first time.
func (s *Service) follow(ctx context.Context, loaded chan<- struct{}) {
	var wait backoff
	whole := func() {
		wait = backoff{}
		if loaded != nil {
			close(loaded)
			loaded = nil
		}
	}
	for {
		err := s.watch(ctx, whole)
		if ctx.Err() != nil {
			return
		}
		s.metrics.watchRestarts.Add(ctx, 1)
		s.log.Warn("watching the rooms anew", "because", err)
		if !wait.pause(ctx) {
			return
		}
	}
}

var errReconnected = errors.New("NATS was found again")

// watch takes all entries in and then every change, until the watch ends. A
// reconnect ends it too: a cut watch notices by itself, but only seconds later,
// and in the meantime a right that was taken away would still count.
func (s *Service) watch(ctx context.Context, whole func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	select {
	case <-s.reconnected: // this watch is newer than that
	default:
	}
	entries, err := s.kv.Load().Watch(ctx, ">")
	if err != nil {
		return err
	}
	s.picture.begin()
	for {
		select {
		case <-s.reconnected:
			return errReconnected
		case entry, ok := <-entries:
			switch {
			case !ok:
				return errors.New("the watch ended")
			case entry.Key == "":
				s.picture.sweep()
				whole()
			default:
				s.passOver(s.picture.watched(entry))
			}
		}
	}
}

// apply takes an entry that was asked for into the picture.
func (s *Service) apply(entry bus.Entry) { s.passOver(s.picture.apply(entry)) }

// passOver passes an entry over that nobody can decode, so that it takes only
// itself away.
func (s *Service) passOver(err error) {
	if err != nil {
		s.bus.PassOver(string(bus.Rooms), err)
	}
}

// refresh reads a key from the leader into the picture.
func (s *Service) refresh(ctx context.Context, key string) error {
	known := s.picture.revision(key)
	entry, err := s.kv.Load().Get(ctx, key)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		s.picture.forget(key, known)
		return nil
	case err != nil:
		return err
	}
	s.apply(entry)
	return nil
}

// refreshRoom is refresh for a room. What its end has left is read as well: the
// watch may not have told of it yet. Where the room is there nothing is learned
// by that; but then how long a refusal takes does not tell whether there is one.
func (s *Service) refreshRoom(ctx context.Context, id string) error {
	if err := s.refresh(ctx, roomKey(id)); err != nil {
		return err
	}
	return s.refresh(ctx, endingKey(id))
}

// makeLobby makes the built-in room where the deployment has none yet; false
// when ctx ended before.
func (s *Service) makeLobby(ctx context.Context) bool {
	return s.retry(ctx, "making the lobby", func() error {
		if s.picture.room(ids.Lobby) != nil {
			return nil
		}
		_, err := s.create(ctx, &registryv1.Room{
			Id:         ids.Lobby,
			Name:       "Lobby",
			Visibility: registryv1.Visibility_VISIBILITY_PUBLIC,
			Persistent: true,
			CreatedAt:  timestamppb.Now(),
		})
		if errors.Is(err, bus.ErrExists) {
			return nil
		}
		return err
	})
}

// backoff is the pause between attempts at what will work again by itself:
// 100 ms at first and up to 5 s, half of it by chance so that replicas do not
// come all at once.
type backoff struct{ last time.Duration }

// pause waits; false when ctx ended.
func (b *backoff) pause(ctx context.Context) bool {
	b.last = min(max(2*b.last, 100*time.Millisecond), 5*time.Second)
	return run.Sleep(ctx, b.last/2+rand.N(b.last/2))
}

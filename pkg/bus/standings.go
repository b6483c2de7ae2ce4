package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// Keys of the records of busv1.Standing: of disabled accounts in Users, and of
// changes of roles in Sessions.
const (
	keyDisabled = "disabled."
	keyRoles    = "roles."
)

// PutDisabled tells everyone whether an account is disabled, as of a revision
// of it. One that is of an earlier revision than what was told changes nothing.
func (b *Bus) PutDisabled(ctx context.Context, user string, disabled bool, revision uint64) error {
	return b.putStanding(ctx, Users, keyDisabled+ids.Token(user), &busv1.Standing{Revision: revision, Disabled: disabled})
}

// PutRoles tells everyone which roles an account has, as PutDisabled does.
func (b *Bus) PutRoles(ctx context.Context, user string, roles []string, revision uint64) error {
	return b.putStanding(ctx, Sessions, keyRoles+ids.Token(user), &busv1.Standing{Revision: revision, Roles: roles})
}

func (b *Bus) putStanding(ctx context.Context, bucket Bucket, key string, s *busv1.Standing) error {
	kv, err := b.Bucket(ctx, bucket)
	if err != nil {
		return err
	}
	value, err := proto.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding a standing: %w", err)
	}
	for {
		e, err := kv.Get(ctx, key)
		switch {
		case errors.Is(err, ErrNotFound):
			_, err = kv.Create(ctx, key, value)
		case err != nil:
		default:
			known := new(busv1.Standing)
			if proto.Unmarshal(e.Value, known) == nil && known.Revision > s.Revision {
				return nil
			}
			_, err = kv.Update(ctx, key, value, e.Revision)
		}
		// Each time somebody else's has gone through.
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// Standings knows what has become of accounts since tokens were issued: which
// are disabled, and which roles those have that were given others. Like
// Revocations it is a picture kept in memory by a watch, so that a change is
// known within milliseconds, one made while NATS was out of reach when it is
// back, and asking costs no call.
//
// Its memory is bounded by the accounts that are disabled and by the changes of
// roles of an hour, after which no token is left that was issued before.
type Standings struct {
	picture
	changed func(user string)

	mu       sync.RWMutex
	disabled map[string]struct{}
	roles    map[string]userRoles
}

type userRoles struct {
	roles    []string
	revision uint64
	since    time.Time // it is known
}

// NewStandings makes a picture that Run fills. changed, which may be nil, is
// called with each user of whom something is new, also at the start, by a
// goroutine of Run; it must not block for long.
func NewStandings(b *Bus, changed func(user string)) *Standings {
	if changed == nil {
		changed = func(string) {}
	}
	s := &Standings{changed: changed, disabled: make(map[string]struct{}), roles: make(map[string]userRoles)}
	s.init(b, 2)
	return s
}

// Run keeps the picture until ctx ends; then it returns nil. It may be called
// once.
func (s *Standings) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, w := range []struct {
		bucket Bucket
		prefix string
		note   func(user string, v *busv1.Standing, e Entry) (news bool)
	}{{Users, keyDisabled, s.noteDisabled}, {Sessions, keyRoles, s.noteRoles}} {
		wg.Go(func() {
			s.watch(ctx, w.bucket, w.prefix, func(e Entry) {
				if !e.Deleted { // what has expired goes by forget's clock
					s.note(strings.TrimPrefix(e.Key, w.prefix), e, w.note)
				}
			})
		})
	}
	wg.Go(func() { forget(ctx, s.drop) })
	wg.Wait()
	return nil
}

// Ready is closed when everything that was told before Run is known.
func (s *Standings) Ready() <-chan struct{} { return s.ready }

// Disabled says whether a user's account is disabled.
func (s *Standings) Disabled(user string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, disabled := s.disabled[user]
	return disabled
}

// Roles gives the roles of a user's account where they were changed lately;
// else those in the user's tokens are right. The slice is not to be changed.
func (s *Standings) Roles(user string) (roles []string, changed bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	known, changed := s.roles[user]
	return known.roles, changed
}

func (s *Standings) note(token string, e Entry, note func(string, *busv1.Standing, Entry) bool) {
	user, err := ids.FromToken(token)
	v := new(busv1.Standing)
	if err == nil {
		err = proto.Unmarshal(e.Value, v)
	}
	if err != nil {
		s.b.PassOver(e.Key, err)
		return
	}
	s.mu.Lock()
	news := note(user, v, e)
	s.mu.Unlock()
	if news {
		s.changed(user)
	}
}

// noteDisabled is called with the lock held. The watch gives one key's entries
// in their order, and putStanding keeps that of the revisions.
func (s *Standings) noteDisabled(user string, v *busv1.Standing, _ Entry) bool {
	_, was := s.disabled[user]
	if v.Disabled {
		s.disabled[user] = struct{}{}
	} else {
		delete(s.disabled, user)
	}
	return was != v.Disabled
}

// noteRoles is called with the lock held.
func (s *Standings) noteRoles(user string, v *busv1.Standing, _ Entry) bool {
	if s.roles[user].revision > v.Revision {
		return false
	}
	s.roles[user] = userRoles{roles: v.Roles, revision: v.Revision, since: time.Now()}
	return true
}

func (s *Standings) drop(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for user, known := range s.roles {
		if known.since.Before(until) {
			delete(s.roles, user)
		}
	}
}

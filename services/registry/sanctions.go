package registry

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/tidwall/btree"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/run"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// Bans and mutes that are over count for nothing wherever they are looked at.
// They are taken out of the store in the background, so that it does not grow
// with everybody who ever was put out for an hour.

// sanctions finds standings by the bans and mutes in them. It belongs to a
// picture, whose lock it is under.
type sanctions struct {
	users map[string]*btree.Set[string] // by room: about whom there is one
	ends  *btree.BTreeG[sanctionEnd]    // of those that end by themselves
}

// sanctionEnd is when the first sanction of a standing ends.
type sanctionEnd struct {
	until      int64 // Unix, nanoseconds
	room, user string
}

func newSanctions() sanctions {
	return sanctions{
		users: make(map[string]*btree.Set[string]),
		ends: btree.NewBTreeGOptions(func(a, b sanctionEnd) bool {
			return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.room, b.room), cmp.Compare(a.user, b.user)) < 0
		}, btree.Options{NoLocks: true}),
	}
}

// replace takes in that a standing has changed; nil is none.
func (x *sanctions) replace(room, user string, old, next *standing) {
	if end, ok := old.end(); ok {
		x.ends.Delete(sanctionEnd{end, room, user})
	}
	if end, ok := next.end(); ok {
		x.ends.Set(sanctionEnd{end, room, user})
	}
	set := x.users[room]
	if next != nil && (next.member.Ban != nil || next.member.Mute != nil) {
		if set == nil {
			set = new(btree.Set[string])
			x.users[room] = set
		}
		set.Insert(user)
	} else if set != nil {
		set.Delete(user)
		if set.Len() == 0 {
			delete(x.users, room)
		}
	}
}

// end tells when the first sanction of a standing ends by itself.
func (st *standing) end() (at int64, ok bool) {
	if st == nil {
		return 0, false
	}
	for _, sanction := range []*registryv1.Sanction{st.member.Ban, st.member.Mute} {
		if sanction.GetUntil() != nil {
			if end := sanction.Until.AsTime().UnixNano(); !ok || end < at {
				at, ok = end, true
			}
		}
	}
	return at, ok
}

// sanctioned gives up to limit standings of a room with a sanction in force,
// of users whose ids come after a cursor.
func (p *picture) sanctioned(room *registryv1.Room, after string, limit int) []*registryv1.Member {
	p.mu.RLock()
	defer p.mu.RUnlock()
	set := p.sanctions.users[room.Id]
	if set == nil {
		return nil
	}
	var page []*registryv1.Member
	set.Ascend(after, func(user string) bool {
		m := p.standing(room.Id, user).member
		ban, mute := inForce(m.Ban), inForce(m.Mute)
		if user == after || m.Epoch != room.Epoch || ban == nil && mute == nil {
			return true
		}
		if ban != m.Ban || mute != m.Mute {
			m = proto.CloneOf(m)
			m.Ban, m.Mute = ban, mute
		}
		page = append(page, m)
		return len(page) < limit
	})
	return page
}

// over gives up to limit standings in which a sanction has ended.
func (p *picture) over(now time.Time, limit int) []sanctionEnd {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var found []sanctionEnd
	p.sanctions.ends.Scan(func(e sanctionEnd) bool {
		if e.until > now.UnixNano() || len(found) == limit {
			return false
		}
		found = append(found, e)
		return true
	})
	return found
}

// ListSanctions pages through the bans and mutes in force in a room.
func (s *Service) ListSanctions(ctx context.Context, req *registryv1.ListSanctionsRequest) (*registryv1.ListSanctionsResponse, error) {
	a, room, err := s.find(ctx, req.RoomId, req.Actor)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize(req.Limit)
	if err != nil {
		return nil, err
	}
	after, err := fromCursor(req.Cursor, ids.CheckUser)
	if err != nil {
		return nil, err
	}
	// Who was made a moderator at another replica a moment ago is one here, too.
	err = s.optimistic(ctx, subject{actor: a, room: req.RoomId}, func() error {
		room = s.picture.room(req.RoomId)
		if err := s.visible(a, req.RoomId, room); err != nil {
			return err
		}
		return s.needs(a, room, moderator)
	})
	if err != nil {
		return nil, err
	}
	members := s.picture.sanctioned(room, after, limit+1)
	answer := &registryv1.ListSanctionsResponse{Members: members}
	if len(members) > limit {
		answer.Members = members[:limit]
		answer.NextCursor = cursorOf(members[limit-1].User.Id)
	}
	return answer, nil
}

// sanctionsPage is how many standings are tidied up in a row.
const sanctionsPage = 1000

// endSanctions takes sanctions that are over out of the store, until ctx ends.
// All replicas do, and compare-and-swap lets one of them through.
func (s *Service) endSanctions(ctx context.Context) {
	every := s.times.sanctions
	for run.Sleep(ctx, every/2+rand.N(every/2+1)) {
		for _, end := range s.picture.over(time.Now(), sanctionsPage) {
			err := s.endSanction(ctx, end)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				s.log.Warn("bans and mutes that are over are taken away later", "error", err)
				break // most likely the same for all
			}
		}
	}
}

// endSanction takes out of a standing what is over in it. Where somebody else
// has changed it, that is taken in.
func (s *Service) endSanction(ctx context.Context, end sanctionEnd) error {
	room, old := s.picture.room(end.room), s.picture.stored(end.room, end.user)
	if old == nil {
		return nil
	}
	next := proto.CloneOf(old.member)
	next.Ban, next.Mute = inForce(next.Ban), inForce(next.Mute)
	var err error
	switch {
	case proto.Equal(next, old.member):
		return nil
	case room == nil || next.Epoch != room.Epoch: // it counts for nothing
		err = s.delete(ctx, memberKey(end.room, end.user), old.revision)
	default:
		next.Change = nil // nobody does this
		err = s.replaceStanding(ctx, room, next, old)
	}
	if errors.Is(err, bus.ErrConflict) || errors.Is(err, bus.ErrExists) {
		s.metrics.conflicts.Add(ctx, 1)
		return s.refresh(ctx, memberKey(end.room, end.user))
	}
	if err == nil {
		s.metrics.overSanctions.Add(ctx, 1)
	}
	return err
}

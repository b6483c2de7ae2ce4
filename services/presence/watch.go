package presence

import (
	"errors"

	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/errs"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
)

// watchPage is how many entries of the picture, or changes, a watcher is given
// at a time, so that the lock is never held for long.
const watchPage = 500

// stage is how far a watcher has come: first it is walked through the picture,
// then it follows.
type stage uint8

const (
	walkingRooms stage = iota
	walkingUsers       // and which rooms they are in
	following
)

// watcher is one Watch. It is given the picture page by page in the order of
// ids. Before the next page come the changes since the one before, of what lies
// behind the walk; one of what is ahead is left out, for the walk will find it.
// So the journal only has to hold what happens during one page, however large
// the picture is. Its own goroutine alone uses it.
type watcher struct {
	rooms, users, members bool

	stage    stage
	at       string // the last id that the walk gave, in its stage
	position uint64 // the version of what it was given last
	woken    chan struct{}
}

// Watch implements the Presence service.
func (s *Service) Watch(req *presencev1.WatchRequest, stream grpc.ServerStreamingServer[presencev1.WatchResponse]) error {
	if !req.Rooms && !req.Users && !req.Members {
		return errs.Invalid("rooms", "users or members must be wanted")
	}
	ctx := stream.Context()
	if err := s.Ready(ctx); err != nil {
		return err
	}
	w := &watcher{rooms: req.Rooms, users: req.Users, members: req.Members, woken: make(chan struct{}, 1)}
	s.mu.Lock()
	s.watchers[w] = struct{}{}
	first := w.begin(req.After, s.position(), s.journal)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watchers, w)
		s.mu.Unlock()
	}()
	if err := stream.Send(first); err != nil {
		return err
	}
	for {
		s.mu.RLock()
		batch, more := w.next(s.intake.picture, s.journal)
		lost := !s.journal.has(w.position)
		s.mu.RUnlock()
		if lost {
			return errs.Missing("the watch", errors.New("its reader is too slow"))
		}
		for _, response := range batch {
			if err := stream.Send(response); err != nil {
				return err
			}
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stopped:
			return errs.Missing("presence", errors.New("this replica ends"))
		case <-w.woken:
		}
	}
}

// begin puts the watcher where an earlier one was, if that can be, and gives
// what it is told first.
func (w *watcher) begin(after, now *presencev1.Position, j *journal) *presencev1.WatchResponse {
	w.position = now.Version
	first := &presencev1.WatchResponse{Epoch: now.Epoch, Version: now.Version}
	if after.GetEpoch() == now.Epoch && j.has(after.Version) {
		w.stage, w.position = following, after.Version
		first.Version, first.Resumed = after.Version, true
	}
	return first
}

// next gives what is to be sent now, changes first and then the next page, and
// says whether there may be more. It gives nothing if the watcher is not in the
// journal any more.
func (w *watcher) next(p *picture, j *journal) (batch []*presencev1.WatchResponse, more bool) {
	if !j.has(w.position) {
		return nil, false
	}
	j.after(w.position, func(c change) bool {
		if more = len(batch) >= watchPage; more {
			return false
		}
		batch = w.change(batch, p, c)
		w.position = c.version
		return true
	})
	if more || w.stage == following {
		return batch, more
	}
	switch w.stage {
	case walkingRooms:
		batch, more = w.walkRooms(batch, p)
	case walkingUsers:
		batch, more = w.walkUsers(batch, p)
	}
	if !more {
		w.stage++
		w.at = ""
	}
	if w.stage == following {
		batch = append(batch, &presencev1.WatchResponse{Complete: true, Version: p.version})
	}
	return batch, w.stage != following
}

// change adds what a change is to this watcher. A user's state is told as it is
// now.
func (w *watcher) change(batch []*presencev1.WatchResponse, p *picture, c change) []*presencev1.WatchResponse {
	if c.room != nil {
		if w.rooms && (w.stage > walkingRooms || c.room.id <= w.at) {
			batch = append(batch, roomResponse(c.room.id, c.count, c.version))
		}
		if w.members && w.passed(c.user) {
			batch = append(batch, memberResponse(c.user, c.room, c.kind == userJoined, c.version))
		}
		return batch
	}
	switch {
	case !w.users || !w.passed(c.user):
	case c.kind == userOffline:
		batch = append(batch, userResponse(&presencev1.OnlineUser{User: wireUser(c.user)}, false, c.version))
	case c.user.first != nil:
		batch = append(batch, userResponse(p.onlineUser(c.user), true, c.version))
	default: // has gone since, which comes next
	}
	return batch
}

// passed says whether the walk has been at a user.
func (w *watcher) passed(u *user) bool {
	return w.stage > walkingUsers || w.stage == walkingUsers && u.id <= w.at
}

func (w *watcher) walkRooms(batch []*presencev1.WatchResponse, p *picture) (_ []*presencev1.WatchResponse, more bool) {
	if !w.rooms {
		return batch, false
	}
	left := watchPage
	p.roomsAfter(w.at, func(r *room) bool {
		if more = left == 0; more {
			return false
		}
		left--
		batch = append(batch, roomResponse(r.id, r.members.len(), p.version))
		w.at = r.id
		return true
	})
	return batch, more
}

func (w *watcher) walkUsers(batch []*presencev1.WatchResponse, p *picture) (_ []*presencev1.WatchResponse, more bool) {
	if !w.users && !w.members {
		return batch, false
	}
	left := watchPage
	usersAfter(p.users, w.at, func(u *user) bool {
		if more = left <= 0; more {
			return false
		}
		left--
		if w.users {
			batch = append(batch, userResponse(p.onlineUser(u), true, p.version))
		}
		if w.members {
			rooms := p.roomsOf(u)
			left -= len(rooms)
			for _, r := range rooms {
				batch = append(batch, memberResponse(u, r, true, p.version))
			}
		}
		w.at = u.id
		return true
	})
	return batch, more
}

func roomResponse(id string, count int, version uint64) *presencev1.WatchResponse {
	return &presencev1.WatchResponse{
		Change:  &presencev1.WatchResponse_Room{Room: &presencev1.RoomCount{RoomId: id, Count: int64(count)}},
		Version: version,
	}
}

func userResponse(u *presencev1.OnlineUser, online bool, version uint64) *presencev1.WatchResponse {
	return &presencev1.WatchResponse{
		Change:  &presencev1.WatchResponse_User{User: &presencev1.UserChange{User: u, Online: online}},
		Version: version,
	}
}

func memberResponse(u *user, r *room, present bool, version uint64) *presencev1.WatchResponse {
	return &presencev1.WatchResponse{
		Change:  &presencev1.WatchResponse_Member{Member: &presencev1.MemberChange{RoomId: r.id, User: wireUser(u), Present: present}},
		Version: version,
	}
}

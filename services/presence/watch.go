package presence

import (
	"errors"

	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/errs"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
)

// watchPage is how many entries of the picture a watcher is given at a time, so
// that the lock is never held for long.
const watchPage = 500

// stage is how far a watcher has come: first it is walked through the picture,
// then it follows.
type stage uint8

const (
	walkingRooms stage = iota
	walkingUsers
	following
)

// watcher is one Watch. It is given the picture page by page in the order of
// ids. A change of what lies behind the walk is queued and sent before the next
// page; one ahead is left out, for the walk will find it. So the queue only has
// to hold what happens during one page, however large the picture is.
// Service.mu guards it.
type watcher struct {
	rooms, users, members bool

	stage stage
	at    string // the last id that the walk gave, in its stage
	queue []*presencev1.WatchResponse
	limit int
	lost  bool // the queue overflowed
	woken chan struct{}
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
	w := &watcher{rooms: req.Rooms, users: req.Users, members: req.Members, limit: s.opts.WatchQueue, woken: make(chan struct{}, 1)}
	s.mu.Lock()
	s.watchers[w] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watchers, w)
		s.mu.Unlock()
	}()
	for {
		s.mu.Lock()
		batch := w.next(s.intake.picture)
		idle := len(batch) == 0 && w.stage == following
		lost := w.lost
		s.mu.Unlock()
		if lost {
			return errs.Missing("the watch", errors.New("its reader is too slow"))
		}
		for _, response := range batch {
			if err := stream.Send(response); err != nil {
				return err
			}
		}
		if !idle {
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

// publishToWatchers queues a change for whoever wants it. s.mu is held.
func (s *Service) publishToWatchers(c change) {
	var response, member *presencev1.WatchResponse
	for w := range s.watchers {
		if !w.lost && w.wants(c) {
			if response == nil {
				response = watchResponse(s.intake.picture, c)
			}
			w.push(response)
		}
		if !w.lost && w.wantsMember(c) {
			if member == nil {
				member = memberResponse(c.user, c.room, c.kind == userJoined, c.version)
			}
			w.push(member)
		}
	}
}

func watchResponse(p *picture, c change) *presencev1.WatchResponse {
	if c.room != nil {
		return roomResponse(c.room.id, c.count, c.version)
	}
	if c.kind == userOffline {
		return userResponse(&presencev1.OnlineUser{User: wireUser(c.user)}, false, c.version)
	}
	return userResponse(p.onlineUser(c.user), true, c.version)
}

func memberResponse(u *user, r *room, present bool, version uint64) *presencev1.WatchResponse {
	return &presencev1.WatchResponse{
		Change:  &presencev1.WatchResponse_Member{Member: &presencev1.MemberChange{RoomId: r.id, User: wireUser(u), Present: present}},
		Version: version,
	}
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

// wants says whether a change is of the kind asked for and behind the walk.
func (w *watcher) wants(c change) bool {
	if c.room != nil {
		return w.rooms && (w.stage > walkingRooms || c.room.id <= w.at)
	}
	return w.users && w.passed(c.user)
}

// wantsMember says whether who is where is wanted, and the change is of that
// and behind the walk.
func (w *watcher) wantsMember(c change) bool { return w.members && c.room != nil && w.passed(c.user) }

// passed says whether the walk has been at a user.
func (w *watcher) passed(u *user) bool {
	return w.stage > walkingUsers || w.stage == walkingUsers && u.id <= w.at
}

func (w *watcher) push(response *presencev1.WatchResponse) {
	if len(w.queue) >= w.limit {
		w.lost, w.queue = true, nil
	} else {
		w.queue = append(w.queue, response)
	}
	wake(w.woken)
}

// next gives what is to be sent now: what is queued, then the next page.
func (w *watcher) next(p *picture) []*presencev1.WatchResponse {
	batch := w.queue
	w.queue = nil
	left := watchPage
	more := false
	switch w.stage {
	case walkingRooms:
		if w.rooms {
			p.roomsAfter(w.at, func(r *room) bool {
				if more = left == 0; more {
					return false
				}
				left--
				batch = append(batch, roomResponse(r.id, r.members.len(), p.version))
				w.at = r.id
				return true
			})
		}
	case walkingUsers:
		if w.users || w.members {
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
		}
	case following:
		return batch
	}
	if !more {
		w.stage++
		w.at = ""
	}
	if w.stage == following {
		batch = append(batch, &presencev1.WatchResponse{Complete: true, Version: p.version})
	}
	return batch
}

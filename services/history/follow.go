package history

import (
	"errors"
	"fmt"
	"sync"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
)

const (
	// maxPending and maxPendingBytes bound what waits in memory for one
	// follower. A slower one reads from the log instead.
	maxPending      = 256
	maxPendingBytes = 256 << 10
)

// room is one that is followed, by one or more.
type room struct {
	sub       *bus.RoomSubscription
	followers map[*follower]struct{}
}

// follower is what the feed leaves for one replay that follows. What it holds
// is a shortcut past the log and nothing else: whenever it is not certain to
// be all, lost is set, and the replay reads from the log.
type follower struct {
	room string
	// wake holds one signal that there is something to take.
	wake chan struct{}

	mu      sync.Mutex
	pending []bus.Stored
	bytes   int
	lost    bool
	// reach is the greatest seq that is known to be stored.
	reach uint64
}

// follow begins to collect what is stored in a room.
func (s *Service) follow(name string) (*follower, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.feed == nil {
		return nil, errStopping()
	}
	if s.follows >= s.opts.MaxFollows {
		return nil, errs.Missing("history", fmt.Errorf("%d replays follow already", s.follows))
	}
	r := s.rooms[name]
	if r == nil {
		sub, err := s.feed.Subscribe(name)
		if err != nil {
			return nil, errs.Missing("the log", err)
		}
		r = &room{sub: sub, followers: make(map[*follower]struct{})}
		s.rooms[name] = r
	}
	f := &follower{room: name, wake: make(chan struct{}, 1)}
	r.followers[f] = struct{}{}
	s.follows++
	return f, nil
}

func (s *Service) unfollow(f *follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[f.room]
	delete(r.followers, f)
	s.follows--
	if len(r.followers) == 0 {
		r.sub.Stop()
		delete(s.rooms, f.room)
	}
}

func errStopping() error {
	return errs.Missing("history", errors.New("this process is stopping"))
}

// deliver takes in what the feed brings; a worker of the feed calls it and is
// not held up.
func (s *Service) deliver(_ int, batch []bus.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range batch {
		if d.Stored == nil && !d.Lost {
			continue // said and not stored
		}
		r := s.rooms[d.Room]
		if r == nil {
			continue
		}
		for f := range r.followers {
			if d.Lost {
				f.miss(0)
			} else {
				f.put(*d.Stored)
			}
		}
	}
}

// lost tells all followers that anything may have passed them by.
func (s *Service) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rooms {
		for f := range r.followers {
			f.miss(0)
		}
	}
}

func (f *follower) put(e bus.Stored) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reach = max(f.reach, e.Seq)
	size := len(e.Entry.GetContent()) + len(e.Entry.GetData())
	switch {
	case f.lost: // the log will tell
	case len(f.pending) == maxPending || f.bytes+size > maxPendingBytes:
		f.drop()
	default:
		f.pending = append(f.pending, e)
		f.bytes += size
	}
	f.signal()
}

// miss says that not all has come, and that the log holds at least reach.
func (f *follower) miss(reach uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reach = max(f.reach, reach)
	f.drop()
	f.signal()
}

// drop lets go of what is pending; f.mu is held.
func (f *follower) drop() { f.pending, f.bytes, f.lost = nil, 0, true }

func (f *follower) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take gives what is pending, oldest first, or says that the log is to be
// read, at least to reach.
func (f *follower) take() (entries []bus.Stored, lost bool, reach uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries, lost = f.pending, f.lost
	f.pending, f.bytes, f.lost = nil, 0, false
	return entries, lost, f.reach
}

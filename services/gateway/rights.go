package gateway

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

// recheckAgain is when rights are looked at for the second time after a
// reconnect, and how long an attempt that failed is followed by none: the
// registry may have been cut off as well, and be a moment behind.
const recheckAgain = time.Second

// Recheck puts out of their rooms all who may not be there any more, and finds
// out who is muted. What changes while NATS is in reach comes by itself.
func (g *Gateway) Recheck(ctx context.Context) error { return g.sessions.Recheck(ctx) }

// recheck does so whenever NATS was found again.
func (g *Gateway) recheck(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.reconnected:
		}
		for left := 2; left > 0; {
			if err := g.Recheck(ctx); err != nil {
				g.log.Warn("trying again in a moment", "error", err)
			} else {
				left--
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(recheckAgain):
			}
		}
	}
}

// trim has history take all but the newest entries of a room's log away.
func (g *Gateway) trim(ctx context.Context, room string, keep uint32) error {
	_, err := g.opts.History.Trim(ctx, &historyv1.TrimRequest{RoomId: room, Keep: keep})
	return err
}

// standingChanged is called when a user's account was disabled, enabled or
// given other roles.
func (g *Gateway) standingChanged(user string) {
	if g.sessions.Regrade(user) {
		g.regraded.add(user)
	}
}

// regraded are the users with connections here who have other roles now, and
// whose rights in rooms are to be looked at: an admin may be where others may
// not. They are at most as many as there are connections.
type regraded struct {
	mu    sync.Mutex
	users map[string]struct{}
	some  chan struct{} // holds one when there are any
}

func (r *regraded) add(users ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, user := range users {
		r.users[user] = struct{}{}
	}
	select {
	case r.some <- struct{}{}:
	default:
	}
}

func (r *regraded) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	users := slices.Collect(maps.Keys(r.users))
	clear(r.users)
	return users
}

// recheckUsers looks at the rights of those who have other roles now: at once,
// and once more for joins that were under way.
func (g *Gateway) recheckUsers(ctx context.Context) error {
	var again []string
	var later <-chan time.Time
	for {
		var users []string
		select {
		case <-ctx.Done():
			return nil
		case <-g.regraded.some:
			users = g.regraded.take()
			again = append(again, users...)
		case <-later:
			users, again = again, nil
		}
		if err := g.sessions.RecheckUsers(ctx, users); err != nil && ctx.Err() == nil {
			g.log.Warn("trying again in a moment", "error", err)
			again = append(again, users...)
		}
		if later = nil; len(again) > 0 {
			later = time.After(recheckAgain)
		}
	}
}

package session

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/token"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
)

// end is when a connection ends that uses the token from now on; zero for never.
// One that has expired and is accepted all the same, for clocks differ, lets its
// client stay for as long as it is.
func (i *Identity) end(now time.Time) time.Time {
	if i.ExpiresAt.IsZero() || i.ExpiresAt.After(now) {
		return i.ExpiresAt
	}
	return i.ExpiresAt.Add(token.Leeway)
}

// warning is how long before its end a client hears of it: longest, but at most a
// tenth of the token's life, and half of what is left of that.
func (i *Identity) warning(now time.Time, longest time.Duration) time.Duration {
	from := i.IssuedAt
	if from.IsZero() {
		from = now
	}
	return min(longest, i.ExpiresAt.Sub(from)/10, i.ExpiresAt.Sub(now)/2)
}

// expires gives the session the deadline of its token, in place of any other;
// s.mu is held. It has one at a time: first for the warning, then for the end.
func (s *Session) expires(i *Identity, now time.Time) {
	end := i.end(now)
	if end.IsZero() {
		s.hub.deadlines.clear(s)
		return
	}
	ahead := i.warning(now, s.hub.opts.TokenWarning)
	s.warned = ahead <= 0 // there is no time for one, or none is wanted
	s.hub.deadlines.set(s, s.hub.now()+end.Sub(now)-max(ahead, 0))
}

// overdue is called when the session's deadline has come.
func (s *Session) overdue() {
	s.mu.Lock()
	who := s.identity
	if s.ended || s.hub.deadlines.has(s) || who != nil && who.ExpiresAt.IsZero() {
		// It has signed in, or brought a newer token, at the last moment.
		s.mu.Unlock()
		return
	}
	if who == nil && s.mayBecomeGuest() {
		// In the lane, in front of what it says in the lobby from now on, for the
		// reading goroutine waits for the client. There is room: it has asked for
		// nothing.
		s.lane.add(ids.Lobby, s.becomeSilentGuest)
		s.mu.Unlock()
		return
	}
	if who == nil {
		s.mu.Unlock()
		s.close(conn.Policy, "not authenticated in time")
		return
	}
	left := time.Until(who.ExpiresAt)
	if left <= 0 {
		s.mu.Unlock()
		s.close(conn.TokenExpired, "the token has expired")
		return
	}
	warn := !s.warned
	s.warned = true
	s.hub.deadlines.set(s, s.hub.now()+left)
	s.mu.Unlock()
	if warn {
		s.reply(nil, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_TokenExpiring{TokenExpiring: &wirev1.TokenExpiring{
			ExpiresAt: timestamppb.New(who.ExpiresAt),
		}}})
	}
}

package session

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
	"github.com/parley-im/parley/services/gateway/internal/hook"
)

// Guests says what those may who have not signed in. What they may in a room
// is its policy's (package rights), as for every account with the role guest.
type Guests struct {
	// Welcome lets them in.
	Welcome bool
	// Max is how many there may be at once.
	Max int
	// RateLimit and RateBurst are as those of everybody, and hold beside them; a
	// rate of 0 is no other than that.
	RateLimit float64
	RateBurst int
	// MaxContent is bytes, of content and of data.
	MaxContent int
}

// guestRequests are what guests may ask for; the rest takes an account.
var guestRequests = []string{
	"configure", "join-room", "leave-room", "chat", "chat-message", "room-message", "signal", "edit-message", "delete-message",
	"get-history", "get-rooms", "get-room-info", "get-room-members", "get-online-users", "get-presence",
}

// guest says whether an account may only what guests may.
func (i *Identity) guest() bool { return i.HasRole(rights.RoleGuest) && !i.HasRole(RoleAdmin) }

// madeUp says whether a guest's identity was made up here, and not told by a
// token.
func (i *Identity) madeUp() bool { return strings.HasPrefix(i.User.Id, ids.GuestPrefix) }

// newGuest makes up somebody.
func newGuest() *Identity {
	id := ids.New(ids.GuestPrefix)
	// The name is for people, and only the id is nobody else's.
	name := "Guest-" + id[len(id)-6:]
	return &Identity{User: &wirev1.User{Id: id, Username: name}, Roles: []string{rights.RoleGuest}, IssuedAt: time.Now()}
}

// tries notes that the client means to sign in: it does not become a guest any
// more, whatever comes of it.
func (s *Session) tries() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried = true
}

// mayBecomeGuest says whether whoever is not signed in becomes a guest; s.mu is
// held.
func (s *Session) mayBecomeGuest() bool {
	return s.hub.opts.Guests.Welcome && s.identity == nil && !s.tried && !s.leaving
}

// becomeGuest makes a connection that has not tried to sign in a guest's. It
// does nothing where it is somebody's already.
func (s *Session) becomeGuest(ctx context.Context) error {
	s.mu.Lock()
	may := s.mayBecomeGuest()
	s.mu.Unlock()
	if !may {
		return nil
	}
	if s.hub.guests.Load() >= int64(s.hub.opts.Guests.Max) {
		return &errs.Error{Code: errs.Unavailable, Message: "there are too many guests; sign in, with auth", RetryAfter: errs.DefaultRetryAfter}
	}
	identity, err := s.mayConnect(ctx, newGuest(), false)
	if err != nil {
		return err
	}
	session := ids.New("s_")
	first, err := s.adopt(ctx, identity, session, nil, true)
	if err != nil || !first {
		return err
	}
	s.log.of(ctx, slog.LevelInfo, "became a guest", "user", identity.User.Id, "session", session, "remote", s.conn.RemoteAddr(), "agent", s.conn.UserAgent())
	s.welcomed(nil, identity)
	return nil
}

// becomeSilentGuest is for who has said nothing for as long as one may who is
// not signed in.
func (s *Session) becomeSilentGuest() {
	if s.hub.opts.Hook.Asks(hook.Connect) {
		s.lane.add("", s.welcomeSilent) // others' deadlines do not wait for it
		return
	}
	s.welcomeSilent()
}

func (s *Session) welcomeSilent() {
	if err := s.becomeGuest(context.Background()); err != nil {
		s.log.Debug("a silent client does not become a guest", "error", err)
		s.close(conn.Policy, "not authenticated in time")
	}
}

// countGuest counts those whose identity was made up.
func (h *Hub) countGuest(i *Identity, n int64) {
	if i.madeUp() {
		h.guests.Add(n)
	}
}

// notForGuests refuses what takes an account.
func (s *Session) notForGuests() error {
	if who := s.who(); who != nil && who.guest() {
		return errs.New(errs.Forbidden, "guests may not do this; sign in on another connection")
	}
	return nil
}

// most is how many bytes of content or data the user may send at once, where
// those who have signed in may send limit.
func (s *Session) most(limit int) int {
	if who := s.who(); who != nil && who.guest() {
		return min(limit, s.hub.opts.Guests.MaxContent)
	}
	return limit
}

package session

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
	"github.com/parley-im/parley/services/gateway/internal/fanout"
)

var authCommand = &command{
	anonymous: true, signsIn: true,
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		if f.GetAuth().Token == "" {
			return errs.Invalid("token", "is missing")
		}
		return nil
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		s.authenticate(ctx, f.Id, f.GetAuth().Token)
		return nil
	},
}

// authenticate signs the connection in with a token, or gives it a newer one.
// A token that is not good closes it.
func (s *Session) authenticate(ctx context.Context, id *string, token string) {
	identity, err := s.hub.opts.Authenticate(token)
	if err == nil {
		switch now := s.who(); {
		case now == nil:
			identity, err = s.mayConnect(ctx, identity, false)
		case now.User.Id != identity.User.Id:
			err = errs.New(errs.Forbidden, "the token is another user's")
			if now.madeUp() {
				err = errs.New(errs.Forbidden, "a guest signs in on another connection")
			}
		case now.renamed:
			identity = identity.named(now.User.Username)
		}
	}
	if errs.CodeOf(err) == errs.Unavailable {
		// The token may be good; its bearer can try again here.
		s.failed(ctx, id, err)
		return
	}
	if err != nil {
		s.refuse(ctx, id, err)
		return
	}
	session := ids.New("s_")
	first, err := s.adopt(ctx, identity, session, nil, false)
	if err != nil {
		s.failed(ctx, id, err)
		return
	}
	if first {
		s.log.of(ctx, slog.LevelInfo, "signed in", "user", identity.User.Id, "session", session, "remote", s.conn.RemoteAddr(), "agent", s.conn.UserAgent())
	}
	s.welcomed(id, identity)
}

// welcomed tells the client who it is.
func (s *Session) welcomed(id *string, identity *Identity) {
	s.reply(id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_AuthSuccess{AuthSuccess: &wirev1.AuthSuccess{
		User:        s.who().account(),
		SessionId:   s.SessionID(),
		ResumeToken: s.resumeToken(),
		ExpiresAt:   timestamp(identity.ExpiresAt),
	}}})
}

// refuse answers a token that is not good and ends the connection.
func (s *Session) refuse(ctx context.Context, id *string, err error) {
	e := errs.From(err)
	s.log.of(ctx, slog.LevelInfo, "refused", "remote", s.conn.RemoteAddr(), "agent", s.conn.UserAgent(), "error", err)
	s.hub.countFailure(e.Code)
	s.reply(id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_AuthFailed{AuthFailed: &wirev1.AuthFailed{
		Code: string(e.Code), Message: e.Message,
	}}})
	s.close(conn.Policy, "authentication failed")
}

// adopt makes the connection a user's: it enters the directory and the lobby
// and is announced. On a connection that is signed in already it only takes
// the newer token. first says which it was. A guest's it becomes only where it
// still may (mayBecomeGuest); otherwise nothing is done. One connection too many
// of its user is closed.
func (s *Session) adopt(ctx context.Context, identity *Identity, session string, rooms []string, guest bool) (first bool, err error) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return false, errs.New(errs.Unauthenticated, "the connection has ended")
	}
	if guest && !s.mayBecomeGuest() {
		s.mu.Unlock()
		return false, nil
	}
	first = s.identity == nil
	if first && !s.hub.directory.add(s, identity) {
		s.mu.Unlock()
		s.close(conn.TooMany, "too many connections of this user")
		return false, &errs.Error{Code: errs.RateLimited, Message: "too many connections of this user", RetryAfter: errs.DefaultRetryAfter}
	}
	var roles []string
	if !first {
		roles = s.identity.Roles
	}
	s.identity = identity
	if first {
		s.session = session
		if s.signedAt.IsZero() { // a resume has set it
			s.signedAt = time.Now()
		}
	}
	s.expires(identity, time.Now())
	signedAt := s.signedAt
	s.mu.Unlock()
	if first {
		s.hub.countGuest(identity, 1)
		s.hub.strangers.remove(s)
	}
	// A revocation or a change of roles between the check of the token and this
	// moment would have found the connection without it.
	identity = s.regrade()
	if err := s.hub.opts.Revoked(identity); err != nil {
		s.closeVoid(err)
		return first, err
	}
	if !first {
		if !slices.Equal(roles, identity.Roles) {
			s.reconsider()
		}
		return false, nil
	}
	s.mu.Lock()
	s.announced = true
	s.mu.Unlock()
	s.hub.opts.Announcer.Online(session, identity.User, signedAt, rooms)
	if s.hub.opts.Lobby {
		ctx, cancel := context.WithTimeout(ctx, s.hub.opts.CommandTimeout)
		defer cancel()
		place, err := s.hub.opts.Rooms.Join(ctx, fanout.Request{Room: ids.Lobby, Member: s, Silent: true})
		if err != nil {
			// The rest goes on: only `chat` needs the lobby.
			s.log.of(ctx, slog.LevelWarn, "entering the lobby", "error", err)
		} else {
			s.enter(ctx, place.Membership)
			s.askLobby(place.Membership)
		}
	}
	return true, nil
}

// reconsider has the rooms look at what the session may there: its account's
// roles are others with the newer token.
func (s *Session) reconsider() {
	s.mu.Lock()
	rooms := slices.Clone(s.rooms)
	s.mu.Unlock()
	for _, place := range rooms {
		s.hub.opts.Rooms.Reconsider(place)
	}
}

// regrade puts the roles in force on a session that is signed in.
func (s *Session) regrade() *Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	if roles := s.hub.opts.RolesInForce(s.identity); !slices.Equal(roles, s.identity.Roles) {
		changed := *s.identity // others may be reading it
		changed.Roles = roles
		s.identity = &changed
	}
	return s.identity
}

// closeVoid ends the connection of a user who may not be signed in any more,
// by what Revoked says.
func (s *Session) closeVoid(err error) {
	switch errs.CodeOf(err) {
	case "":
	case errs.Forbidden:
		s.close(conn.Disabled, "the account is disabled")
	default:
		s.close(conn.SessionRevoked, "the sign-in was revoked")
	}
}

// enter notes a room that the session is in.
func (s *Session) enter(ctx context.Context, place *fanout.Membership) {
	s.mu.Lock()
	ended := s.ended
	// One that was put out already, before it was noted, has been told.
	if !ended && !place.IsOut() {
		s.rooms.put(place)
	}
	s.mu.Unlock()
	if ended {
		s.hub.opts.Rooms.Leave(ctx, place)
	}
}

func (i *Identity) account() *wirev1.Account {
	return &wirev1.Account{Id: i.User.Id, Username: i.User.Username, Roles: i.Roles}
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

package auth

import (
	"context"
	"errors"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

func (s *Service) revoke(ctx context.Context, records *store, q *authv1.RevokeRequest) (*authv1.RevokeResponse, error) {
	var revoked int
	var err error
	switch what := q.What.(type) {
	case *authv1.RevokeRequest_SessionId:
		if what.SessionId == "" {
			return nil, errs.Invalid("sessionId", "is missing")
		}
		if user, _ := userOf(what.SessionId); q.OwnerId != "" && q.OwnerId != user {
			return nil, errs.New(errs.NotFound, "no such sign-in")
		}
		revoked, err = s.end(ctx, records, what.SessionId)
	case *authv1.RevokeRequest_RefreshToken:
		if what.RefreshToken == "" {
			return nil, errs.Invalid("refreshToken", "is missing")
		}
		revoked, err = s.endByRefresh(ctx, records, what.RefreshToken, q.All)
	case *authv1.RevokeRequest_Token:
		if what.Token == "" {
			return nil, errs.Invalid("token", "is missing")
		}
		revoked, err = s.endByToken(ctx, records, what.Token, q.All)
	case *authv1.RevokeRequest_UserId:
		if err := ids.CheckUser("userId", what.UserId); err != nil {
			return nil, err
		}
		revoked, err = s.endAll(ctx, records, what.UserId)
	default:
		return nil, errs.Invalid("sessionId", "is missing, and so are refreshToken, token and userId")
	}
	if err != nil {
		return nil, err
	}
	return &authv1.RevokeResponse{Revoked: uint32(revoked)}, nil
}

// end ends one sign-in and tells everyone; 1 when it was this call that did.
//
// The revocation is written before the record is deleted: whoever is cut off
// in between finds the record there, and ends it again.
func (s *Service) end(ctx context.Context, records *store, sid string) (int, error) {
	ended, err := s.remove(ctx, records, sid)
	if ended == 0 || err != nil {
		return 0, err
	}
	user, _ := userOf(sid) // it had a record
	s.tell(user, revoked(&busv1.SessionRevoked{SignInId: sid, BeforeMs: time.Now().UnixMilli()}))
	return 1, nil
}

func (s *Service) remove(ctx context.Context, records *store, sid string) (int, error) {
	marked := false
	for range conflicts {
		in, err := records.signIn(ctx, sid)
		if errors.Is(err, bus.ErrNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		if !marked {
			if err := s.revocations.RevokeSession(ctx, sid); err != nil {
				return 0, missing("the sign-ins", err)
			}
			marked = true
		}
		err = records.deleteSignIn(ctx, sid, in.revision)
		if err == nil {
			return 1, nil
		}
		if !errors.Is(err, bus.ErrConflict) {
			return 0, err
		}
	}
	return 0, errs.Missing("the sign-ins", bus.ErrConflict)
}

// endByRefresh ends the sign-in of a refresh token, or all of its user. It need
// not be the newest: a client whose last answer was lost must be able to sign
// out. But an old copy in somebody's hands is no word of the user's on the
// others.
func (s *Service) endByRefresh(ctx context.Context, records *store, refresh string, all bool) (int, error) {
	sid, number, ok := parseRefresh(*s.refreshKey.Load(), refresh)
	if !ok {
		return 0, errs.Invalid("refreshToken", "is not valid")
	}
	if !all {
		return s.end(ctx, records, sid)
	}
	in, err := records.signIn(ctx, sid)
	if errors.Is(err, bus.ErrNotFound) || err == nil && (number > in.Rotation || number+1 < in.Rotation) {
		err = errRefresh
	}
	if err != nil {
		return 0, err
	}
	return s.endAll(ctx, records, in.UserID)
}

// endByToken ends the sign-in of an access token, or all of its user. One that
// has expired still says which sign-in to end, but not more.
func (s *Service) endByToken(ctx context.Context, records *store, raw string, all bool) (int, error) {
	if !all {
		claims, err := s.verifier.VerifyEnded(raw)
		if errs.CodeOf(err) == errs.Unavailable {
			return 0, err
		}
		if err != nil {
			return 0, errs.Invalid("token", "is not valid")
		}
		return s.end(ctx, records, claims.SessionID)
	}
	claims, err := s.current(raw)
	if err != nil {
		return 0, err
	}
	return s.endAll(ctx, records, claims.UserID)
}

// endAll ends all sign-ins of a user, and voids the tokens of those that are
// not listed: what another issuer made, or a replica is making right now.
func (s *Service) endAll(ctx context.Context, records *store, user string) (int, error) {
	before := time.Now()
	if err := s.revocations.RevokeUser(ctx, user, before); err != nil {
		return 0, missing("the sign-ins", err)
	}
	list, err := records.signInsOf(ctx, user)
	if err != nil {
		return 0, err
	}
	ended := 0
	for _, sid := range list {
		n, err := s.remove(ctx, records, sid)
		if err != nil {
			return ended, err
		}
		ended += n
	}
	s.tell(user, revoked(&busv1.SessionRevoked{BeforeMs: before.UnixMilli()}))
	return ended, nil
}

// endOthers ends all sign-ins of a user but one, "" for none. Tokens that others
// issue are not touched.
func (s *Service) endOthers(ctx context.Context, records *store, user, kept string) (int, error) {
	list, err := records.signInsOf(ctx, user)
	if err != nil {
		return 0, err
	}
	ended := 0
	for _, sid := range list {
		if sid == kept {
			continue
		}
		n, err := s.end(ctx, records, sid)
		if err != nil {
			return ended, err
		}
		ended += n
	}
	return ended, nil
}

// tell speaks to the user's connections. It may be lost, so gateways do not
// wait for it: they watch the revocations and standings.
func (s *Service) tell(user string, event *busv1.UserEvent) {
	if err := s.opts.Bus.PublishUser(user, event); err != nil {
		s.log.Warn("telling a user's connections", "user", user, "error", err)
	}
}

func revoked(r *busv1.SessionRevoked) *busv1.UserEvent {
	return &busv1.UserEvent{Event: &busv1.UserEvent_SessionRevoked{SessionRevoked: r}}
}

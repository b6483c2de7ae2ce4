package auth

import (
	"context"
	"errors"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

// errWrongPassword is for who has a token: that the account exists is no news.
var errWrongPassword = &errs.Error{Code: errs.Forbidden, Field: "password", Message: "password: is wrong"}

// changePassword asks for the old password too: a token may be in the hands of
// somebody who found a device unlocked. It is counted as a guess.
func (s *Service) changePassword(ctx context.Context, records *store, q *authv1.ChangePasswordRequest) (*authv1.ChangePasswordResponse, error) {
	if q.Token == "" {
		return nil, errs.Invalid("token", "is missing")
	}
	if err := checkPassword("password", q.Password); err != nil {
		return nil, err
	}
	if err := checkNewPassword("newPassword", q.NewPassword, s.opts.MinPasswordLength); err != nil {
		return nil, err
	}
	claims, err := s.current(q.Token)
	if err != nil {
		return nil, err
	}
	if claims.SessionID == "" {
		return nil, errs.New(errs.Forbidden, "this token's issuer keeps the password")
	}
	in, err := records.signIn(ctx, claims.SessionID)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, errs.New(errs.Unauthenticated, "this sign-in has ended")
	}
	if err != nil {
		return nil, err
	}
	a, err := s.holder(ctx, records, in.UserID, in.Username)
	if err == nil && !a.has(claims.SessionID, in) {
		err = errs.New(errs.Unauthenticated, "this sign-in has ended")
	}
	if err != nil {
		return nil, err
	}
	match, _, err := s.guess(ctx, a, a.Username, q.Password, q.Client)
	if err == nil && !match {
		err = errWrongPassword
	}
	if err != nil {
		return nil, err
	}
	hash, err := s.hasher.hash(ctx, q.NewPassword)
	if err != nil {
		return nil, err
	}
	old := a.Password
	a, err = s.change(ctx, records, a.ID, func(a *account) error {
		if a.Password != old || a.Disabled { // somebody else was faster
			return errWrongPassword
		}
		a.newPassword(hash, claims.SessionID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	ended, err := s.endOthers(ctx, records, a.ID, claims.SessionID)
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "password changed", "user", a.ID, "sessions_ended", ended)
	return &authv1.ChangePasswordResponse{Revoked: uint32(ended)}, nil
}

func (s *Service) setPassword(ctx context.Context, records *store, q *authv1.SetPasswordRequest) (*authv1.User, error) {
	if err := checkNewPassword("password", q.Password, s.opts.MinPasswordLength); err != nil {
		return nil, err
	}
	hash, err := s.hasher.hash(ctx, q.Password)
	if err != nil {
		return nil, err
	}
	a, err := s.change(ctx, records, q.UserId, func(a *account) error {
		a.newPassword(hash, "")
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := s.endOthers(ctx, records, a.ID, ""); err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "password set", "user", a.ID)
	return a.user(), nil
}

// newPassword voids all sign-ins but one, and forgets where the old password
// was right from: it may have been known to somebody else.
func (a *account) newPassword(hash, kept string) {
	a.Password, a.Kept, a.Places = hash, kept, nil
	a.Generation++
}

// guess checks a password that somebody claims to be an account's, as often as
// guesses let it. Errors: rate-limited.
func (s *Service) guess(ctx context.Context, a *account, username, password string, from *authv1.Client) (match, outdated bool, err error) {
	place := placeOf(from)
	end, wait := s.guesses.begin(username, place, a.knows(place), time.Now())
	if wait > 0 {
		return false, false, rateLimited("too many wrong passwords", wait)
	}
	result := unknown
	defer func() { end(result) }()
	match, outdated, err = s.hasher.check(ctx, password, a.Password)
	if err != nil {
		return false, false, err
	}
	result = wrong
	if match {
		result = right
	}
	return match, outdated, nil
}

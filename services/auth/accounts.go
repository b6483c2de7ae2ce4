package auth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

const roleUser = "user"

// errWrong is the one answer to an unknown username and to a wrong password.
var errWrong = errs.New(errs.Unauthenticated, "username or password is wrong")

func (s *Service) register(ctx context.Context, records *store, q *authv1.RegisterRequest) (*authv1.SignedIn, error) {
	if s.opts.Registration == Closed {
		return nil, errs.New(errs.Forbidden, "registration is closed, ask an administrator for an account")
	}
	username, err := ids.Username("username", q.Username)
	if err != nil {
		return nil, err
	}
	if err := checkNewPassword("password", q.Password, s.opts.MinPasswordLength); err != nil {
		return nil, err
	}
	if err := s.admit(q.Client); err != nil {
		return nil, err
	}
	byInvite := s.opts.Registration == ByInvite
	if byInvite {
		// First: who has no code learns nothing about usernames.
		if err := s.checkInvite(ctx, records, q.InviteCode); err != nil {
			return nil, err
		}
	}
	if err := s.free(ctx, records, username); err != nil {
		return nil, err
	}
	if byInvite {
		if err := s.useInvite(ctx, records, q.InviteCode, -1); err != nil {
			return nil, err
		}
	}
	a, err := s.newAccount(ctx, records, username, q.Password, roleUser)
	if err != nil {
		// Of any other error it is not known whether there is an account now.
		if code := errs.CodeOf(err); byInvite && (code == errs.AlreadyExists || code == errs.RateLimited) {
			if err := s.useInvite(ctx, records, q.InviteCode, +1); err != nil {
				s.log.WarnContext(ctx, "giving a use of an invite code back", "error", err)
			}
		}
		return nil, err
	}
	return s.signIn(ctx, records, a, q.Client, "register")
}

// free says whether a username can be taken. It spares the work of hashing; what
// decides is the creation.
func (s *Service) free(ctx context.Context, records *store, username string) error {
	a, err := records.account(ctx, username)
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	if err == nil {
		// Who made it may have been cut off before its id was known.
		err = records.index(ctx, a)
	}
	if err == nil {
		err = errTaken
	}
	return err
}

var errTaken = &errs.Error{Code: errs.AlreadyExists, Field: "username", Message: "username: is taken"}

// newAccount makes an account. Errors: already-exists.
func (s *Service) newAccount(ctx context.Context, records *store, username, password string, roles ...string) (*account, error) {
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return nil, err
	}
	a := &account{
		ID:        ids.New("u_"),
		Username:  username,
		Roles:     roles,
		Password:  hash,
		CreatedMs: time.Now().UnixMilli(),
	}
	err = records.createAccount(ctx, a)
	if errors.Is(err, bus.ErrExists) {
		return nil, errTaken
	}
	if err != nil {
		return nil, err
	}
	s.metrics.registrations.Add(ctx, 1)
	return a, nil
}

func (s *Service) login(ctx context.Context, records *store, q *authv1.LoginRequest) (*authv1.SignedIn, error) {
	username, err := ids.Username("username", q.Username)
	if err != nil {
		return nil, err
	}
	if err := checkPassword("password", q.Password); err != nil {
		return nil, err
	}
	if err := s.admit(q.Client); err != nil {
		return nil, err
	}
	a, err := records.account(ctx, username)
	if errors.Is(err, bus.ErrNotFound) && s.opts.AutoRegister && s.opts.Registration == Open {
		if err := checkNewPassword("password", q.Password, s.opts.MinPasswordLength); err != nil {
			return nil, err
		}
		a, err = s.newAccount(ctx, records, username, q.Password, roleUser)
		if err == nil {
			return s.signIn(ctx, records, a, q.Client, "login")
		}
		if errs.CodeOf(err) == errs.AlreadyExists { // since we looked
			a, err = records.account(ctx, username)
		}
	}
	if errors.Is(err, bus.ErrNotFound) {
		a, err = &account{}, nil // whose password is never right
	}
	if err != nil {
		return nil, err
	}
	match, outdated, err := s.guess(ctx, a, username, q.Password, q.Client)
	if err != nil {
		return nil, err
	}
	if !match {
		return nil, errWrong
	}
	if a.Disabled { // only who knows the password learns of it
		return nil, errs.New(errs.Forbidden, "this account is disabled")
	}
	s.renew(ctx, records, a, q, outdated)
	if err := records.index(ctx, a); err != nil {
		return nil, err
	}
	return s.signIn(ctx, records, a, q.Client, "login")
}

// renew notes on an account what a right password has shown: where it came
// from, and, where the hash is outdated, the password for one of today's making.
// The next sign-in tries again where it fails.
func (s *Service) renew(ctx context.Context, records *store, a *account, q *authv1.LoginRequest, outdated bool) {
	place := placeOf(q.Client)
	if a.knows(place) && !outdated {
		return
	}
	renewed := *a
	var err error
	if outdated {
		renewed.Password, err = s.hasher.hash(ctx, q.Password)
	}
	if err == nil {
		renewed.know(place)
		err = records.updateAccount(ctx, &renewed)
	}
	if err != nil && !errors.Is(err, bus.ErrConflict) {
		s.log.WarnContext(ctx, "renewing an account", "user", a.ID, "error", err)
	}
}

// knows says whether the account's password was right from a place lately.
// Where a caller tells no place, there is none to tell apart, nor an account
// from one that does not exist.
func (a *account) knows(place string) bool {
	return place == "" || slices.Contains(a.Places, placeMark(a.ID, place))
}

// know remembers a place, in place of the oldest one.
func (a *account) know(place string) {
	if a.knows(place) {
		return
	}
	a.Places = append(a.Places[max(0, len(a.Places)-maxPlaces+1):len(a.Places):len(a.Places)], placeMark(a.ID, place))
}

// admit counts an attempt from the client's address; a caller that tells none
// is trusted to limit by itself.
func (s *Service) admit(client *authv1.Client) error {
	key := placeOf(client)
	if key == "" {
		return nil
	}
	if ok, wait := s.addresses.Allow(key); !ok {
		return rateLimited("too many sign-ins from this address", wait)
	}
	return nil
}

package auth

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/limit"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

const roleUser = "user"

// errWrong is the one answer to an unknown username and to a wrong password.
var errWrong = errs.New(errs.Unauthenticated, "username or password is wrong")

func (s *Service) register(ctx context.Context, records *store, q *authv1.RegisterRequest) (*authv1.SignedIn, error) {
	username, err := ids.Username("username", q.Username)
	if err != nil {
		return nil, err
	}
	if err := checkNewPassword(q.Password, s.opts.MinPasswordLength); err != nil {
		return nil, err
	}
	if err := s.admit(q.Client); err != nil {
		return nil, err
	}
	// Spares the work of hashing; what decides is the creation.
	if _, err := records.account(ctx, username); !errors.Is(err, bus.ErrNotFound) {
		if err == nil {
			err = errTaken
		}
		return nil, err
	}
	a, err := s.newAccount(ctx, records, username, q.Password)
	if err != nil {
		return nil, err
	}
	return s.signIn(ctx, records, a, q.Client, "register")
}

var errTaken = &errs.Error{Code: errs.AlreadyExists, Field: "username", Message: "username: is taken"}

// newAccount makes an account. Errors: already-exists.
func (s *Service) newAccount(ctx context.Context, records *store, username, password string) (*account, error) {
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return nil, err
	}
	a := &account{
		ID:        ids.New("u_"),
		Username:  username,
		Roles:     []string{roleUser},
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
	if err := checkPassword(q.Password); err != nil {
		return nil, err
	}
	if err := s.admit(q.Client); err != nil {
		return nil, err
	}
	if wait := s.guesses.wait(username, time.Now()); wait > 0 {
		return nil, rateLimited("too many wrong passwords", wait)
	}
	a, err := records.account(ctx, username)
	if errors.Is(err, bus.ErrNotFound) && s.opts.AutoRegister {
		if err := checkNewPassword(q.Password, s.opts.MinPasswordLength); err != nil {
			return nil, err
		}
		a, err = s.newAccount(ctx, records, username, q.Password)
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
	match, outdated, err := s.hasher.check(ctx, q.Password, a.Password)
	if err != nil {
		return nil, err
	}
	if !match {
		s.guesses.wrong(username, time.Now())
		return nil, errWrong
	}
	if a.Disabled { // only who knows the password learns of it
		return nil, errs.New(errs.Forbidden, "this account is disabled")
	}
	if outdated {
		s.rehash(ctx, records, a, q.Password)
	}
	if err := records.index(ctx, a); err != nil {
		return nil, err
	}
	return s.signIn(ctx, records, a, q.Client, "login")
}

// rehash replaces a password's hash by one of today's making. The next sign-in
// tries again where it fails.
func (s *Service) rehash(ctx context.Context, records *store, a *account, password string) {
	hash, err := s.hasher.hash(ctx, password)
	if err == nil {
		renewed := *a
		renewed.Password = hash
		err = records.updateAccount(ctx, &renewed)
	}
	if err != nil {
		s.log.Warn("renewing a password's hash", "user", a.ID, "error", err)
	}
}

// admit counts an attempt from the client's address; a caller that tells none
// is trusted to limit by itself.
func (s *Service) admit(client *authv1.Client) error {
	key := client.GetAddress()
	if key == "" {
		return nil
	}
	if address, err := netip.ParseAddr(key); err == nil {
		key = limit.AddressKey(address)
	}
	if ok, wait := s.addresses.Allow(key); !ok {
		return rateLimited("too many sign-ins from this address", wait)
	}
	return nil
}

func (s *Service) getUser(ctx context.Context, records *store, q *authv1.GetUserRequest) (*authv1.User, error) {
	var a *account
	var err error
	switch who := q.Who.(type) {
	case *authv1.GetUserRequest_Id:
		if err := ids.CheckUser("id", who.Id); err != nil {
			return nil, err
		}
		a, err = records.accountOf(ctx, who.Id)
	case *authv1.GetUserRequest_Username:
		username, invalid := ids.Username("username", who.Username)
		if invalid != nil {
			return nil, invalid
		}
		a, err = records.account(ctx, username)
	default:
		return nil, errs.Invalid("id", "is missing, and so is username")
	}
	if errors.Is(err, bus.ErrNotFound) {
		return nil, errs.New(errs.NotFound, "no such user")
	}
	if err != nil {
		return nil, err
	}
	return a.user(), nil
}

package auth

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/token"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

const (
	maxTouch     = 1000
	touchWorkers = 16
	// conflicts is how often a change of a record is tried anew after another
	// one came between; each time somebody else's has gone through.
	conflicts = 10
)

// errRefresh answers every refresh token that is no good.
var errRefresh = errs.New(errs.Unauthenticated, "refresh token is not valid")

// signIn makes a sign-in for an account whose owner has shown to be who they
// say.
//
// The account is read again when the record is there: who has given it a new
// password or disabled it meanwhile has either found this sign-in and ended it,
// or is found here.
func (s *Service) signIn(ctx context.Context, records *store, a *account, from *authv1.Client, method string) (*authv1.SignedIn, error) {
	now := time.Now()
	sid := newSID(a.ID)
	in := &signIn{
		UserID:     a.ID,
		Username:   a.Username,
		CreatedMs:  now.UnixMilli(),
		Generation: a.Generation,
	}
	in.use(from, now)
	if err := records.createSignIn(ctx, sid, in); err != nil {
		return nil, err
	}
	a, err := records.account(ctx, a.Username)
	if err == nil && !a.has(sid, in) {
		err = errWrong
	}
	if err != nil {
		_ = records.deleteSignIn(ctx, sid, in.revision) // nobody has a token of it
		return nil, err
	}
	return s.issue(ctx, a, sid, in.Rotation, method)
}

// use notes that, and from where, a sign-in is used.
func (in *signIn) use(from *authv1.Client, now time.Time) {
	const maxAddress, maxAgent = 64, 256 // bytes
	in.UsedMs = now.UnixMilli()
	if address := from.GetAddress(); address != "" {
		in.Address = cut(address, maxAddress)
	}
	if agent := from.GetUserAgent(); agent != "" {
		in.UserAgent = cut(agent, maxAgent)
	}
}

func cut(text string, size int) string {
	if len(text) > size {
		text = text[:size]
	}
	return strings.ToValidUTF8(text, "")
}

// issue writes a token. The sign-in's record was written before, and so
// outlives it.
func (s *Service) issue(ctx context.Context, a *account, sid string, rotation uint64, method string) (*authv1.SignedIn, error) {
	now := time.Now()
	expires := now.Add(s.opts.TokenTTL).Truncate(time.Second)
	signed, err := s.keys.current.Load().Sign(token.Claims{
		UserID:    a.ID,
		SessionID: sid,
		Username:  a.Username,
		Roles:     a.Roles,
		IssuedAt:  now,
		ExpiresAt: expires,
	})
	if err != nil {
		return nil, err
	}
	s.metrics.signedIn(ctx, method)
	return &authv1.SignedIn{
		Token:        signed,
		RefreshToken: refreshToken(*s.refreshKey.Load(), sid, rotation),
		ExpiresAt:    timestamppb.New(expires),
		User:         a.user(),
		SessionId:    sid,
	}, nil
}

// refresh rotates a sign-in's refresh token. One that was used before is a copy
// in somebody's hands, its owner's or a thief's, and nobody can tell who has the
// newer one: the sign-in ends (RFC 9700, section 4.14.2).
//
// But an answer may have been lost, and two windows of one browser refresh at
// the same time. So the one before the newest is answered again for a short
// while, with the same next token: who asks twice has gained nothing by it. A
// thief who is as fast is found out at the refresh after that.
func (s *Service) refresh(ctx context.Context, records *store, q *authv1.RefreshRequest) (*authv1.SignedIn, error) {
	if q.RefreshToken == "" {
		return nil, errs.Invalid("refreshToken", "is missing")
	}
	sid, number, ok := parseRefresh(*s.refreshKey.Load(), q.RefreshToken)
	if !ok {
		return nil, errRefresh
	}
	for range conflicts {
		in, err := records.signIn(ctx, sid)
		if errors.Is(err, bus.ErrNotFound) {
			return nil, errRefresh
		}
		if err != nil {
			return nil, err
		}
		now := time.Now()
		again := s.opts.RefreshGrace > 0 && number+1 == in.Rotation && now.Sub(time.UnixMilli(in.RotatedMs)) <= s.opts.RefreshGrace
		switch {
		case number > in.Rotation: // of what a restore has undone
			return nil, errRefresh
		case number < in.Rotation && !again:
			s.log.WarnContext(ctx, "a refresh token was used twice, its sign-in ends", "user", in.UserID, "session", sid)
			if _, err := s.end(ctx, records, sid); err != nil {
				return nil, err
			}
			return nil, errRefresh
		}
		a, err := s.holder(ctx, records, in.UserID, in.Username)
		if err == nil && !a.has(sid, in) {
			err = errRefresh
		}
		if err != nil {
			return nil, err
		}
		if again {
			return s.issue(ctx, a, sid, in.Rotation, "refresh")
		}
		in.Rotation++
		in.RotatedMs = now.UnixMilli()
		in.use(q.Client, now)
		err = records.updateSignIn(ctx, sid, in)
		if errors.Is(err, bus.ErrConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return s.issue(ctx, a, sid, in.Rotation, "refresh")
	}
	return nil, errs.Missing("the sign-ins", bus.ErrConflict)
}

// holder reads the account behind a sign-in or token of ours. Errors:
// unauthenticated, when it may not be used any more.
func (s *Service) holder(ctx context.Context, records *store, user, username string) (*account, error) {
	a, err := records.account(ctx, username)
	switch {
	case errors.Is(err, bus.ErrNotFound) || err == nil && a.ID != user:
		return nil, errs.New(errs.Unauthenticated, "the account is gone")
	case err != nil:
		return nil, err
	case a.Disabled:
		return nil, errs.New(errs.Unauthenticated, "the account is disabled")
	}
	return a, nil
}

// touch writes sign-ins' records anew, from which their time counts.
func (s *Service) touch(ctx context.Context, records *store, q *authv1.TouchRequest) (*authv1.TouchResponse, error) {
	if len(q.SessionIds) > maxTouch {
		return nil, errs.Invalid("sessionIds", "are more than %d", maxTouch)
	}
	next := make(chan string)
	failed := make(chan error, touchWorkers)
	var wg sync.WaitGroup
	for range min(touchWorkers, len(q.SessionIds)) {
		wg.Go(func() {
			var first error
			for sid := range next {
				if first == nil { // the rest would only wait for the same
					first = s.touchOne(ctx, records, sid)
				}
			}
			failed <- first
		})
	}
	for _, sid := range q.SessionIds {
		next <- sid
	}
	close(next)
	wg.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return nil, err
		}
	}
	return &authv1.TouchResponse{}, nil
}

func (s *Service) touchOne(ctx context.Context, records *store, sid string) error {
	in, err := records.signIn(ctx, sid)
	if err == nil {
		in.use(nil, time.Now())
		err = records.updateSignIn(ctx, sid, in)
	}
	// Not there: it has ended. Changed in between: it was used, or has ended.
	if errors.Is(err, bus.ErrNotFound) || errors.Is(err, bus.ErrConflict) {
		return nil
	}
	return err
}

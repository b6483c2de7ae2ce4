package auth

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/token"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

// current checks a token as a gateway does.
func (s *Service) current(raw string) (token.Claims, error) {
	claims, err := s.verifier.Verify(raw)
	if err == nil && s.revocations.Revoked(claims.SessionID, claims.UserID, claims.IssuedAt) {
		err = errs.New(errs.Unauthenticated, "this sign-in has ended")
	}
	return claims, err
}

func (s *Service) verify(ctx context.Context, records *store, q *authv1.VerifyRequest) (*authv1.VerifyResponse, error) {
	if q.Token == "" {
		return nil, errs.Invalid("token", "is missing")
	}
	claims, err := s.current(q.Token)
	if err != nil {
		return nil, err
	}
	answer := &authv1.VerifyResponse{SessionId: claims.SessionID}
	if !claims.ExpiresAt.IsZero() {
		answer.ExpiresAt = timestamppb.New(claims.ExpiresAt)
	}
	if claims.SessionID != "" {
		a, err := s.holder(ctx, records, claims.UserID, claims.Username)
		if err != nil {
			return nil, err
		}
		answer.User = a.user()
		return answer, nil
	}
	// Somebody else vouches for this user, who need not have an account; but
	// one that was disabled stays so.
	a, err := records.accountOf(ctx, claims.UserID)
	switch {
	case err == nil && a.Disabled:
		return nil, errs.New(errs.Unauthenticated, "the account is disabled")
	case err != nil && !errors.Is(err, bus.ErrNotFound):
		return nil, err
	}
	answer.User = &authv1.User{Id: claims.UserID, Username: claims.Username, Roles: claims.Roles}
	return answer, nil
}

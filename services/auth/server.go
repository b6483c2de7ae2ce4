package auth

import (
	"context"

	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

// server is the gRPC API. Each method is a function of the same name on
// Service, which is called once the records are there.
type server struct {
	authv1.UnimplementedAuthServer
	s *Service
}

func (v server) Register(ctx context.Context, q *authv1.RegisterRequest) (*authv1.SignedIn, error) {
	return serve(ctx, v.s, "register", q, v.s.register)
}

func (v server) Login(ctx context.Context, q *authv1.LoginRequest) (*authv1.SignedIn, error) {
	return serve(ctx, v.s, "login", q, v.s.login)
}

func (v server) Refresh(ctx context.Context, q *authv1.RefreshRequest) (*authv1.SignedIn, error) {
	return serve(ctx, v.s, "refresh", q, v.s.refresh)
}

func (v server) Verify(ctx context.Context, q *authv1.VerifyRequest) (*authv1.VerifyResponse, error) {
	return serve(ctx, v.s, "verify", q, v.s.verify)
}

func (v server) Revoke(ctx context.Context, q *authv1.RevokeRequest) (*authv1.RevokeResponse, error) {
	return serve(ctx, v.s, "revoke", q, v.s.revoke)
}

func (v server) GetUser(ctx context.Context, q *authv1.GetUserRequest) (*authv1.User, error) {
	return serve(ctx, v.s, "get_user", q, v.s.getUser)
}

func (v server) Touch(ctx context.Context, q *authv1.TouchRequest) (*authv1.TouchResponse, error) {
	return serve(ctx, v.s, "touch", q, v.s.touch)
}

func serve[Q, A any](ctx context.Context, s *Service, method string, q Q, f func(context.Context, *store, Q) (A, error)) (A, error) {
	var answer A
	records, err := s.ready()
	if err == nil {
		answer, err = f(ctx, records, q)
	}
	if err != nil {
		s.metrics.failed(ctx, method, err)
		var none A
		return none, err
	}
	return answer, nil
}

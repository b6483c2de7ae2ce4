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

func (v server) ChangePassword(ctx context.Context, q *authv1.ChangePasswordRequest) (*authv1.ChangePasswordResponse, error) {
	return serve(ctx, v.s, "change_password", q, v.s.changePassword)
}

func (v server) ListSessions(ctx context.Context, q *authv1.ListSessionsRequest) (*authv1.ListSessionsResponse, error) {
	return serve(ctx, v.s, "list_sessions", q, v.s.listSessions)
}

func (v server) CreateUser(ctx context.Context, q *authv1.CreateUserRequest) (*authv1.User, error) {
	return serve(ctx, v.s, "create_user", q, v.s.createUser)
}

func (v server) ListUsers(ctx context.Context, q *authv1.ListUsersRequest) (*authv1.ListUsersResponse, error) {
	return serve(ctx, v.s, "list_users", q, v.s.listUsers)
}

func (v server) SetRoles(ctx context.Context, q *authv1.SetRolesRequest) (*authv1.User, error) {
	return serve(ctx, v.s, "set_roles", q, v.s.setRoles)
}

func (v server) SetPassword(ctx context.Context, q *authv1.SetPasswordRequest) (*authv1.User, error) {
	return serve(ctx, v.s, "set_password", q, v.s.setPassword)
}

func (v server) DisableUser(ctx context.Context, q *authv1.DisableUserRequest) (*authv1.User, error) {
	return serve(ctx, v.s, "disable_user", q, v.s.disableUser)
}

func (v server) EnableUser(ctx context.Context, q *authv1.EnableUserRequest) (*authv1.User, error) {
	return serve(ctx, v.s, "enable_user", q, v.s.enableUser)
}

func (v server) CreateInvite(ctx context.Context, q *authv1.CreateInviteRequest) (*authv1.CreateInviteResponse, error) {
	return serve(ctx, v.s, "create_invite", q, v.s.createInvite)
}

func (v server) ListInvites(ctx context.Context, q *authv1.ListInvitesRequest) (*authv1.ListInvitesResponse, error) {
	return serve(ctx, v.s, "list_invites", q, v.s.listInvites)
}

func (v server) RevokeInvite(ctx context.Context, q *authv1.RevokeInviteRequest) (*authv1.RevokeInviteResponse, error) {
	return serve(ctx, v.s, "revoke_invite", q, v.s.revokeInvite)
}

func (v server) RotateKeys(ctx context.Context, q *authv1.RotateKeysRequest) (*authv1.RotateKeysResponse, error) {
	return serve(ctx, v.s, "rotate_keys", q, v.s.rotateKeys)
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

package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	"github.com/parley-im/parley/services/gateway/internal/session"
)

// maxSessions is how many of a user's sign-ins are listed.
const maxSessions = 1000

type sessionBody struct {
	ID        string `json:"id"`
	UserAgent string `json:"userAgent"`
	Address   string `json:"address"`
	CreatedAt string `json:"createdAt"`
	UsedAt    string `json:"usedAt"`
	ExpiresAt string `json:"expiresAt"`
	Current   bool   `json:"current"`
}

// listSessions tells a user where the account is signed in, the sign-in that was
// used last first.
func (g *Gateway) listSessions(ctx context.Context, r *http.Request) (any, error) {
	who, err := g.bearer(r)
	if err != nil {
		return nil, err
	}
	answer, err := g.opts.Auth.ListSessions(ctx, &authv1.ListSessionsRequest{UserId: who.User.Id, Limit: maxSessions})
	if err != nil {
		return nil, err
	}
	list := make([]sessionBody, len(answer.Sessions))
	for i, in := range answer.Sessions {
		list[len(list)-1-i] = sessionBody{
			ID: in.Id, UserAgent: in.GetClient().GetUserAgent(), Address: in.GetClient().GetAddress(),
			CreatedAt: wireTime(in.CreatedAt.AsTime()), UsedAt: wireTime(in.UsedAt.AsTime()), ExpiresAt: wireTime(in.ExpiresAt.AsTime()),
			Current: in.Id == who.SignIn,
		}
	}
	return struct {
		Sessions []sessionBody `json:"sessions"`
	}{list}, nil
}

// wireTime writes a time as the frames do.
func wireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// bearer gives whom the bearer token of a request speaks of.
func (g *Gateway) bearer(r *http.Request) (*session.Identity, error) {
	raw, ok := bearerToken(r)
	if !ok {
		return nil, errNoBearer
	}
	if err := g.tokens.ready(); err != nil {
		return nil, errs.Missing("the check of tokens", err)
	}
	return g.tokens.authenticate(raw)
}

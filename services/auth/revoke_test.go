package auth_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	"github.com/parley-im/parley/services/auth"
)

func revoke(t *testing.T, api authv1.AuthServer, q *authv1.RevokeRequest) int {
	t.Helper()
	answer, err := api.Revoke(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return int(answer.Revoked)
}

func bySession(id string) *authv1.RevokeRequest {
	return &authv1.RevokeRequest{What: &authv1.RevokeRequest_SessionId{SessionId: id}}
}

func byUser(id string) *authv1.RevokeRequest {
	return &authv1.RevokeRequest{What: &authv1.RevokeRequest_UserId{UserId: id}}
}

func byRefresh(token string) *authv1.RevokeRequest {
	return &authv1.RevokeRequest{What: &authv1.RevokeRequest_RefreshToken{RefreshToken: token}}
}

func byToken(token string) *authv1.RevokeRequest {
	return &authv1.RevokeRequest{What: &authv1.RevokeRequest_Token{Token: token}}
}

func TestRevoke(t *testing.T) {
	server := startNATS(t, t.TempDir())
	b := connect(t, server)
	api, _ := start(t, auth.Options{Bus: b})
	other, _ := start(t, auth.Options{Bus: connect(t, server)})

	learned := make(chan bus.Revocation, 32)
	watching(t, b, learned)
	events := make(chan *busv1.SessionRevoked, 32)
	sub, err := b.SubscribeUsers(func(_ string, e *busv1.UserEvent) { events <- e.GetSessionRevoked() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := b.Flush(ctx); err != nil {
		t.Fatal(err)
	}

	register(t, api, "alice", "secret")
	bob := register(t, api, "bob", "secret")
	for name, what := range map[string]func(*authv1.SignedIn) *authv1.RevokeRequest{
		"session id":    func(in *authv1.SignedIn) *authv1.RevokeRequest { return bySession(in.SessionId) },
		"refresh token": func(in *authv1.SignedIn) *authv1.RevokeRequest { return byRefresh(in.RefreshToken) },
		"token":         func(in *authv1.SignedIn) *authv1.RevokeRequest { return byToken(in.Token) },
	} {
		in, err := login(t, api, "alice", "secret")
		if err != nil {
			t.Fatal(err)
		}
		if n := revoke(t, api, what(in)); n != 1 {
			t.Errorf("%s: revoked %d", name, n)
		}
		if n := revoke(t, api, what(in)); n != 0 {
			t.Errorf("%s: again revoked %d", name, n)
		}
		_, err = verify(t, api, in.Token)
		wantCode(t, err, errs.Unauthenticated, "")
		eventually(t, "revoked at the other replica", func() bool {
			_, err := verify(t, other, in.Token)
			return errs.CodeOf(err) == errs.Unauthenticated
		})
		_, err = refresh(t, api, in.RefreshToken)
		wantCode(t, err, errs.Unauthenticated, "")
		if r := <-learned; r.SessionID != in.SessionId {
			t.Errorf("%s: the watch tells %+v", name, r)
		}
		if e := <-events; e.GetSignInId() != in.SessionId {
			t.Errorf("%s: the user's connections are told %v", name, e)
		}
	}

	var all []*authv1.SignedIn
	for range 3 {
		in, err := login(t, api, "alice", "secret")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, in)
	}
	// The one of Register and these three.
	if n := revoke(t, api, byUser(all[0].User.Id)); n != 4 {
		t.Errorf("all of a user: revoked %d", n)
	}
	// Sign-ins and users are watched apart, so these five come in any order.
	var users []bus.Revocation
	for range 5 {
		if r := <-learned; r.UserID != "" {
			users = append(users, r)
		}
	}
	if len(users) != 1 || users[0].UserID != all[0].User.Id || users[0].Before.IsZero() {
		t.Errorf("the watch tells of the users %+v", users)
	}
	if e := <-events; e.GetSignInId() != "" || e.GetBeforeMs() == 0 {
		t.Errorf("the user's connections are told %v", e)
	}
	for _, in := range all {
		_, err := verify(t, api, in.Token)
		wantCode(t, err, errs.Unauthenticated, "")
	}
	if n := revoke(t, api, byUser(all[0].User.Id)); n != 0 {
		t.Errorf("again revoked %d", n)
	}
	if n := revoke(t, api, byUser("nobody: at *all*")); n != 0 {
		t.Errorf("nobody's: revoked %d", n)
	}
	// Whoever signs in anew is welcome, in the same second too, and others
	// have lost nothing.
	again, err := login(t, api, "alice", "secret")
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []*authv1.SignedIn{again, bob} {
		if _, err := verify(t, api, in.Token); err != nil {
			t.Error(err)
		}
	}
}

func watching(t *testing.T, b *bus.Bus, learned chan<- bus.Revocation) {
	r := bus.NewRevocations(b, func(v bus.Revocation) { learned <- v })
	done := make(chan struct{})
	ctx := t.Context() // ends before the clean-ups run
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { <-done })
	<-r.Ready()
}

func TestRevokeByWhatIsNotOurs(t *testing.T) {
	api, b := one(t, auth.Options{JWTSecret: []byte("short")})
	in := register(t, api, "alice", "secret")
	for _, sid := range []string{"x", "s_", "*", ">", "s_" + strings.Repeat("x", 500), ids.New("s_") + ids.Token("nobody"), in.SessionId + "\n"} {
		if n := revoke(t, api, bySession(sid)); n != 0 {
			t.Errorf("%q: revoked %d", sid, n)
		}
	}
	sid, _, _ := strings.Cut(in.RefreshToken, ".")
	for _, bad := range []*authv1.RevokeRequest{byRefresh("x"), byRefresh(sid + "." + strings.Repeat("A", 43))} {
		_, err := api.Revoke(t.Context(), bad)
		wantCode(t, err, errs.InvalidArgument, "refreshToken")
	}
	_, err := api.Revoke(t.Context(), byToken(in.Token+"x"))
	wantCode(t, err, errs.InvalidArgument, "token")
	if n := revoke(t, api, byToken(foreign(t, "short", jwt.MapClaims{"userId": "7", "sid": in.SessionId}))); n != 0 {
		t.Errorf("a foreign token's session: revoked %d", n)
	}
	if _, err := verify(t, api, in.Token); err != nil {
		t.Error(err)
	}
	// Nothing that strangers say is remembered.
	keys, err := bucket(t, b, bus.Sessions).Keys(t.Context(), "revoked.>")
	if err != nil || len(keys) != 0 {
		t.Errorf("remembered %v, %v", keys, err)
	}
}

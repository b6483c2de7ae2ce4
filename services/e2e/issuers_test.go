package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-im/parley/pkg/token"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	"github.com/parley-im/parley/services/auth"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// identityProvider is another issuer of tokens, with a web server of its own.
type identityProvider struct {
	key  *rsa.PrivateKey
	url  string
	down atomic.Bool
}

func startProvider(t *testing.T) *identityProvider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &identityProvider{key: key}
	b64 := base64.RawURLEncoding.EncodeToString
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if p.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "kid": "k1", "alg": "RS256", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes()),
		}}})
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func (p *identityProvider) options() []token.IssuerOptions {
	return []token.IssuerOptions{{
		Name: "corp", Issuer: "https://id.example.com", JWKS: p.url, Audience: []string{"parley"},
		Claims: token.ClaimPaths{Roles: "realm.roles"}, Roles: map[string]string{"chat-admins": "admin"},
	}}
}

func (p *identityProvider) token(t *testing.T, change claims) string {
	t.Helper()
	c := claims{
		"iss": "https://id.example.com", "aud": "parley", "sub": "7", "preferred_username": "Ann",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for name, value := range change {
		c[name] = value
	}
	j := jwt.NewWithClaims(jwt.SigningMethodRS256, c)
	j.Header["kid"] = "k1"
	signed, err := j.SignedString(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// Users of an identity provider come with its tokens, are told apart from ours,
// and can be thrown out as they can.
func TestIdentityProvider(t *testing.T) {
	p := startProvider(t)
	s := stack.Start(t, stack.Options{
		Gateways: 2,
		Gateway:  func(o *gateway.Options) { o.Issuers = p.options() },
		Auth:     func(o *auth.Options) { o.Issuers = p.options() },
	})
	ours := client.Dial(t, s.URLs[0], client.Options{})
	own := ours.SignIn(s.Token(t, "Ann")).User
	ours.Join("both")
	ann := client.Dial(t, s.URLs[1], client.Options{})
	user := ann.SignIn(p.token(t, claims{"realm": map[string]any{"roles": []string{"chat-admins", "admin", "staff"}}})).User
	if user.Id != "corp:7" || user.Username != "Ann" || len(user.Roles) != 1 || user.Roles[0] != "admin" {
		t.Errorf("signed in as %v", user)
	}
	ann.Join("both")
	ann.Say("both", "hello")
	if m := ours.Hear("both", "hello"); m.User.Id != user.Id || own.Id == user.Id {
		t.Errorf("said by %v, and ours is %v", m.User, own)
	}
	// Whoever has the id of one of ours at the provider is somebody else.
	same := client.Dial(t, s.URLs[0], client.Options{})
	if got := same.SignIn(p.token(t, claims{"sub": own.Id})).User; got.Id != "corp:"+own.Id {
		t.Errorf("signed in as %v", got)
	}
	if who, err := s.Auth.Verify(t.Context(), &authv1.VerifyRequest{Token: p.token(t, nil)}); err != nil || who.User.Id != "corp:7" {
		t.Errorf("verify: %v, %v", who, err)
	}
	for name, bad := range map[string]claims{
		"another audience": {"aud": "billing"},
		"expired":          {"exp": time.Now().Add(-time.Minute).Unix()},
		"another issuer":   {"iss": "https://evil.example.com"},
		"our issuer":       {"iss": token.Issuer, "sid": "s_1", "username": "Ann"},
	} {
		c := client.Dial(t, s.URLs[0], client.Options{})
		if e := c.Ask(ask.Auth(p.token(t, bad))).GetAuthFailed(); e.GetCode() != "unauthenticated" {
			t.Errorf("%s: %v", name, e)
		}
		if code := c.Closed(); code != 1008 {
			t.Errorf("%s: closed with %d", name, code)
		}
	}
	if _, err := s.Auth.Revoke(t.Context(), &authv1.RevokeRequest{What: &authv1.RevokeRequest_UserId{UserId: "corp:7"}}); err != nil {
		t.Fatal(err)
	}
	if code := ann.Closed(); code != 4001 {
		t.Errorf("closed with %d", code)
	}
	ours.Settle()
}

// A provider that is out of reach is no reason to give a client up: it may try
// again on the same connection, and everybody else signs in.
func TestIdentityProviderOutOfReach(t *testing.T) {
	p := startProvider(t)
	p.down.Store(true)
	s := stack.Start(t, stack.Options{Gateway: func(o *gateway.Options) { o.Issuers = p.options() }})
	c := client.Dial(t, s.URLs[0], client.Options{})
	if e := c.AskError(ask.Auth(p.token(t, nil)), "unavailable"); e.GetRetryAfterMs() <= 0 {
		t.Errorf("without a time to wait: %v", e)
	}
	client.Dial(t, s.URLs[0], client.Options{}).SignIn(s.Token(t, "alice"))
	c.SignIn(s.Token(t, "bob"))
}

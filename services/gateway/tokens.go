package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/pkg/token"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/session"
)

// tokens checks tokens with what the bus tells of keys and revocations, and with
// the keys that other issuers publish; no call leaves the gateway for one, but
// where it names a key that is new here.
type tokens struct {
	b           *bus.Bus
	log         *slog.Logger
	secret      bool // HS256 is welcome
	issuers     *token.Issuers
	verifier    *token.Verifier
	revocations *bus.Revocations
	standings   *bus.Standings
	keysRead    atomic.Bool // whether or not there were any
	haveKeys    atomic.Bool
	resumeKey   atomic.Pointer[[]byte]
}

func newTokens(o Options, log *slog.Logger, learned func(bus.Revocation), changed func(user string)) (*tokens, error) {
	issuers, err := token.NewIssuers(o.Issuers, token.IssuersOptions{Insecure: o.InsecureIssuers, Logger: log, Meter: o.Meter})
	if err != nil {
		return nil, fmt.Errorf("issuers: %w", err)
	}
	return &tokens{
		b: o.Bus, log: log, secret: len(o.JWTSecret) > 0, issuers: issuers,
		verifier:    token.NewVerifier(token.VerifierOptions{Secret: o.JWTSecret, Issuers: issuers}),
		revocations: bus.NewRevocations(o.Bus, learned),
		standings:   bus.NewStandings(o.Bus, changed),
	}, nil
}

// run keeps the keys and revocations until ctx ends.
func (t *tokens) run(ctx context.Context) error {
	group := run.NewGroup(ctx)
	group.Go("revocations", t.revocations.Run)
	group.Go("issuers", t.issuers.Run)
	group.Go("standings", t.standings.Run)
	group.Go("keys", func(ctx context.Context) error {
		return t.b.WatchKeys(ctx, func(set map[string][]byte) {
			keys, err := token.ParsePublicKeys(set)
			if err != nil {
				t.log.Error("reading the signing keys", "error", err)
			}
			t.verifier.SetKeys(keys)
			t.haveKeys.Store(len(keys) > 0)
			t.keysRead.Store(true)
		})
	})
	group.Go("resume key", t.readResumeKey)
	return group.Wait()
}

func (t *tokens) readResumeKey(ctx context.Context) error {
	for {
		key, err := t.b.Secret(ctx, "resume")
		if err == nil {
			t.resumeKey.Store(&key)
			<-ctx.Done()
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		t.log.Warn("reading the key of resume tokens", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// ready says whether tokens can be checked.
func (t *tokens) ready() error {
	switch {
	case !t.keysRead.Load():
		return errors.New("the signing keys are not read yet")
	case !t.haveKeys.Load() && !t.secret:
		return errors.New("no signing keys yet: auth has not published any")
	case t.resumeKey.Load() == nil:
		return errors.New("the key of resume tokens is not read yet")
	}
	for what, known := range map[string]<-chan struct{}{
		"revocations": t.revocations.Ready(), "standings of accounts": t.standings.Ready(),
	} {
		select {
		case <-known:
		default:
			return errors.New(what + " are not read yet")
		}
	}
	return nil
}

func (t *tokens) authenticate(raw string) (*session.Identity, error) {
	claims, err := t.verifier.Verify(raw)
	if err != nil {
		return nil, err
	}
	identity := &session.Identity{
		User:      &wirev1.User{Id: claims.UserID, Username: claims.Username},
		Roles:     claims.Roles,
		SignIn:    claims.SessionID,
		IssuedAt:  claims.IssuedAt,
		ExpiresAt: claims.ExpiresAt,
	}
	identity.Roles = t.roles(identity)
	return identity, t.revoked(identity)
}

// roles gives the roles in force of whom a token speaks: those of the account
// where it is one of ours, whatever the token, which may be older, says; for a
// user of another issuer the token's.
func (t *tokens) roles(i *session.Identity) []string {
	if i.SignIn != "" {
		if roles, changed := t.standings.Roles(i.User.Id); changed {
			return roles
		}
	}
	return i.Roles
}

// revoked says whether what a token said is void: forbidden, where the account
// is disabled, also to tokens of other issuers.
func (t *tokens) revoked(i *session.Identity) error {
	if t.standings.Disabled(i.User.Id) {
		return errs.New(errs.Forbidden, "this account is disabled")
	}
	if t.revocations.Revoked(i.SignIn, i.User.Id, i.IssuedAt) {
		return errs.New(errs.Unauthenticated, "the sign-in was revoked")
	}
	return nil
}

// resumeClaims is what a resume token says. Its key is shared by the gateways
// alone, so that nothing but a gateway makes one.
type resumeClaims struct {
	jwt.RegisteredClaims
	Username string           `json:"username"`
	Roles    []string         `json:"roles,omitempty"`
	SignIn   string           `json:"sid,omitempty"`
	Session  string           `json:"session"`
	SignedAt *jwt.NumericDate `json:"signed"`
	TokenEnd *jwt.NumericDate `json:"token_exp,omitempty"`
}

const resumeAudience = "parley-resume"

func (t *tokens) signResume(r session.Resumption) (string, error) {
	key := t.resumeKey.Load()
	if key == nil {
		return "", errors.New("the key of resume tokens is not read yet")
	}
	claims := &madeClaims{
		Subject:   r.Identity.User.Id,
		Audience:  resumeAudience,
		IssuedAt:  seconds(r.Identity.IssuedAt),
		ExpiresAt: time.Now().Add(session.ResumeTTL).Unix(),
		Username:  r.Identity.User.Username,
		Roles:     r.Identity.Roles,
		SignIn:    r.Identity.SignIn,
		Session:   r.Session,
		SignedAt:  seconds(r.SignedAt),
		TokenEnd:  seconds(r.Identity.ExpiresAt),
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(*key)
}

// madeClaims is resumeClaims as a gateway writes them: every sign-in makes a token,
// and each jwt.NumericDate is a decimal number, made of two strings.
type madeClaims struct {
	jwt.Claims `json:"-"` // its questions are for who reads

	Subject   string   `json:"sub"`
	Audience  string   `json:"aud"`
	IssuedAt  *int64   `json:"iat,omitempty"`
	ExpiresAt int64    `json:"exp"`
	Username  string   `json:"username"`
	Roles     []string `json:"roles,omitempty"`
	SignIn    string   `json:"sid,omitempty"`
	Session   string   `json:"session"`
	SignedAt  *int64   `json:"signed"`
	TokenEnd  *int64   `json:"token_exp,omitempty"`
}

// seconds are those since 1970; nil for no time.
func seconds(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	s := t.Unix()
	return &s
}

func (t *tokens) readResume(raw string) (*session.Resumption, error) {
	key := t.resumeKey.Load()
	if key == nil {
		return nil, errors.New("the key of resume tokens is not read yet")
	}
	var claims resumeClaims
	_, err := jwt.ParseWithClaims(raw, &claims, func(*jwt.Token) (any, error) { return *key, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithAudience(resumeAudience), jwt.WithExpirationRequired())
	if errors.Is(err, jwt.ErrTokenExpired) {
		return nil, errs.New(errs.Unauthenticated, "it has expired")
	}
	if err != nil {
		return nil, &errs.Error{Code: errs.Unauthenticated, Message: "it is not one of ours", Cause: fmt.Errorf("parsing: %w", err)}
	}
	r := &session.Resumption{
		Identity: session.Identity{
			User:   &wirev1.User{Id: claims.Subject, Username: claims.Username},
			Roles:  claims.Roles,
			SignIn: claims.SignIn,
		},
		Session: claims.Session,
	}
	if claims.IssuedAt != nil {
		r.Identity.IssuedAt = claims.IssuedAt.Time
	}
	if claims.SignedAt != nil {
		r.SignedAt = claims.SignedAt.Time
	}
	if claims.TokenEnd != nil {
		r.Identity.ExpiresAt = claims.TokenEnd.Time
	}
	return r, nil
}

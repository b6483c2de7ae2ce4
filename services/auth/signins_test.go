package auth_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/limit"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	"github.com/parley-im/parley/services/auth"
)

func bucket(t *testing.T, b *bus.Bus, name bus.Bucket) *bus.KV {
	t.Helper()
	kv, err := b.Bucket(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func signInKey(in *authv1.SignedIn) string {
	return "s." + ids.Token(in.User.Id) + "." + in.SessionId
}

func TestRefreshRotates(t *testing.T) {
	api, _ := one(t, auth.Options{})
	first := register(t, api, "alice", "secret")
	second, err := refresh(t, api, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if second.SessionId != first.SessionId || second.User.Id != first.User.Id || second.RefreshToken == first.RefreshToken {
		t.Errorf("refreshed to %v", second)
	}
	third, err := refresh(t, api, second.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []*authv1.SignedIn{first, third} {
		if _, err := verify(t, api, in.Token); err != nil {
			t.Error(err)
		}
	}
	// Used ones again, and the sign-in ends for all who hold it.
	_, err = refresh(t, api, first.RefreshToken)
	wantCode(t, err, errs.Unauthenticated, "")
	_, err = refresh(t, api, third.RefreshToken)
	wantCode(t, err, errs.Unauthenticated, "")
	_, err = verify(t, api, third.Token)
	wantCode(t, err, errs.Unauthenticated, "")
}

// An answer that was lost is given again, the same, for a while.
func TestRefreshAgain(t *testing.T) {
	api, _ := one(t, auth.Options{})
	first := register(t, api, "alice", "secret")
	second, err := refresh(t, api, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	again, err := refresh(t, api, first.RefreshToken)
	if err != nil || again.RefreshToken != second.RefreshToken || again.SessionId != first.SessionId {
		t.Errorf("again: %v, %v", again, err)
	}
	third, err := refresh(t, api, again.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, api, again.Token); err != nil {
		t.Error(err)
	}
	_, err = refresh(t, api, first.RefreshToken)
	wantCode(t, err, errs.Unauthenticated, "")
	_, err = refresh(t, api, third.RefreshToken)
	wantCode(t, err, errs.Unauthenticated, "")

	// Without the while, the one before the newest is a copy as well.
	strict, _ := one(t, auth.Options{RefreshGrace: -1})
	first = register(t, strict, "alice", "secret")
	second, err = refresh(t, strict, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	_, err = refresh(t, strict, first.RefreshToken)
	wantCode(t, err, errs.Unauthenticated, "")
	_, err = refresh(t, strict, second.RefreshToken)
	wantCode(t, err, errs.Unauthenticated, "")
}

func TestBadRefreshTokens(t *testing.T) {
	api, _ := one(t, auth.Options{})
	in := register(t, api, "alice", "secret")
	sid, rest, _ := strings.Cut(in.RefreshToken, ".")
	number, secret, _ := strings.Cut(rest, ".")
	if number != "0" || len(secret) != 43 {
		t.Fatalf("the refresh token is %s", in.RefreshToken)
	}
	other := strings.Repeat("A", 43)
	for _, bad := range []string{
		"x", ".", "..", sid, sid + ".", "." + secret, sid + "." + other, sid + "." + secret + "A", sid + "." + secret[1:],
		"s_" + secret, sid[1:] + "." + secret, sid + "A." + secret, sid[:24] + "*." + secret, sid[:24] + ">." + secret,
		sid + ".1." + secret, sid + ".00." + secret, sid + ".0." + other, sid + ".0." + secret + "A", sid + ".-0." + secret,
		ids.New("s_") + ids.Token("nobody") + ".0." + secret, in.Token, in.RefreshToken + "\n", strings.Repeat("x", 1<<20),
	} {
		_, err := refresh(t, api, bad)
		wantCode(t, err, errs.Unauthenticated, "")
	}
	if _, err := refresh(t, api, in.RefreshToken); err != nil {
		t.Errorf("the right one, after all: %v", err)
	}
}

func TestConcurrentRefreshesAreOne(t *testing.T) {
	server := startNATS(t, t.TempDir())
	apis := make([]authv1.AuthServer, 2)
	for i := range apis {
		apis[i], _ = start(t, auth.Options{Bus: connect(t, server)})
	}
	in := register(t, apis[0], "alice", "secret")
	next := make(chan string, 16)
	var wg sync.WaitGroup
	for i := range cap(next) {
		wg.Go(func() {
			answer, err := apis[i%2].Refresh(t.Context(), &authv1.RefreshRequest{RefreshToken: in.RefreshToken})
			if err != nil {
				t.Error(err)
			}
			next <- answer.GetRefreshToken()
		})
	}
	wg.Wait()
	close(next)
	first := <-next
	for token := range next {
		if token != first {
			t.Errorf("two that follow: %s and %s", first, token)
		}
	}
	if _, err := refresh(t, apis[0], first); err != nil {
		t.Error(err)
	}
}

func foreign(t *testing.T, secret string, claims jwt.MapClaims) string {
	t.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestVerifyForeignTokens(t *testing.T) {
	api, b := one(t, auth.Options{JWTSecret: []byte("short")})
	raw := foreign(t, "short", jwt.MapClaims{"userId": "7", "username": "bob", "roles": []string{"admin"}})
	v, err := verify(t, api, raw)
	if err != nil {
		t.Fatal(err)
	}
	if v.User.Id != "7" || v.User.Username != "bob" || strings.Join(v.User.Roles, ",") != "admin" || v.SessionId != "" || v.ExpiresAt != nil {
		t.Errorf("verified as %v", v)
	}
	_, err = verify(t, api, foreign(t, "other", jwt.MapClaims{"userId": "7"}))
	wantCode(t, err, errs.Unauthenticated, "")
	_, err = verify(t, api, foreign(t, "short", jwt.MapClaims{"userId": "7", "exp": time.Now().Unix() - 60}))
	wantCode(t, err, errs.Unauthenticated, "")

	if n := revoke(t, api, byUser("7")); n != 0 {
		t.Errorf("revoked %d", n)
	}
	_, err = verify(t, api, raw)
	wantCode(t, err, errs.Unauthenticated, "")

	alice := register(t, api, "alice", "secret")
	raw = foreign(t, "short", jwt.MapClaims{"userId": alice.User.Id})
	if _, err := verify(t, api, raw); err != nil {
		t.Error(err)
	}
	change(t, b, "alice", func(a map[string]any) { a["disabled"] = true })
	_, err = verify(t, api, raw)
	wantCode(t, err, errs.Unauthenticated, "")
}

// change edits an account's record in its bucket.
func change(t *testing.T, b *bus.Bus, username string, edit func(map[string]any)) {
	t.Helper()
	kv := bucket(t, b, bus.Users)
	e, err := kv.Get(t.Context(), "account."+ids.Token(username))
	if err != nil {
		t.Fatal(err)
	}
	record := map[string]any{}
	if err := json.Unmarshal(e.Value, &record); err != nil {
		t.Fatal(err)
	}
	edit(record)
	value, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(t.Context(), e.Key, value, e.Revision); err != nil {
		t.Fatal(err)
	}
}

func TestDisabledAccount(t *testing.T) {
	api, b := one(t, auth.Options{})
	in := register(t, api, "alice", "secret")
	change(t, b, "alice", func(a map[string]any) { a["disabled"] = true })
	_, err := login(t, api, "alice", "secret")
	wantCode(t, err, errs.Forbidden, "")
	_, err = login(t, api, "alice", "wrong")
	wantCode(t, err, errs.Unauthenticated, "")
	_, err = refresh(t, api, in.RefreshToken)
	wantCode(t, err, errs.Unauthenticated, "")
	_, err = verify(t, api, in.Token)
	wantCode(t, err, errs.Unauthenticated, "")
	u, err := api.GetUser(t.Context(), &authv1.GetUserRequest{Who: &authv1.GetUserRequest_Id{Id: in.User.Id}})
	if err != nil || !u.Disabled {
		t.Errorf("got %v, %v", u, err)
	}
}

func TestLoginRepairsAndRenews(t *testing.T) {
	api, b := one(t, auth.Options{})
	in := register(t, api, "alice", "secret")
	old, err := argon2id.CreateHash("secret", &argon2id.Params{Memory: 8 << 10, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	if err != nil {
		t.Fatal(err)
	}
	change(t, b, "alice", func(a map[string]any) { a["password"] = old })
	if err := bucket(t, b, bus.Users).Delete(t.Context(), "id."+ids.Token(in.User.Id), 0); err != nil {
		t.Fatal(err)
	}
	_, err = login(t, api, "alice", "wrong")
	wantCode(t, err, errs.Unauthenticated, "")
	for range 2 {
		if _, err := login(t, api, "alice", "secret"); err != nil {
			t.Fatal(err)
		}
	}
	change(t, b, "alice", func(a map[string]any) {
		if hash := a["password"].(string); !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
			t.Errorf("the hash is %s", hash)
		}
		// An account without a password lets nobody in.
		a["password"] = ""
	})
	_, err = login(t, api, "alice", "secret")
	wantCode(t, err, errs.Unauthenticated, "")
	if _, err := api.GetUser(t.Context(), &authv1.GetUserRequest{Who: &authv1.GetUserRequest_Id{Id: in.User.Id}}); err != nil {
		t.Errorf("the index is not repaired: %v", err)
	}
}

func TestSignInRecord(t *testing.T) {
	api, b := one(t, auth.Options{})
	client := &authv1.Client{Address: "192.0.2.7", UserAgent: strings.Repeat("ü", 200)}
	in, err := api.Register(t.Context(), &authv1.RegisterRequest{Username: "alice", Password: "secret", Client: client})
	if err != nil {
		t.Fatal(err)
	}
	kv := bucket(t, b, bus.Sessions)
	e, err := kv.Get(t.Context(), signInKey(in))
	if err != nil {
		t.Fatal(err)
	}
	var record struct {
		Address, UserAgent string
		CreatedMs, UsedMs  int64
	}
	if err := json.Unmarshal(e.Value, &record); err != nil {
		t.Fatal(err)
	}
	if record.Address != client.Address || record.UserAgent != strings.Repeat("ü", 128) ||
		record.CreatedMs == 0 || record.UsedMs != record.CreatedMs {
		t.Errorf("kept %s", e.Value)
	}
	if strings.Contains(string(e.Value), in.RefreshToken[len(in.SessionId)+len(".0."):]) {
		t.Error("the refresh token is kept in the clear")
	}
}

func TestTouch(t *testing.T) {
	api, b := one(t, auth.Options{})
	var in []*authv1.SignedIn
	for _, username := range []string{"alice", "bob", "carol"} {
		in = append(in, register(t, api, username, "secret"))
	}
	kv := bucket(t, b, bus.Sessions)
	before := make([]bus.Entry, len(in))
	for i := range in {
		var err error
		if before[i], err = kv.Get(t.Context(), signInKey(in[i])); err != nil {
			t.Fatal(err)
		}
	}
	revoke(t, api, bySession(in[2].SessionId))
	touched := []string{in[0].SessionId, "unknown", "*", "", in[2].SessionId, in[0].SessionId}
	if _, err := api.Touch(t.Context(), &authv1.TouchRequest{SessionIds: touched}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		e, err := kv.Get(t.Context(), signInKey(in[i]))
		if err != nil || e.Stored.After(before[i].Stored) != want {
			t.Errorf("%s: written anew: %t, %v", in[i].User.Username, !want, err)
		}
	}
	if _, err := kv.Get(t.Context(), signInKey(in[2])); err != bus.ErrNotFound {
		t.Errorf("a touch brought a sign-in back: %v", err)
	}
	if _, err := api.Touch(t.Context(), &authv1.TouchRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := refresh(t, api, in[0].RefreshToken); err != nil {
		t.Errorf("after a touch: %v", err)
	}
}

func TestThrottle(t *testing.T) {
	hours := func(free int) auth.Slowdown {
		return auth.Slowdown{Free: free, First: time.Hour, Longest: time.Hour, Forgive: time.Hour}
	}
	server := startNATS(t, t.TempDir())
	limited := func() authv1.AuthServer {
		api, _ := start(t, auth.Options{
			Bus:        connect(t, server),
			Guessing:   auth.Guessing{Here: hours(3), Elsewhere: hours(6), Address: hours(100)},
			PerAddress: limit.Options{Every: time.Hour, Burst: 20},
		})
		return api
	}
	api := limited()
	register(t, api, "alice", "secret")
	register(t, api, "bob", "secret")
	from := func(api authv1.AuthServer, username, password, address string) error {
		_, err := api.Login(t.Context(), &authv1.LoginRequest{Username: username, Password: password, Client: &authv1.Client{Address: address}})
		return err
	}
	if err := from(api, "alice", "secret", "192.0.2.1"); err != nil { // where she is known from now on
		t.Fatal(err)
	}
	for _, username := range []string{"alice", "nobody"} {
		for range 3 {
			wantCode(t, from(api, username, "wrong", "192.0.2.66"), errs.Unauthenticated, "")
		}
		wantCode(t, from(api, username, "secret", "192.0.2.66"), errs.RateLimited, "")
		for range 3 {
			wantCode(t, from(api, username, "wrong", "192.0.2.67"), errs.Unauthenticated, "")
		}
		wantCode(t, from(api, username, "secret", "192.0.2.68"), errs.RateLimited, "")
	}
	if err := from(api, "alice", "secret", "192.0.2.1"); err != nil {
		t.Errorf("kept out of where she is known: %v", err)
	}
	// Other replicas know where she is known, too.
	api = limited()
	for i := range 6 {
		wantCode(t, from(api, "alice", "wrong", "192.0.2."+strconv.Itoa(100+i)), errs.Unauthenticated, "")
	}
	wantCode(t, from(api, "alice", "secret", "192.0.2.2"), errs.RateLimited, "")
	if err := from(api, "alice", "secret", "192.0.2.1"); err != nil {
		t.Errorf("kept out of where she is known: %v", err)
	}
	for range 10 { // right ones are free
		if _, err := login(t, api, "bob", "secret"); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		if err := from(api, "bob", "secret", "2001:db8::1"); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, from(api, "bob", "secret", "2001:db8::2"), errs.RateLimited, "") // the same network
	if err := from(api, "bob", "secret", "192.0.2.7"); err != nil {
		t.Error(err)
	}
}

package e2e

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/token"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

func testTokenWithUpgrade(t *testing.T, s *stack.Stack) {
	token, other := s.Token(t, "header"), s.Token(t, "entry")
	for _, encoding := range encodings {
		for name, row := range map[string]struct {
			options client.Options
			user    string
		}{
			"header":       {client.Options{Header: http.Header{"Authorization": {"Bearer " + token}}}, "header"},
			"small letter": {client.Options{Header: http.Header{"Authorization": {"bearer " + token}}}, "header"},
			"entry":        {client.Options{Subprotocols: []string{encoding.Subprotocol(), "parley.token." + other}}, "entry"},
			"both": {client.Options{
				Header:       http.Header{"Authorization": {"Bearer " + token}},
				Subprotocols: []string{"parley.token." + other, encoding.Subprotocol()},
			}, "header"},
		} {
			row.options.Encoding = encoding
			c := client.Dial(t, s.URLs[0], row.options)
			success := c.Want("auth-success")
			if len(c.Untaken("welcome")) != 1 || success.Id != nil || success.GetAuthSuccess().User.Username != row.user {
				t.Errorf("%s: %v", name, success)
			}
			if c.Subprotocol() != encoding.Subprotocol() {
				t.Errorf("%s: subprotocol %q", name, c.Subprotocol())
			}
			c.Join("upgraded")
			c.Close()
		}
		for name, options := range map[string]client.Options{
			"header": {Header: http.Header{"Authorization": {"Bearer x" + token}}},
			"entry":  {Subprotocols: []string{encoding.Subprotocol(), "parley.token.nonsense"}},
		} {
			options.Encoding = encoding
			c := client.Dial(t, s.URLs[0], options)
			if failed := c.Want("auth-failed").GetAuthFailed(); failed.Code != "unauthenticated" {
				t.Errorf("a bad token in the %s: %v", name, failed)
			}
			if code := c.Closed(); code != 1008 || len(c.Untaken("welcome")) != 1 {
				t.Errorf("a bad token in the %s: closed with %d", name, code)
			}
		}
	}
}

// testForeignTokens signs in with tokens of another issuer, by the secret.
func testForeignTokens(t *testing.T, s *stack.Stack) {
	in := time.Now().Add(time.Hour).Unix()
	for name, row := range map[string]struct {
		claims       claims
		id, username string
		roles        int
		expires      bool
	}{
		"userId":         {claims{"userId": "u-1", "username": "Ann", "roles": []string{"admin", "x"}, "exp": in}, "u-1", "Ann", 2, true},
		"sub":            {claims{"sub": "u-2", "username": "Bea"}, "u-2", "Bea", 0, false},
		"userId and sub": {claims{"userId": "u-3", "sub": "u-4", "username": "Cid"}, "u-3", "Cid", 0, false},
		"no username":    {claims{"sub": "u-5", "exp": in}, "u-5", "u-5", 0, true},
		"hostile id":     {claims{"sub": "a.*.>/ :\"ü", "exp": in}, "a.*.>/ :\"ü", "a.*.>/ :\"ü", 0, true},
		"longest id":     {claims{"sub": strings.Repeat("x", 128)}, strings.Repeat("x", 128), strings.Repeat("x", 32), 0, false},
		"to be composed": {claims{"sub": "u-6", "username": "Zoe\u0308"}, "u-6", "Zo\u00eb", 0, false},
	} {
		for _, encoding := range encodings {
			c := client.Dial(t, s.URLs[1], client.Options{Encoding: encoding})
			success := c.SignIn(signHS256(t, secret, row.claims))
			if u := success.User; u.Id != row.id || u.Username != row.username || len(u.Roles) != row.roles {
				t.Errorf("%s: %v", name, u)
			}
			if (success.ExpiresAt != nil) != row.expires || row.expires && success.ExpiresAt.Seconds != in {
				t.Errorf("%s: expires %v", name, success.ExpiresAt)
			}
			// The names work wherever they go: into subjects, keys and the log.
			c.Join("foreign")
			c.Say("foreign", name+encoding.String())
			if m := c.Hear("foreign", name+encoding.String()); m.User.Id != row.id || m.User.Username != row.username {
				t.Errorf("%s: message of %v", name, m.User)
			}
			c.Close()
		}
	}
	// A deployment without the secret has no use for them.
	n := s.AddGateway(t, func(o *gateway.Options) { o.JWTSecret = nil })
	c := client.Dial(t, s.URLs[n], client.Options{})
	if answer := c.Ask(ask.Auth(signHS256(t, secret, claims{"sub": "u-1"}))); answer.GetAuthFailed() == nil {
		t.Errorf("answered %v", answer)
	}
}

// testRenewal sends auth on a connection that is signed in.
func testRenewal(t *testing.T, s *stack.Stack) {
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	c := client.Dial(t, s.URLs[0], client.Options{})
	end := in(2 * time.Second)
	first := c.SignIn(signHS256(t, secret, claims{"sub": "renewer", "exp": end}))
	joined, _ := c.Join("renewal")
	second := c.SignIn(signHS256(t, secret, claims{"sub": "renewer", "exp": in(time.Hour), "roles": []string{"admin"}}))
	if second.SessionId != first.SessionId || second.User.Id != "renewer" || len(second.User.Roles) != 1 ||
		!second.ExpiresAt.AsTime().After(first.ExpiresAt.AsTime()) {
		t.Errorf("first %v, then %v", first, second)
	}
	if answer := c.Ask(ask.AdminBroadcast("renewed")); answer.GetAck() == nil {
		t.Errorf("the roles of the newer token are not in force: %v", answer)
	}
	c.Want("admin-message")
	time.Sleep(time.Until(time.Unix(end, 0).Add(200 * time.Millisecond))) // the first token is over now
	if joined.Epoch == "" || c.Say("renewal", "still in").Seq == nil || !c.Alive() {
		t.Error("not in the room any more")
	}

	c2 := client.Dial(t, s.URLs[0], client.Options{})
	c2.SignIn(signHS256(t, secret, claims{"sub": "renewer"}))
	answer := c2.Ask(ask.Auth(signHS256(t, secret, claims{"sub": "somebody-else"})))
	if answer.GetAuthFailed().GetCode() != "forbidden" {
		t.Errorf("another user's token was answered %v", answer)
	}
	if code := c2.Closed(); code != 1008 {
		t.Errorf("closed with %d", code)
	}
	// A bad token is no better on a connection that is signed in.
	if answer := c.Ask(ask.Auth("nonsense")); answer.GetAuthFailed() == nil {
		t.Errorf("a bad token was answered %v", answer)
	}
	if code := c.Closed(); code != 1008 {
		t.Errorf("closed with %d", code)
	}
}

func testExpiry(t *testing.T, s *stack.Stack) {
	for _, encoding := range encodings {
		c := client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
		end := time.Unix(time.Now().Unix()+2, 0)
		if at := c.SignIn(signHS256(t, secret, claims{"sub": "mortal", "exp": end.Unix()})).ExpiresAt; !at.AsTime().Equal(end) {
			t.Errorf("expires %v, want %v", at.AsTime(), end)
		}
		c.Join("expiry")
		// One that has expired, and is accepted for clocks differ, is as good:
		// a client is not let in to be sent away at once.
		within := client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
		over := time.Unix(time.Now().Unix(), 0)
		within.SignIn(signHS256(t, secret, claims{"sub": "mortal", "exp": over.Unix()}))
		within.Join("expiry")
		if code := c.Closed(); code != 4203 {
			t.Errorf("closed with %d", code)
		}
		if late := time.Since(end); late < 0 || late > 2*time.Second {
			t.Errorf("closed %v after the end", late)
		}
		if code, late := within.Closed(), time.Since(over.Add(token.Leeway)); code != 4203 || late < 0 || late > 2*time.Second {
			t.Errorf("within the leeway: closed with %d, %v after its end", code, late)
		}
	}
}

// A client hears that its token is about to end, once, and stays where it brings
// a newer one.
func testTokenExpiring(t *testing.T, s *stack.Stack) {
	tells := s.AddGateway(t, func(o *gateway.Options) { o.TokenWarning = time.Minute })
	end := time.Unix(time.Now().Unix()+5, 0)
	ending := signHS256(t, secret, claims{"sub": "renewed", "iat": end.Add(-time.Hour).Unix(), "exp": end.Unix()})
	connect := func(gateway int) (list []*client.Client) {
		for _, encoding := range encodings {
			c := client.Dial(t, s.URLs[gateway], client.Options{Encoding: encoding})
			c.SignIn(ending)
			list = append(list, c)
		}
		return list
	}
	stays, goes, forEver, unwarned := connect(tells), connect(tells), connect(tells), connect(0)
	for _, c := range forEver {
		c.SignIn(signHS256(t, secret, claims{"sub": "renewed"}))
	}
	for _, c := range slices.Concat(stays, goes) {
		at := c.Want("token-expiring").GetTokenExpiring().ExpiresAt.AsTime()
		if !at.Equal(end) || time.Now().After(end) {
			t.Errorf("told at %v of the end at %v, want %v", time.Now(), at, end)
		}
	}
	for _, c := range stays {
		c.SignIn(signHS256(t, secret, claims{"sub": "renewed", "exp": end.Add(time.Hour).Unix()}))
	}
	for _, c := range slices.Concat(goes, unwarned) {
		if code := c.Closed(); code != 4203 || time.Now().Before(end) {
			t.Errorf("closed with %d, %v before the end", code, time.Until(end))
		}
	}
	for _, c := range slices.Concat(stays, goes, forEver, unwarned) {
		if more := c.Untaken("token-expiring"); len(more) > 0 {
			t.Errorf("told %d times too often", len(more))
		}
	}
	for _, c := range slices.Concat(stays, forEver) {
		c.Settle()
	}
}

func testAuthTimeout(t *testing.T, s *stack.Stack) {
	n := s.AddGateway(t, func(o *gateway.Options) { o.AuthTimeout = time.Second })
	late := client.Dial(t, s.URLs[n], client.Options{})
	in := client.Dial(t, s.URLs[n], client.Options{})
	if ms := in.Want("welcome").GetWelcome().Limits.AuthTimeoutMs; ms != 1000 {
		t.Errorf("welcome says %d ms", ms)
	}
	in.SignIn(signHS256(t, secret, claims{"sub": "punctual"}))
	late.Settle() // being alive is not enough
	if code := late.Closed(); code != 1008 {
		t.Errorf("closed with %d", code)
	}
	in.Settle()
}

// testRevocation ends sign-ins while their connections are open.
func testRevocation(t *testing.T, s *stack.Stack) {
	signIn := func(username string) (token, refresh, id string) {
		status, body := stack.Post(t, s.URLs[0]+"/api/auth", map[string]string{"username": username, "password": "correct horse"})
		if status != http.StatusOK {
			t.Fatalf("signing in: %d %v", status, body)
		}
		return body["token"].(string), body["refreshToken"].(string), body["user"].(map[string]any)["id"].(string)
	}
	connect := func(token string) []*client.Client {
		var list []*client.Client
		for _, base := range s.URLs[:2] {
			c := client.Dial(t, base, client.Options{})
			c.SignIn(token)
			list = append(list, c)
		}
		return list
	}
	closed := func(what string, list []*client.Client) {
		began := time.Now()
		for i, c := range list {
			if code := c.Closed(); code != 4001 {
				t.Errorf("%s: gateway %d closed with %d", what, i, code)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s took effect after %v", what, took)
		}
	}
	refused := func(token string) {
		c := client.Dial(t, s.URLs[1], client.Options{})
		if answer := c.Ask(ask.Auth(token)); answer.GetAuthFailed().GetCode() != "unauthenticated" {
			t.Errorf("a revoked token was answered %v", answer)
		}
	}
	token1, refresh1, user := signIn("revoked")
	token2, _, _ := signIn("revoked")
	token3, _, _ := signIn("revoked")
	first, second, third := connect(token1), connect(token2), connect(token3)
	resumeToken := first[0].SignIn(token1).ResumeToken

	if status, body := stack.Post(t, s.URLs[1]+"/api/logout", map[string]string{"refreshToken": refresh1}); status != http.StatusOK {
		t.Fatalf("signing out: %d %v", status, body)
	}
	closed("signing out", first)
	refused(token1)
	c := client.Dial(t, s.URLs[1], client.Options{})
	c.AskError(ask.Resume(resumeToken, nil), "resume-failed")

	request, _ := http.NewRequest(http.MethodPost, s.URLs[0]+"/api/logout", nil)
	request.Header.Set("Authorization", "bearer "+token2) // in any case of letters
	answer, err := http.DefaultClient.Do(request)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("signing out by the token: %v %v", answer, err)
	}
	answer.Body.Close()
	closed("signing out by the token", second)
	refused(token2)
	for _, c := range third {
		c.Settle() // another sign-in of the same user goes on
	}
	foreign := client.Dial(t, s.URLs[1], client.Options{}) // behind which no sign-in stands
	foreign.SignIn(signHS256(t, secret, claims{"sub": user, "iat": time.Now().Add(-time.Minute).Unix()}))
	if _, err := s.Auth.Revoke(context.Background(), &authv1.RevokeRequest{What: &authv1.RevokeRequest_UserId{UserId: user}}); err != nil {
		t.Fatal(err)
	}
	closed("revoking all of a user's", append(third, foreign))
	refused(token3)
	token4, _, _ := signIn("revoked") // later ones are good
	for _, c := range connect(token4) {
		c.Settle()
	}
}

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-im/parley/pkg/bus"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/auth"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// account is a user who has signed in over the HTTP API.
type account struct {
	id, token, refresh string
}

const password = "correct horse"

func signIn(t *testing.T, base, username string) account {
	t.Helper()
	status, body := stack.Post(t, base+"/api/auth", map[string]string{"username": username, "password": password})
	if status != http.StatusOK {
		t.Fatalf("signing %s in: %d %v", username, status, body)
	}
	return account{body["user"].(map[string]any)["id"].(string), body["token"].(string), body["refreshToken"].(string)}
}

// onBoth connects with a token to two gateways.
func onBoth(t *testing.T, s *stack.Stack, token string) []*client.Client {
	t.Helper()
	var list []*client.Client
	for _, base := range s.URLs[:2] {
		c := client.Dial(t, base, client.Options{})
		c.SignIn(token)
		list = append(list, c)
	}
	return list
}

// took logs how long a change of rights took to be in force everywhere: the
// protocol promises a second. A busy machine fails no test by it.
func took(t *testing.T, what string, began time.Time) {
	t.Helper()
	t.Logf("%s took %v", what, time.Since(began))
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func TestIdentity(t *testing.T) {
	s := stack.Start(t, stack.Options{
		Gateways: 2,
		Gateway: func(o *gateway.Options) {
			o.JWTSecret, o.TrustedProxies = secret, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		},
		Auth: func(o *auth.Options) { o.JWTSecret = secret },
	})
	other := s.AddAuth(t)
	for name, test := range map[string]func(*testing.T, *stack.Stack, authv1.AuthClient){
		"disable":      testDisable,
		"roles":        testRoles,
		"password":     testPassword,
		"sessions":     testSessions,
		"sign out all": testSignOutAll,
		"rotation":     testKeyRotation,
	} {
		t.Run(name, func(t *testing.T) { test(t, s, other) })
	}
}

func testDisable(t *testing.T, s *stack.Stack, other authv1.AuthClient) {
	in := signIn(t, s.URLs[0], "disabled")
	open := onBoth(t, s, in.token)
	resume := open[0].SignIn(in.token).ResumeToken
	foreign := onBoth(t, s, signHS256(t, secret, claims{"sub": in.id, "iat": time.Now().Unix()}))
	bystanders := onBoth(t, s, s.Token(t, "bystander"))
	began := time.Now()
	if _, err := other.DisableUser(context.Background(), &authv1.DisableUserRequest{UserId: in.id}); err != nil {
		t.Fatal(err)
	}
	for i, c := range append(open, foreign...) {
		if code := c.Closed(); code != 4003 {
			t.Errorf("connection %d closed with %d", i, code)
		}
	}
	took(t, "disabling", began)
	for _, c := range bystanders {
		c.Settle()
	}
	for _, base := range s.URLs {
		for _, token := range []string{in.token, signHS256(t, secret, claims{"sub": in.id})} {
			c := client.Dial(t, base, client.Options{})
			if failed := c.Ask(ask.Auth(token)).GetAuthFailed(); failed.GetCode() != "forbidden" {
				t.Errorf("a token of a disabled account was answered %v", failed)
			}
			if code := c.Closed(); code != 1008 {
				t.Errorf("closed with %d", code)
			}
		}
		client.Dial(t, base, client.Options{}).AskError(ask.Resume(resume, nil), "resume-failed")
	}
	// One that starts later knows, too.
	late := client.Dial(t, s.URLs[s.AddGateway(t, nil)], client.Options{})
	if failed := late.Ask(ask.Auth(in.token)).GetAuthFailed(); failed.GetCode() != "forbidden" {
		t.Errorf("a gateway that has just started answered %v", failed)
	}
	if status, body := stack.Post(t, s.URLs[0]+"/api/auth", map[string]string{"username": "disabled", "password": password}); status != http.StatusForbidden {
		t.Errorf("signing in: %d %v", status, body)
	}
	if status, body := stack.Post(t, s.URLs[0]+"/api/refresh", map[string]string{"refreshToken": in.refresh}); status != http.StatusUnauthorized {
		t.Errorf("refreshing: %d %v", status, body)
	}

	if _, err := other.EnableUser(context.Background(), &authv1.EnableUserRequest{UserId: in.id}); err != nil {
		t.Fatal(err)
	}
	again := signIn(t, s.URLs[0], "disabled")
	for _, base := range s.URLs {
		stack.Eventually(t, "welcome again", func() error {
			c := client.Dial(t, base, client.Options{})
			defer c.Cut()
			if answer := c.Ask(ask.Auth(again.token)); answer.GetAuthSuccess() == nil {
				return fmt.Errorf("answered %v", answer)
			}
			return nil
		})
		c := client.Dial(t, base, client.Options{})
		if failed := c.Ask(ask.Auth(in.token)).GetAuthFailed(); failed.GetCode() != "unauthenticated" {
			t.Errorf("a token from before: %v", failed)
		}
	}
}

func testRoles(t *testing.T, s *stack.Stack, other authv1.AuthClient) {
	in := signIn(t, s.URLs[0], "rising")
	owner := client.Dial(t, s.URLs[0], client.Options{})
	owner.SignIn(s.Token(t, "closed room's owner"))
	private := "private"
	if answer := owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: "closed-room", Visibility: &private})); !answer.GetRoomCreated().GetSuccess() {
		t.Fatalf("answered %v", answer)
	}
	open := onBoth(t, s, in.token)
	resume := open[1].SignIn(in.token).ResumeToken
	foreign := client.Dial(t, s.URLs[0], client.Options{})
	foreign.SignIn(signHS256(t, secret, claims{"sub": in.id}))
	set := func(api authv1.AuthClient, roles ...string) {
		t.Helper()
		if _, err := api.SetRoles(context.Background(), &authv1.SetRolesRequest{UserId: in.id, Roles: roles}); err != nil {
			t.Fatal(err)
		}
	}
	broadcasts := func(want bool, what string) {
		t.Helper()
		began := time.Now()
		for _, c := range open {
			stack.Eventually(t, what, func() error {
				if answer := c.Ask(ask.AdminBroadcast("hear")); (answer.GetAck() != nil) != want {
					return fmt.Errorf("admin-broadcast was answered %v", answer)
				}
				return nil
			})
		}
		took(t, what, began)
	}
	for _, c := range open {
		c.AskError(ask.AdminBroadcast("hear"), "forbidden")
	}
	set(other, "user", "admin")
	broadcasts(true, "becoming an admin")
	for _, c := range open {
		c.Join("closed-room") // admins may
	}
	foreign.AskError(ask.AdminBroadcast("hear"), "forbidden") // its issuer says who it is

	// What is older than the change is not heard any more.
	for _, base := range s.URLs[:2] {
		c := client.Dial(t, base, client.Options{})
		if u := c.SignIn(in.token).User; !slices.Equal(u.Roles, []string{"admin", "user"}) {
			t.Errorf("an old token signs in as %v", u)
		}
		c = client.Dial(t, base, client.Options{})
		if u := c.Ask(ask.Resume(resume, nil)).GetResumed().GetUser(); !slices.Equal(u.GetRoles(), []string{"admin", "user"}) {
			t.Errorf("an old resume token resumes as %v", u)
		}
	}
	admins := signIn(t, s.URLs[0], "rising")
	set(s.Auth, "user")
	began := time.Now()
	for _, c := range open {
		c.Want("kicked") // out of where only admins may be
	}
	took(t, "leaving the room", began)
	broadcasts(false, "not being an admin any more")
	for _, base := range s.URLs[:2] {
		c := client.Dial(t, base, client.Options{})
		if u := c.SignIn(admins.token).User; !slices.Equal(u.Roles, []string{"user"}) {
			t.Errorf("an admin's token signs in as %v", u)
		}
		c.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: "closed-room"}), "forbidden")
	}
}

func testPassword(t *testing.T, s *stack.Stack, _ authv1.AuthClient) {
	mine, others := signIn(t, s.URLs[0], "careful"), signIn(t, s.URLs[1], "careful")
	here, elsewhere := onBoth(t, s, mine.token), onBoth(t, s, others.token)
	change := func(body string, header http.Header) (int, map[string]any) {
		t.Helper()
		answer, object := call(t, http.MethodPost, s.URLs[1]+"/api/password", body, header)
		return answer.StatusCode, object
	}
	for want, row := range map[string]struct {
		body   string
		header http.Header
		status int
	}{
		"unauthenticated":  {`{"password":"correct horse","newPassword":"better"}`, nil, 401},
		"invalid-argument": {`{"password":"correct horse"}`, bearer(mine.token), 400},
		"forbidden":        {`{"password":"wrong","newPassword":"better"}`, bearer(mine.token), 403},
	} {
		status, object := change(row.body, row.header)
		if e, _ := object["error"].(map[string]any); status != row.status || e["code"] != want {
			t.Errorf("%s: %d %v", row.body, status, object)
		}
	}
	began := time.Now()
	if status, object := change(`{"password":"correct horse","newPassword":"better"}`, bearer(mine.token)); status != 200 || object["success"] != true {
		t.Fatalf("changing it: %d %v", status, object)
	}
	for _, c := range elsewhere {
		if code := c.Closed(); code != 4001 {
			t.Errorf("closed with %d", code)
		}
	}
	took(t, "ending other sign-ins", began) // most of it the hashing of two passwords
	for _, c := range here {
		c.Settle()
	}
	if status, _ := stack.Post(t, s.URLs[0]+"/api/refresh", map[string]string{"refreshToken": others.refresh}); status != 401 {
		t.Errorf("another sign-in is refreshed: %d", status)
	}
	if status, _ := stack.Post(t, s.URLs[0]+"/api/refresh", map[string]string{"refreshToken": mine.refresh}); status != 200 {
		t.Errorf("one's own is not refreshed: %d", status)
	}
	if status, _ := stack.Post(t, s.URLs[0]+"/api/auth", map[string]string{"username": "careful", "password": "better"}); status != 200 {
		t.Errorf("the new password: %d", status)
	}
}

func testSessions(t *testing.T, s *stack.Stack, _ authv1.AuthClient) {
	signInAs := func(agent string) account {
		answer, body := call(t, http.MethodPost, s.URLs[0]+"/api/auth", `{"username":"nomad","password":"correct horse"}`,
			http.Header{"User-Agent": {agent}, "X-Forwarded-For": {"198.51.100.1, 203.0.113.9"}})
		if answer.StatusCode != 200 {
			t.Fatalf("signing in: %v", body)
		}
		return account{body["user"].(map[string]any)["id"].(string), body["token"].(string), body["refreshToken"].(string)}
	}
	phone, laptop := signInAs("phone"), signInAs("laptop")
	stranger := signIn(t, s.URLs[0], "stranger")
	list := func(token string) []map[string]any {
		t.Helper()
		answer, body := call(t, http.MethodGet, s.URLs[1]+"/api/sessions", "", bearer(token))
		raw, _ := json.Marshal(body["sessions"])
		var sessions []map[string]any
		if err := json.Unmarshal(raw, &sessions); answer.StatusCode != 200 || err != nil {
			t.Fatalf("listing: %d %v", answer.StatusCode, body)
		}
		return sessions
	}
	sessions := list(phone.token)
	if len(sessions) != 2 || sessions[0]["userAgent"] != "laptop" || sessions[1]["userAgent"] != "phone" ||
		sessions[0]["current"] != false || sessions[1]["current"] != true || sessions[0]["address"] != "203.0.113.9" {
		t.Fatalf("listed %v", sessions)
	}
	for _, field := range []string{"createdAt", "usedAt", "expiresAt"} {
		if _, err := time.Parse(time.RFC3339, fmt.Sprint(sessions[0][field])); err != nil {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, row := range []struct {
		method string
		header http.Header
		status int
	}{{http.MethodGet, nil, 401}, {http.MethodGet, bearer("x"), 401}, {http.MethodPost, bearer(phone.token), 405}} {
		if answer, body := call(t, row.method, s.URLs[0]+"/api/sessions", "", row.header); answer.StatusCode != row.status {
			t.Errorf("%s /api/sessions: %d %v", row.method, answer.StatusCode, body)
		}
	}
	// One's own session may be ended, another's not.
	there := onBoth(t, s, laptop.token)
	end := `{"sessionId":"` + sessions[0]["id"].(string) + `"}`
	if answer, body := call(t, http.MethodPost, s.URLs[0]+"/api/logout", end, bearer(stranger.token)); answer.StatusCode != 404 {
		t.Errorf("another's: %d %v", answer.StatusCode, body)
	}
	if answer, body := call(t, http.MethodPost, s.URLs[0]+"/api/logout", end, nil); answer.StatusCode != 401 {
		t.Errorf("anybody's: %d %v", answer.StatusCode, body)
	}
	began := time.Now()
	if answer, body := call(t, http.MethodPost, s.URLs[0]+"/api/logout", end, bearer(phone.token)); answer.StatusCode != 200 {
		t.Errorf("one's own: %d %v", answer.StatusCode, body)
	}
	for _, c := range there {
		if code := c.Closed(); code != 4001 {
			t.Errorf("closed with %d", code)
		}
	}
	took(t, "ending one", began)
	if sessions := list(phone.token); len(sessions) != 1 {
		t.Errorf("then listed %v", sessions)
	}
}

func testSignOutAll(t *testing.T, s *stack.Stack, _ authv1.AuthClient) {
	one, two := signIn(t, s.URLs[0], "leaver"), signIn(t, s.URLs[0], "leaver")
	open := append(onBoth(t, s, one.token), onBoth(t, s, two.token)...)
	began := time.Now()
	if status, body := stack.Post(t, s.URLs[1]+"/api/logout", map[string]any{"refreshToken": one.refresh, "all": true}); status != 200 {
		t.Fatalf("signing out: %d %v", status, body)
	}
	for _, c := range open {
		if code := c.Closed(); code != 4001 {
			t.Errorf("closed with %d", code)
		}
	}
	took(t, "signing out everywhere", began)
	if answer, body := call(t, http.MethodPost, s.URLs[1]+"/api/logout", `{"all":true}`, bearer(two.token)); answer.StatusCode != 401 {
		t.Errorf("by a token that has ended: %d %v", answer.StatusCode, body)
	}
	three := signIn(t, s.URLs[0], "leaver")
	if answer, body := call(t, http.MethodPost, s.URLs[1]+"/api/logout", `{"all":true}`, bearer(three.token)); answer.StatusCode != 200 {
		t.Errorf("by a token: %d %v", answer.StatusCode, body)
	}
}

// testKeyRotation signs in at two replicas of auth all the time while the key is
// replaced, and takes each token to two gateways at once.
func testKeyRotation(t *testing.T, s *stack.Stack, other authv1.AuthClient) {
	replicas := []authv1.AuthClient{s.Auth, other}
	signIn(t, s.URLs[0], "rotated")
	tokens := map[string]string{} // by the key that signed them
	take := func(token string) {
		t.Helper()
		for _, base := range s.URLs[:2] {
			c := client.Dial(t, base, client.Options{})
			if answer := c.Ask(ask.Auth(token)); answer.GetAuthSuccess() == nil {
				t.Fatalf("a token signed with %s was answered %v", keyOf(t, token), answer)
			}
			c.Cut()
		}
	}
	round := func() {
		t.Helper()
		for _, api := range replicas {
			in, err := api.Login(context.Background(), &authv1.LoginRequest{Username: "rotated", Password: password})
			if err != nil {
				t.Fatal(err)
			}
			take(in.Token)
			tokens[keyOf(t, in.Token)] = in.Token
		}
	}
	round()
	old, _ := publicKey(t, s.URLs[0])
	if n := publishedKeys(t, s.URLs[0]); n != 1 {
		t.Fatalf("%d keys are published", n)
	}
	next, err := other.RotateKeys(context.Background(), &authv1.RotateKeysRequest{Lead: durationpb.New(2 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if next.OldKid != old {
		t.Errorf("rotating %s gives %v", old, next)
	}
	for _, base := range s.URLs[:2] {
		stack.Eventually(t, "both keys are published", func() error {
			if n := publishedKeys(t, base); n != 2 {
				return fmt.Errorf("%d are", n)
			}
			return nil
		})
	}
	if _, early := tokens[next.Kid]; early {
		t.Error("signed with the new key already")
	}
	for tokens[next.Kid] == "" || time.Now().Before(next.SignsAt.AsTime().Add(300*time.Millisecond)) {
		round()
	}
	if len(tokens) != 2 || tokens[old] == "" {
		t.Fatalf("signed with %d keys", len(tokens))
	}
	take(tokens[old])
	// As after the hour that the last token of the old key lives.
	kv, err := s.Bus.Bucket(context.Background(), bus.Keys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(context.Background(), "until."+old, []byte("1")); err != nil {
		t.Fatal(err)
	}
	for _, base := range s.URLs[:2] {
		stack.Eventually(t, "the old key is gone", func() error {
			if n := publishedKeys(t, base); n != 1 {
				return fmt.Errorf("%d are published", n)
			}
			return nil
		})
		c := client.Dial(t, base, client.Options{})
		if answer := c.Ask(ask.Auth(tokens[old])); answer.GetAuthFailed().GetCode() != "unauthenticated" {
			t.Errorf("a token of the old key was answered %v", answer)
		}
	}
	take(tokens[next.Kid])
}

// keyOf tells which key a token was signed with.
func keyOf(t *testing.T, token string) string {
	t.Helper()
	return tokenHeader(t, token)["kid"].(string)
}

// Who may register is the deployment's to say, and who guesses waits.
func TestRegistration(t *testing.T) {
	s := stack.Start(t, stack.Options{Auth: func(o *auth.Options) {
		o.Registration, o.AutoRegister = auth.ByInvite, false
		o.Guessing.Here = auth.Slowdown{Free: 1, First: time.Hour, Longest: time.Hour, Forgive: time.Hour}
	}})
	register := func(body map[string]any) (int, map[string]any) {
		t.Helper()
		status, object := stack.Post(t, s.URLs[0]+"/api/register", body)
		e, _ := object["error"].(map[string]any)
		return status, e
	}
	if status, e := register(map[string]any{"username": "ann", "password": password}); status != 400 || e["field"] != "inviteCode" {
		t.Errorf("without a code: %d %v", status, e)
	}
	if status, e := register(map[string]any{"username": "ann", "password": password, "inviteCode": "ABC"}); status != 403 || e["field"] != "inviteCode" {
		t.Errorf("with a wrong code: %d %v", status, e)
	}
	invite, err := s.Auth.CreateInvite(context.Background(), &authv1.CreateInviteRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if status, e := register(map[string]any{"username": "ann", "password": password, "inviteCode": invite.Code}); status != 200 {
		t.Errorf("with the code: %d %v", status, e)
	}
	if status, e := register(map[string]any{"username": "bob", "password": password, "inviteCode": invite.Code}); status != 403 {
		t.Errorf("with the code again: %d %v", status, e)
	}
	guess := `{"username":"nobody","password":"guess"}`
	if answer, object := call(t, http.MethodPost, s.URLs[0]+"/api/auth", guess, nil); answer.StatusCode != 401 {
		t.Errorf("a guess: %d %v", answer.StatusCode, object)
	}
	answer, object := call(t, http.MethodPost, s.URLs[0]+"/api/auth", guess, nil)
	if after := answer.Header.Get("Retry-After"); answer.StatusCode != 429 || after != "3600" {
		t.Errorf("another: %d %v, Retry-After %q", answer.StatusCode, object, after)
	}
}

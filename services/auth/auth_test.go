package auth_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	"github.com/parley-im/parley/pkg/errs"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	"github.com/parley-im/parley/services/auth"
)

// registrar catches the API that a service registers.
type registrar struct{ api authv1.AuthServer }

func (r *registrar) RegisterService(_ *grpc.ServiceDesc, api any) { r.api = api.(authv1.AuthServer) }

func startNATS(t *testing.T, dir string) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(embedded.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	return server
}

func connect(t *testing.T, server *embedded.Server) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Options{InProcess: server, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// start runs a service on a bus until the test, or stop, ends it.
func start(t *testing.T, o auth.Options) (api authv1.AuthServer, stop func()) {
	t.Helper()
	s, err := auth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var r registrar
	s.Register(&r)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	eventually(t, "ready", func() bool { return s.Ready(ctx) == nil })
	return r.api, stop
}

// one is one service on a new NATS.
func one(t *testing.T, o auth.Options) (authv1.AuthServer, *bus.Bus) {
	t.Helper()
	b := connect(t, startNATS(t, t.TempDir()))
	o.Bus = b
	api, _ := start(t, o)
	return api, b
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s in 10 s", what)
		}
	}
}

func register(t *testing.T, api authv1.AuthServer, username, password string) *authv1.SignedIn {
	t.Helper()
	in, err := api.Register(t.Context(), &authv1.RegisterRequest{Username: username, Password: password})
	if err != nil {
		t.Fatalf("registering %q: %v", username, err)
	}
	return in
}

func login(t *testing.T, api authv1.AuthServer, username, password string) (*authv1.SignedIn, error) {
	t.Helper()
	return api.Login(t.Context(), &authv1.LoginRequest{Username: username, Password: password})
}

func verify(t *testing.T, api authv1.AuthServer, token string) (*authv1.VerifyResponse, error) {
	t.Helper()
	return api.Verify(t.Context(), &authv1.VerifyRequest{Token: token})
}

func refresh(t *testing.T, api authv1.AuthServer, token string) (*authv1.SignedIn, error) {
	t.Helper()
	return api.Refresh(t.Context(), &authv1.RefreshRequest{RefreshToken: token})
}

// wantCode checks an error's code, and its field unless that is "".
func wantCode(t *testing.T, err error, code errs.Code, field string) {
	t.Helper()
	coded := errs.From(err)
	if err == nil || coded.Code != code || field != "" && coded.Field != field {
		t.Errorf("got %v, want %s %s", err, code, field)
	}
	if coded != nil && coded.Code == errs.RateLimited && coded.RetryAfter <= 0 {
		t.Errorf("%v does not tell when to try again", err)
	}
}

func TestOptions(t *testing.T) {
	b := connect(t, startNATS(t, t.TempDir()))
	for name, o := range map[string]auth.Options{
		"no bus":            {},
		"tokens too long":   {Bus: b, TokenTTL: bus.SessionTTL + 1},
		"tokens negative":   {Bus: b, TokenTTL: -1},
		"password too long": {Bus: b, MinPasswordLength: 1025},
		"hashing negative":  {Bus: b, HashConcurrency: -1},
		"password negative": {Bus: b, MinPasswordLength: -1},
	} {
		if _, err := auth.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestUnavailableBeforeRun(t *testing.T) {
	s, err := auth.New(auth.Options{Bus: connect(t, startNATS(t, t.TempDir()))})
	if err != nil {
		t.Fatal(err)
	}
	var r registrar
	s.Register(&r)
	if s.Ready(t.Context()) == nil {
		t.Error("ready")
	}
	_, err = login(t, r.api, "alice", "secret")
	wantCode(t, err, errs.Unavailable, "")
}

func TestRegisterLoginVerify(t *testing.T) {
	api, _ := one(t, auth.Options{})
	began := time.Now().Add(-time.Second)
	first := register(t, api, "alice", "correct horse")
	u := first.User
	if !strings.HasPrefix(u.Id, "u_") || u.Username != "alice" || fmt.Sprint(u.Roles) != "[user]" || u.Disabled || u.CreatedAt.AsTime().Before(began) {
		t.Errorf("registered as %v", u)
	}
	_, err := api.Register(t.Context(), &authv1.RegisterRequest{Username: "alice", Password: "other"})
	wantCode(t, err, errs.AlreadyExists, "username")

	second, err := login(t, api, "alice", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if second.User.Id != u.Id || second.SessionId == first.SessionId || second.RefreshToken == first.RefreshToken {
		t.Errorf("signed in as %v", second)
	}
	life := time.Until(second.ExpiresAt.AsTime())
	if life > bus.SessionTTL || life < bus.SessionTTL-10*time.Second {
		t.Errorf("the token lives %s", life)
	}
	for _, in := range []*authv1.SignedIn{first, second} {
		v, err := verify(t, api, in.Token)
		if err != nil {
			t.Fatal(err)
		}
		if v.User.Id != u.Id || v.User.Username != "alice" || v.SessionId != in.SessionId || !v.ExpiresAt.AsTime().Equal(in.ExpiresAt.AsTime()) {
			t.Errorf("verified as %v", v)
		}
	}

	// One answer for both, to the letter.
	_, wrong := login(t, api, "alice", "wrong horse")
	_, unknown := login(t, api, "nobody", "wrong horse")
	wantCode(t, wrong, errs.Unauthenticated, "")
	if unknown == nil || wrong.Error() != unknown.Error() {
		t.Errorf("wrong password: %v; unknown user: %v", wrong, unknown)
	}

	for _, q := range []*authv1.GetUserRequest{
		{Who: &authv1.GetUserRequest_Id{Id: u.Id}},
		{Who: &authv1.GetUserRequest_Username{Username: "alice"}},
	} {
		if got, err := api.GetUser(t.Context(), q); err != nil || got.Id != u.Id || got.Username != "alice" {
			t.Errorf("%v: %v, %v", q, got, err)
		}
	}
	_, err = api.GetUser(t.Context(), &authv1.GetUserRequest{Who: &authv1.GetUserRequest_Id{Id: "u_none"}})
	wantCode(t, err, errs.NotFound, "")
	_, err = api.GetUser(t.Context(), &authv1.GetUserRequest{Who: &authv1.GetUserRequest_Username{Username: "nobody"}})
	wantCode(t, err, errs.NotFound, "")
}

func TestUsernamesInUnicode(t *testing.T) {
	api, _ := one(t, auth.Options{})
	composed, decomposed := "Zo\u00eb", "Zoe\u0308"
	a := register(t, api, decomposed, "pa\u0308ss")
	if a.User.Username != composed {
		t.Errorf("registered as %q", a.User.Username)
	}
	_, err := api.Register(t.Context(), &authv1.RegisterRequest{Username: composed, Password: "x"})
	wantCode(t, err, errs.AlreadyExists, "username")
	b, err := login(t, api, composed, "p\u00e4ss")
	if err != nil || b.User.Id != a.User.Id {
		t.Errorf("got %v, %v", b, err)
	}
	register(t, api, strings.Repeat("😀", 32), "x")
	register(t, api, "a.b *>: c", "x")
}

func TestInvalidArguments(t *testing.T) {
	api, _ := one(t, auth.Options{MinPasswordLength: 8, AutoRegister: true})
	register(t, api, "alice", "long enough")
	ctx := t.Context()
	const good = "long enough"
	long := strings.Repeat("x", 1025)
	for _, c := range []struct {
		name, username, password, field string
	}{
		{"nothing", "", "", "username"},
		{"no username", "", good, "username"},
		{"no password", "alice", "", "password"},
		{"33 characters", strings.Repeat("é", 33), good, "username"},
		{"newline", "a\nb", good, "username"},
		{"NUL", "a\x00", good, "username"},
		{"C1 control", "a\u0085", good, "username"},
		{"blank", " \u00a0 ", good, "username"},
		{"username not UTF-8", "a\xff", good, "username"},
		{"password not UTF-8", "alice", "longish\xff\xff", "password"},
		{"password too long", "alice", long, "password"},
		{"new password too short", "newcomer", "7 chars", "password"},
	} {
		_, err := login(t, api, c.username, c.password)
		wantCode(t, err, errs.InvalidArgument, c.field)
		_, err = api.Register(ctx, &authv1.RegisterRequest{Username: c.username, Password: c.password})
		wantCode(t, err, errs.InvalidArgument, c.field)
		if t.Failed() {
			t.Fatal(c.name)
		}
	}
	_, err := verify(t, api, "")
	wantCode(t, err, errs.InvalidArgument, "token")
	_, err = refresh(t, api, "")
	wantCode(t, err, errs.InvalidArgument, "refreshToken")
	_, err = api.GetUser(ctx, &authv1.GetUserRequest{})
	wantCode(t, err, errs.InvalidArgument, "id")
	_, err = api.GetUser(ctx, &authv1.GetUserRequest{Who: &authv1.GetUserRequest_Id{Id: "a\nb"}})
	wantCode(t, err, errs.InvalidArgument, "id")
	_, err = api.GetUser(ctx, &authv1.GetUserRequest{Who: &authv1.GetUserRequest_Username{}})
	wantCode(t, err, errs.InvalidArgument, "username")
	_, err = api.Touch(ctx, &authv1.TouchRequest{SessionIds: make([]string, 1001)})
	wantCode(t, err, errs.InvalidArgument, "sessionIds")
	for field, q := range map[string]*authv1.RevokeRequest{
		"sessionId":    {What: &authv1.RevokeRequest_SessionId{}},
		"refreshToken": {What: &authv1.RevokeRequest_RefreshToken{}},
		"token":        {What: &authv1.RevokeRequest_Token{}},
		"userId":       {What: &authv1.RevokeRequest_UserId{}},
	} {
		_, err = api.Revoke(ctx, q)
		wantCode(t, err, errs.InvalidArgument, field)
	}
	_, err = api.Revoke(ctx, &authv1.RevokeRequest{})
	wantCode(t, err, errs.InvalidArgument, "sessionId")
}

func TestAutoRegister(t *testing.T) {
	api, _ := one(t, auth.Options{AutoRegister: true})
	in, err := login(t, api, "alice", "secret")
	if err != nil {
		t.Fatal(err)
	}
	_, err = login(t, api, "alice", "other")
	wantCode(t, err, errs.Unauthenticated, "")
	again, err := login(t, api, "alice", "secret")
	if err != nil || again.User.Id != in.User.Id {
		t.Errorf("got %v, %v", again, err)
	}
}

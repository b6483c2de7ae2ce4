package auth_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	"github.com/parley-im/parley/services/auth"
)

// kidOf reads the key's name in a token.
func kidOf(t *testing.T, raw string) string {
	t.Helper()
	head, _, _ := strings.Cut(raw, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	var header struct{ Kid string }
	if err == nil {
		err = json.Unmarshal(text, &header)
	}
	if err != nil {
		t.Fatal(err)
	}
	return header.Kid
}

func invited(t *testing.T, api authv1.AuthServer, username, code string) error {
	t.Helper()
	_, err := api.Register(t.Context(), &authv1.RegisterRequest{Username: username, Password: "secret", InviteCode: code})
	return err
}

func TestRegistration(t *testing.T) {
	server := startNATS(t, t.TempDir())
	b := connect(t, server)
	closed, _ := start(t, auth.Options{Bus: b, Registration: auth.Closed, AutoRegister: true})
	byInvite, _ := start(t, auth.Options{Bus: b, Registration: auth.ByInvite, AutoRegister: true})
	open, _ := start(t, auth.Options{Bus: b})
	if _, err := auth.New(auth.Options{Bus: b, Registration: "ajar"}); err == nil {
		t.Error("an unknown registration is accepted")
	}
	for _, api := range []authv1.AuthServer{closed, byInvite} {
		_, err := login(t, api, "first sign-in", "secret")
		wantCode(t, err, errs.Unauthenticated, "")
	}
	wantCode(t, invited(t, closed, "alice", ""), errs.Forbidden, "")
	wantCode(t, invited(t, byInvite, "alice", ""), errs.InvalidArgument, "inviteCode")
	wantCode(t, invited(t, byInvite, "alice", "ABCDE-ABCDE-ABCDE-ABCDE"), errs.Forbidden, "inviteCode")
	made, err := closed.CreateUser(t.Context(), &authv1.CreateUserRequest{Username: "alice", Password: "secret"})
	if err != nil || made.Username != "alice" || fmt.Sprint(made.Roles) != "[user]" {
		t.Fatalf("made %v, %v", made, err)
	}
	_, err = closed.CreateUser(t.Context(), &authv1.CreateUserRequest{Username: "alice", Password: "other"})
	wantCode(t, err, errs.AlreadyExists, "username")
	if _, err := login(t, closed, "alice", "secret"); err != nil {
		t.Error(err)
	}
	if err := invited(t, open, "bob", "whatever"); err != nil {
		t.Error(err)
	}
	// Who has no code does not learn which usernames there are.
	wantCode(t, invited(t, byInvite, "alice", "x"), errs.Forbidden, "inviteCode")
}

func TestInvites(t *testing.T) {
	server := startNATS(t, t.TempDir())
	b := connect(t, server)
	api, _ := start(t, auth.Options{Bus: b, Registration: auth.ByInvite})
	other, _ := start(t, auth.Options{Bus: connect(t, server), Registration: auth.ByInvite})
	create := func(uses uint32, life time.Duration) *authv1.CreateInviteResponse {
		t.Helper()
		answer, err := api.CreateInvite(t.Context(), &authv1.CreateInviteRequest{Uses: uses, Life: durationpb.New(life)})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	for field, q := range map[string]*authv1.CreateInviteRequest{
		"uses": {Uses: 10_001}, "life": {Life: durationpb.New(time.Second)},
	} {
		_, err := api.CreateInvite(t.Context(), q)
		wantCode(t, err, errs.InvalidArgument, field)
	}
	one := create(0, time.Hour)
	if one.Invite.UsesLeft != 1 || len(one.Code) != 23 || time.Until(one.Invite.ExpiresAt.AsTime()) > time.Hour {
		t.Errorf("made %v", one)
	}
	raw := text(t, bucket(t, b, bus.Users), "invite."+one.Invite.Id)
	if raw == "" || strings.Contains(raw, one.Code) || strings.Contains(raw, strings.ReplaceAll(one.Code, "-", "")) {
		t.Errorf("kept is %s", raw)
	}
	// As somebody types it; and a use that comes to nothing is no use.
	typed := " " + strings.ToLower(strings.ReplaceAll(one.Code, "-", " ")) + " "
	if err := invited(t, api, "alice", typed); err != nil {
		t.Fatal(err)
	}
	wantCode(t, invited(t, api, "bob", one.Code), errs.Forbidden, "inviteCode")

	several := create(3, time.Hour)
	wantCode(t, invited(t, other, "alice", several.Code), errs.AlreadyExists, "username")
	var wg sync.WaitGroup
	results := make(chan error, 12)
	for i := range cap(results) {
		api := []authv1.AuthServer{api, other}[i%2]
		wg.Go(func() { results <- invited(t, api, fmt.Sprint("user", i), several.Code) })
	}
	wg.Wait()
	close(results)
	in := 0
	for err := range results {
		if err == nil {
			in++
		} else if code := errs.CodeOf(err); code != errs.Forbidden && code != errs.Unavailable {
			t.Error(err)
		}
	}
	if in != 3 {
		t.Errorf("%d came in by a code for 3", in)
	}
	// Several who want one name at the same time use the code up once.
	names := create(10, time.Hour)
	for range 4 {
		wg.Go(func() { _ = invited(t, api, "contended", names.Code) })
	}
	wg.Wait()
	list, err := api.ListInvites(t.Context(), &authv1.ListInvitesRequest{})
	if err != nil || len(list.Invites) != 1 || list.Invites[0].Id != names.Invite.Id || list.Invites[0].UsesLeft != 9 {
		t.Errorf("good are %v, %v", list, err)
	}
	if _, err := other.RevokeInvite(t.Context(), &authv1.RevokeInviteRequest{Id: names.Invite.Id}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, invited(t, api, "late", names.Code), errs.Forbidden, "inviteCode")
	_, err = api.RevokeInvite(t.Context(), &authv1.RevokeInviteRequest{Id: names.Invite.Id})
	wantCode(t, err, errs.NotFound, "")
	for _, id := range []string{"", "*", "a.b", strings.Repeat("A", 65)} {
		_, err = api.RevokeInvite(t.Context(), &authv1.RevokeInviteRequest{Id: id})
		wantCode(t, err, errs.InvalidArgument, "id")
	}
	// One that has expired goes with the next that is made.
	expired := create(1, time.Hour)
	kv := bucket(t, b, bus.Users)
	if _, err := kv.Put(t.Context(), "invite."+expired.Invite.Id, []byte(`{"usesLeft":1,"expiresMs":1}`)); err != nil {
		t.Fatal(err)
	}
	wantCode(t, invited(t, api, "late", expired.Code), errs.Forbidden, "inviteCode")
	create(1, time.Hour)
	if text(t, kv, "invite."+expired.Invite.Id) != "" {
		t.Error("an expired code is kept")
	}
}

func TestChangePassword(t *testing.T) {
	server := startNATS(t, t.TempDir())
	b := connect(t, server)
	api, _ := start(t, auth.Options{Bus: b, JWTSecret: []byte("short")})
	first, second := register(t, api, "alice", "secret"), (*authv1.SignedIn)(nil)
	second, err := login(t, api, "alice", "secret")
	if err != nil {
		t.Fatal(err)
	}
	change := func(token, password, next string) error {
		t.Helper()
		_, err := api.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{Token: token, Password: password, NewPassword: next})
		return err
	}
	wantCode(t, change("", "secret", "new secret"), errs.InvalidArgument, "token")
	wantCode(t, change(first.Token, "", "new secret"), errs.InvalidArgument, "password")
	wantCode(t, change(first.Token, "secret", ""), errs.InvalidArgument, "newPassword")
	wantCode(t, change("x", "secret", "new secret"), errs.Unauthenticated, "")
	wantCode(t, change(first.Token, "wrong", "new secret"), errs.Forbidden, "password")
	wantCode(t, change(foreign(t, "short", map[string]any{"userId": first.User.Id}), "secret", "new secret"), errs.Forbidden, "")

	answer, err := api.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{Token: first.Token, Password: "secret", NewPassword: "new secret"})
	if err != nil || answer.Revoked != 1 {
		t.Fatalf("changing it: %v, %v", answer, err)
	}
	if _, err := verify(t, api, first.Token); err != nil {
		t.Errorf("the sign-in that changed it: %v", err)
	}
	next, err := refresh(t, api, first.RefreshToken)
	if err != nil {
		t.Errorf("the sign-in that changed it: %v", err)
	}
	_, err = verify(t, api, second.Token)
	wantCode(t, err, errs.Unauthenticated, "")
	_, err = refresh(t, api, second.RefreshToken)
	wantCode(t, err, errs.Unauthenticated, "")
	_, err = login(t, api, "alice", "secret")
	wantCode(t, err, errs.Unauthenticated, "")
	if _, err := login(t, api, "alice", "new secret"); err != nil {
		t.Error(err)
	}
	// An administrator needs no old one, and all sign-ins end.
	if _, err := api.SetPassword(t.Context(), &authv1.SetPasswordRequest{UserId: first.User.Id, Password: "reset"}); err != nil {
		t.Fatal(err)
	}
	_, err = refresh(t, api, next.RefreshToken)
	wantCode(t, err, errs.Unauthenticated, "")
	wantCode(t, change(next.Token, "reset", "again"), errs.Unauthenticated, "")
	if _, err := login(t, api, "alice", "reset"); err != nil {
		t.Error(err)
	}
}

// A sign-in with the old password that is being made while the password is
// changed does not outlive the change.
func TestSignInsDuringAChange(t *testing.T) {
	server := startNATS(t, t.TempDir())
	a, _ := start(t, auth.Options{Bus: connect(t, server), HashConcurrency: 4})
	b, _ := start(t, auth.Options{Bus: connect(t, server), HashConcurrency: 4})
	in := register(t, a, "alice", "secret")
	var wg sync.WaitGroup
	made := make(chan *authv1.SignedIn, 64)
	for range 4 {
		wg.Go(func() {
			for range 8 {
				if in, err := b.Login(t.Context(), &authv1.LoginRequest{Username: "alice", Password: "secret"}); err == nil {
					made <- in
				}
			}
		})
	}
	if _, err := a.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{Token: in.Token, Password: "secret", NewPassword: "new"}); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	close(made)
	for in := range made {
		if _, err := refresh(t, a, in.RefreshToken); errs.CodeOf(err) != errs.Unauthenticated {
			t.Errorf("a sign-in with the old password is refreshed: %v", err)
		}
		eventually(t, "void", func() bool {
			_, err := verify(t, b, in.Token)
			return errs.CodeOf(err) == errs.Unauthenticated
		})
	}
	if _, err := refresh(t, b, in.RefreshToken); err != nil {
		t.Errorf("the sign-in that changed it: %v", err)
	}
}

func TestSetRoles(t *testing.T) {
	api, b := one(t, auth.Options{})
	in := register(t, api, "alice", "secret")
	for name, roles := range map[string][]string{
		"empty": {""}, "capitals": {"Admin"}, "space": {"a b"}, "long": {strings.Repeat("a", 33)}, "many": slices.Repeat([]string{"a"}, 17),
	} {
		_, err := api.SetRoles(t.Context(), &authv1.SetRolesRequest{UserId: in.User.Id, Roles: roles})
		if wantCode(t, err, errs.InvalidArgument, "roles"); t.Failed() {
			t.Fatal(name)
		}
	}
	_, err := api.SetRoles(t.Context(), &authv1.SetRolesRequest{UserId: "u_none", Roles: []string{"admin"}})
	wantCode(t, err, errs.NotFound, "")
	standings := bus.NewStandings(b, nil)
	ctx, done := t.Context(), make(chan struct{})
	go func() {
		defer close(done)
		_ = standings.Run(ctx)
	}()
	t.Cleanup(func() { <-done })
	u, err := api.SetRoles(t.Context(), &authv1.SetRolesRequest{UserId: in.User.Id, Roles: []string{"staff", "admin", "staff"}})
	if err != nil || fmt.Sprint(u.Roles) != "[admin staff]" {
		t.Fatalf("set %v, %v", u, err)
	}
	eventually(t, "told", func() bool {
		roles, ok := standings.Roles(in.User.Id)
		return ok && fmt.Sprint(roles) == "[admin staff]"
	})
	if v, err := verify(t, api, in.Token); err != nil || fmt.Sprint(v.User.Roles) != "[admin staff]" {
		t.Errorf("an old token is verified as %v, %v", v, err)
	}
	next, err := refresh(t, api, in.RefreshToken)
	if err != nil || fmt.Sprint(next.User.Roles) != "[admin staff]" {
		t.Errorf("refreshed to %v, %v", next, err)
	}
}

func TestDisableAndEnable(t *testing.T) {
	api, b := one(t, auth.Options{})
	in := register(t, api, "alice", "secret")
	standings := bus.NewStandings(b, nil)
	ctx, done := t.Context(), make(chan struct{})
	go func() {
		defer close(done)
		_ = standings.Run(ctx)
	}()
	t.Cleanup(func() { <-done })
	for range 2 {
		u, err := api.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: in.User.Id})
		if err != nil || !u.Disabled {
			t.Fatalf("disabled %v, %v", u, err)
		}
	}
	eventually(t, "told", func() bool { return standings.Disabled(in.User.Id) })
	_, err := verify(t, api, in.Token)
	wantCode(t, err, errs.Unauthenticated, "")
	_, err = refresh(t, api, in.RefreshToken)
	wantCode(t, err, errs.Unauthenticated, "")
	_, err = login(t, api, "alice", "secret")
	wantCode(t, err, errs.Forbidden, "")
	for range 2 {
		u, err := api.EnableUser(t.Context(), &authv1.EnableUserRequest{UserId: in.User.Id})
		if err != nil || u.Disabled {
			t.Fatalf("enabled %v, %v", u, err)
		}
	}
	eventually(t, "told", func() bool { return !standings.Disabled(in.User.Id) })
	_, err = verify(t, api, in.Token) // of a sign-in that has ended
	wantCode(t, err, errs.Unauthenticated, "")
	_, err = refresh(t, api, in.RefreshToken)
	wantCode(t, err, errs.Unauthenticated, "")
	again, err := login(t, api, "alice", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, api, again.Token); err != nil {
		t.Error(err)
	}
	_, err = api.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: "u_none"})
	wantCode(t, err, errs.NotFound, "")
	_, err = api.EnableUser(t.Context(), &authv1.EnableUserRequest{})
	wantCode(t, err, errs.InvalidArgument, "userId")
}

func TestListSessions(t *testing.T) {
	api, _ := one(t, auth.Options{})
	from := func(address, agent string) *authv1.SignedIn {
		in, err := api.Login(t.Context(), &authv1.LoginRequest{Username: "alice", Password: "secret", Client: &authv1.Client{Address: address, UserAgent: agent}})
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	register(t, api, "bob", "secret")
	user := register(t, api, "alice", "secret").User
	phone, laptop := from("192.0.2.1", "phone"), from("192.0.2.2", "laptop")
	if _, err := api.Refresh(t.Context(), &authv1.RefreshRequest{RefreshToken: phone.RefreshToken, Client: &authv1.Client{Address: "192.0.2.3", UserAgent: "phone"}}); err != nil {
		t.Fatal(err)
	}
	var list []*authv1.Session
	for cursor := ""; ; {
		page, err := api.ListSessions(t.Context(), &authv1.ListSessionsRequest{UserId: user.Id, Limit: 1, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, page.Sessions...)
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if len(list) != 3 || list[1].Id != laptop.SessionId || list[2].Id != phone.SessionId {
		t.Fatalf("listed %v", list)
	}
	if p := list[2]; p.Client.Address != "192.0.2.3" || p.Client.UserAgent != "phone" || p.UserId != user.Id ||
		!p.UsedAt.AsTime().After(p.CreatedAt.AsTime()) || time.Until(p.ExpiresAt.AsTime()) < 59*time.Minute {
		t.Errorf("the phone: %v", p)
	}
	if n := revoke(t, api, &authv1.RevokeRequest{What: &authv1.RevokeRequest_SessionId{SessionId: laptop.SessionId}, OwnerId: user.Id}); n != 1 {
		t.Errorf("revoked %d", n)
	}
	_, err := api.Revoke(t.Context(), &authv1.RevokeRequest{What: &authv1.RevokeRequest_SessionId{SessionId: phone.SessionId}, OwnerId: "somebody else"})
	wantCode(t, err, errs.NotFound, "")
	page, err := api.ListSessions(t.Context(), &authv1.ListSessionsRequest{UserId: user.Id})
	if err != nil || len(page.Sessions) != 2 || page.NextCursor != "" {
		t.Errorf("then %v, %v", page, err)
	}
	for field, q := range map[string]*authv1.ListSessionsRequest{
		"userId": {}, "limit": {UserId: user.Id, Limit: 1001}, "cursor": {UserId: user.Id, Cursor: "x"},
	} {
		_, err := api.ListSessions(t.Context(), q)
		wantCode(t, err, errs.InvalidArgument, field)
	}
}

func TestListUsers(t *testing.T) {
	api, b := one(t, auth.Options{})
	kv := bucket(t, b, bus.Users)
	want := map[string]bool{}
	for i := range 2500 { // past one scan of the bucket
		name := fmt.Sprintf("user-%04d", i)
		if i%5 == 0 {
			name = fmt.Sprintf("bot-%04d", i)
		}
		want[name] = true
		record := fmt.Sprintf(`{"id":"u_%d","username":"%s","roles":["user"],"createdMs":1}`, i, name)
		if _, err := kv.Put(t.Context(), "account."+ids.Token(name), []byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	list := func(prefix string, limit int32, meanwhile func()) map[string]int {
		t.Helper()
		found := map[string]int{}
		for cursor := ""; ; {
			page, err := api.ListUsers(t.Context(), &authv1.ListUsersRequest{Prefix: prefix, Limit: limit, Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			if limit > 0 && len(page.Users) > int(limit) {
				t.Fatalf("a page of %d", len(page.Users))
			}
			for _, u := range page.Users {
				found[u.Username]++
			}
			if meanwhile != nil {
				meanwhile()
				meanwhile = nil
			}
			if cursor = page.NextCursor; cursor == "" {
				return found
			}
		}
	}
	for _, limit := range []int32{0, 7, 1000} {
		if found := list("", limit, nil); len(found) != len(want) {
			t.Errorf("pages of %d: %d accounts", limit, len(found))
		}
	}
	if found := list("bot-", 300, nil); len(found) != 500 {
		t.Errorf("%d bots", len(found))
	}
	if found := list("nobody", 10, nil); len(found) != 0 {
		t.Errorf("found %v", found)
	}
	// What changes meanwhile is not missed.
	found := list("", 100, func() {
		change(t, b, "user-0001", func(a map[string]any) { a["disabled"] = true })
		change(t, b, "user-2499", func(a map[string]any) { a["disabled"] = true })
	})
	if len(found) != len(want) || found["user-0001"] != 2 || found["user-2499"] != 1 {
		t.Errorf("%d accounts, %d times and %d times", len(found), found["user-0001"], found["user-2499"])
	}
	for field, q := range map[string]*authv1.ListUsersRequest{
		"limit": {Limit: -1}, "cursor": {Cursor: "-1"}, "prefix": {Prefix: "\xff"},
	} {
		_, err := api.ListUsers(t.Context(), q)
		wantCode(t, err, errs.InvalidArgument, field)
	}
}

func TestSignOutEverywhere(t *testing.T) {
	api, _ := one(t, auth.Options{})
	for name, what := range map[string]func(*authv1.SignedIn) *authv1.RevokeRequest{
		"refresh token": func(in *authv1.SignedIn) *authv1.RevokeRequest { return byRefresh(in.RefreshToken) },
		"token":         func(in *authv1.SignedIn) *authv1.RevokeRequest { return byToken(in.Token) },
	} {
		one := register(t, api, name, "secret")
		two, err := login(t, api, name, "secret")
		if err != nil {
			t.Fatal(err)
		}
		q := what(one)
		q.All = true
		if n := revoke(t, api, q); n != 2 {
			t.Errorf("by %s: revoked %d", name, n)
		}
		for _, in := range []*authv1.SignedIn{one, two} {
			_, err := verify(t, api, in.Token)
			wantCode(t, err, errs.Unauthenticated, "")
		}
		// Who holds an old copy has no say in others.
		four, err := login(t, api, name, "secret")
		if err != nil {
			t.Fatal(err)
		}
		newest := four.RefreshToken
		for range 2 {
			next, err := refresh(t, api, newest)
			if err != nil {
				t.Fatal(err)
			}
			newest = next.RefreshToken
		}
		old := byRefresh(four.RefreshToken)
		old.All = true
		_, err = api.Revoke(t.Context(), old)
		wantCode(t, err, errs.Unauthenticated, "")
		// Nor has who has an ended one.
		three, err := login(t, api, name, "secret")
		if err != nil {
			t.Fatal(err)
		}
		_, err = api.Revoke(t.Context(), q)
		wantCode(t, err, errs.Unauthenticated, "")
		if _, err := verify(t, api, three.Token); err != nil {
			t.Error(err)
		}
	}
}

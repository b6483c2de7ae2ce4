package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	"github.com/parley-im/parley/services/auth"
)

func TestUsernamesAreUniqueUnderConcurrency(t *testing.T) {
	server := startNATS(t, t.TempDir())
	a, _ := start(t, auth.Options{Bus: connect(t, server)})
	b, _ := start(t, auth.Options{Bus: connect(t, server), AutoRegister: true})
	var wg sync.WaitGroup
	registered := make(chan error, 8)
	signedIn := make(chan *authv1.SignedIn, 8)
	for range 8 {
		wg.Go(func() {
			in, err := a.Register(t.Context(), &authv1.RegisterRequest{Username: "alice", Password: "secret"})
			registered <- err
			if err == nil {
				signedIn <- in
			}
		})
		wg.Go(func() { // several first sign-ins at once are one registration
			in, err := b.Login(t.Context(), &authv1.LoginRequest{Username: "bob", Password: "secret"})
			if err != nil {
				t.Error(err)
				return
			}
			if in.User.Username != "bob" {
				t.Errorf("signed in as %v", in.User)
			}
		})
	}
	wg.Wait()
	close(registered)
	made := 0
	for err := range registered {
		if err == nil {
			made++
		} else {
			wantCode(t, err, errs.AlreadyExists, "username")
		}
	}
	if made != 1 {
		t.Errorf("registered %d times", made)
	}
	again, err := login(t, b, "alice", "secret")
	if err != nil || again.User.Id != (<-signedIn).User.Id {
		t.Errorf("got %v, %v", again, err)
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	server := startNATS(t, dir)
	b := connect(t, server)
	api, stop := start(t, auth.Options{Bus: b})
	in := register(t, api, "alice", "secret")
	gone := register(t, api, "bob", "secret")
	if _, err := api.Revoke(t.Context(), &authv1.RevokeRequest{What: &authv1.RevokeRequest_SessionId{SessionId: gone.SessionId}}); err != nil {
		t.Fatal(err)
	}
	stop()
	b.Close()
	server.Shutdown()

	api, _ = start(t, auth.Options{Bus: connect(t, startNATS(t, dir))})
	if _, err := verify(t, api, in.Token); err != nil {
		t.Errorf("the old token: %v", err)
	}
	_, err := verify(t, api, gone.Token)
	wantCode(t, err, errs.Unauthenticated, "")
	if _, err := login(t, api, "alice", "secret"); err != nil {
		t.Errorf("the old password: %v", err)
	}
	if _, err := refresh(t, api, in.RefreshToken); err != nil {
		t.Errorf("the old refresh token: %v", err)
	}
}

func TestReplicasShareOneKey(t *testing.T) {
	server := startNATS(t, t.TempDir())
	var logs bytes.Buffer
	var mu sync.Mutex
	logger := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logs.Write(p)
	}), nil))
	apis := make([]authv1.AuthServer, 5)
	var wg sync.WaitGroup
	for i := range apis {
		b := connect(t, server)
		wg.Go(func() { apis[i], _ = start(t, auth.Options{Bus: b, Logger: logger}) })
	}
	wg.Wait()
	for i, api := range apis {
		in := register(t, api, fmt.Sprint("user", i), "secret")
		for _, other := range apis {
			if _, err := verify(t, other, in.Token); err != nil {
				t.Errorf("a token of replica %d: %v", i, err)
			}
		}
	}
	kv, err := connect(t, server).Bucket(t.Context(), bus.Keys)
	if err != nil {
		t.Fatal(err)
	}
	// The losers clean up.
	eventually(t, "down to one key", func() bool {
		keys, err := kv.Keys(t.Context(), ">")
		return err == nil && len(keys) == 3+1 // and the key of the refresh tokens
	})
	mu.Lock()
	defer mu.Unlock()
	if text := logs.String(); !strings.Contains(text, "signing with") || strings.Contains(text, "level=ERROR") {
		t.Errorf("logged:\n%s", text)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestNATSOutOfReach(t *testing.T) {
	server := startNATS(t, t.TempDir())
	api, _ := start(t, auth.Options{Bus: connect(t, server)})
	in := register(t, api, "alice", "secret")
	server.Shutdown()
	_, err := login(t, api, "alice", "secret")
	wantCode(t, err, errs.Unavailable, "")
	_, err = refresh(t, api, in.RefreshToken)
	wantCode(t, err, errs.Unavailable, "")
	_, err = api.Register(t.Context(), &authv1.RegisterRequest{Username: "bob", Password: "secret"})
	wantCode(t, err, errs.Unavailable, "")
	_, err = api.Revoke(t.Context(), &authv1.RevokeRequest{What: &authv1.RevokeRequest_UserId{UserId: in.User.Id}})
	wantCode(t, err, errs.Unavailable, "")
	_, err = api.Touch(t.Context(), &authv1.TouchRequest{SessionIds: []string{in.SessionId}})
	wantCode(t, err, errs.Unavailable, "")
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("waited for it")
	}
}

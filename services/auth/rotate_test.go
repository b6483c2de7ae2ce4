package auth_test

import (
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	"github.com/parley-im/parley/services/auth"
)

func rotate(t *testing.T, api authv1.AuthServer, lead time.Duration) *authv1.RotateKeysResponse {
	t.Helper()
	answer, err := api.RotateKeys(t.Context(), &authv1.RotateKeysRequest{Lead: durationpb.New(lead)})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func text(t *testing.T, kv *bus.KV, key string) string {
	t.Helper()
	e, err := kv.Get(t.Context(), key)
	if err != nil && err != bus.ErrNotFound {
		t.Fatal(err)
	}
	return string(e.Value)
}

// Replicas agree on the key at every moment of a rotation, and tokens of the old
// key are good for as long as they live.
func TestRotateKeys(t *testing.T) {
	server := startNATS(t, t.TempDir())
	one, _ := start(t, auth.Options{Bus: connect(t, server)})
	two, stopTwo := start(t, auth.Options{Bus: connect(t, server)})
	kv := bucket(t, connect(t, server), bus.Keys)
	before := register(t, one, "alice", "secret")
	old := text(t, kv, "current")

	for _, lead := range []time.Duration{0, -time.Second, 2 * time.Hour} {
		_, err := one.RotateKeys(t.Context(), &authv1.RotateKeysRequest{Lead: durationpb.New(lead)})
		wantCode(t, err, errs.InvalidArgument, "lead")
	}
	began := time.Now()
	first := rotate(t, one, 2*time.Second)
	if first.OldKid != old || first.Kid == old || first.SignsAt.AsTime().Before(began.Add(1900*time.Millisecond)) {
		t.Errorf("rotating gives %v", first)
	}
	if again := rotate(t, two, time.Hour); again.Kid != first.Kid || !again.SignsAt.AsTime().Equal(first.SignsAt.AsTime()) {
		t.Errorf("a second rotation meanwhile: %v, want %v", again, first)
	}
	if text(t, kv, "public."+first.Kid) == "" {
		t.Error("the new key is not published")
	}
	during, err := login(t, two, "alice", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if now := text(t, kv, "current"); now != old && time.Now().Before(first.SignsAt.AsTime()) {
		t.Errorf("the current key is %s already", now)
	}
	eventually(t, "turned", func() bool { return text(t, kv, "current") == first.Kid })
	if time.Now().Before(first.SignsAt.AsTime()) {
		t.Error("turned too early")
	}
	eventually(t, "done with it", func() bool { return text(t, kv, "next") == "" && text(t, kv, "private."+old) == "" })
	eventually(t, "signing with the new one", func() bool {
		in, err := login(t, two, "alice", "secret")
		return err == nil && kidOf(t, in.Token) == first.Kid
	})
	after, err := login(t, one, "alice", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if kidOf(t, before.Token) != old || kidOf(t, during.Token) != old {
		t.Error("signed too early with the new key")
	}
	for _, api := range []authv1.AuthServer{one, two} {
		for _, in := range []*authv1.SignedIn{before, during, after} {
			if _, err := verify(t, api, in.Token); err != nil {
				t.Error(err)
			}
		}
	}
	until, err := strconv.ParseInt(text(t, kv, "until."+old), 10, 64)
	if left := time.Until(time.UnixMilli(until)); err != nil || left < bus.SessionTTL || left > bus.SessionTTL+5*time.Minute {
		t.Errorf("the old key is kept for %s, %v", left, err)
	}

	// As after that hour.
	stopTwo()
	if _, err := kv.Put(t.Context(), "until."+old, []byte("1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old key is gone", func() bool {
		_, err := verify(t, one, before.Token)
		return errs.CodeOf(err) == errs.Unauthenticated
	})
	if _, err := verify(t, one, after.Token); err != nil {
		t.Error(err)
	}
	eventually(t, "nothing is left of it", func() bool {
		return text(t, kv, "public."+old) == "" && text(t, kv, "until."+old) == ""
	})

	// A rotation that was begun is finished by who is there.
	second := rotate(t, one, time.Second)
	if second.OldKid != first.Kid {
		t.Errorf("rotating again gives %v", second)
	}
	two, _ = start(t, auth.Options{Bus: connect(t, server)})
	eventually(t, "turned again", func() bool { return text(t, kv, "current") == second.Kid })
	if _, err := verify(t, two, after.Token); err != nil {
		t.Error(err)
	}
}

// A rotation whose time came while nobody was there is made up for.
func TestRotationWhileDown(t *testing.T) {
	server := startNATS(t, t.TempDir())
	api, stop := start(t, auth.Options{Bus: connect(t, server)})
	in := register(t, api, "alice", "secret")
	next := rotate(t, api, time.Second)
	stop()
	kv := bucket(t, connect(t, server), bus.Keys)
	eventually(t, "its time has come", func() bool { return time.Now().After(next.SignsAt.AsTime()) })
	if now := text(t, kv, "current"); now != next.OldKid {
		t.Fatalf("nobody was there, and the current key is %s", now)
	}
	api, _ = start(t, auth.Options{Bus: connect(t, server)})
	eventually(t, "turned", func() bool { return text(t, kv, "current") == next.Kid })
	if _, err := verify(t, api, in.Token); err != nil {
		t.Error(err)
	}
}

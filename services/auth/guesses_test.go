package auth

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/limit"
)

func TestGuesses(t *testing.T) {
	g, err := newGuesses(limit.Options{Every: 3 * time.Second, Burst: 2})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	check := func(after, want time.Duration) {
		t.Helper()
		if got := g.wait("alice", now.Add(after)); got != want {
			t.Errorf("after %s: wait %s, want %s", after, got, want)
		}
	}
	check(0, 0)
	g.wrong("alice", now)
	check(0, 0)
	g.wrong("alice", now)
	check(0, 3*time.Second)
	check(time.Second, 2*time.Second)
	check(3*time.Second, 0)
	// Ten that were let in together are ten.
	for range 10 {
		g.wrong("alice", now.Add(time.Minute))
	}
	check(time.Minute, 9*3*time.Second)
	check(time.Hour, 0)
	if wait := g.wait("bob", now); wait != 0 {
		t.Errorf("bob waits %s", wait)
	}
}

func TestGuessesAreBounded(t *testing.T) {
	g, err := newGuesses(limit.Options{Every: time.Hour, Burst: 1, Keys: 100})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for range 5 {
		g.wrong("attacked", now)
	}
	for i := range 10_000 {
		g.wrong(fmt.Sprint(i), now)
		if len(g.spent) > 100 {
			t.Fatalf("%d usernames are remembered", len(g.spent))
		}
	}
	if g.wait("attacked", now) == 0 {
		t.Error("a flood of usernames has washed one out")
	}
}

func TestHashQueueIsBounded(t *testing.T) {
	h, err := newHasher(1)
	if err != nil {
		t.Fatal(err)
	}
	leave, err := h.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range queuePerSlot {
		wg.Go(func() {
			if _, err := h.hash(ctx, "secret"); errs.CodeOf(err) != errs.Unavailable {
				t.Errorf("waiting ended with %v", err)
			}
		})
	}
	for deadline := time.Now().Add(10 * time.Second); h.inside.Load() < 1+queuePerSlot; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d are inside", h.inside.Load())
		}
	}
	_, err = h.hash(ctx, "secret")
	if coded := errs.From(err); coded == nil || coded.Code != errs.RateLimited || coded.RetryAfter <= 0 {
		t.Errorf("one too many: %v", err)
	}
	cancel()
	wg.Wait()
	leave()
	if n := h.inside.Load(); n != 0 {
		t.Errorf("%d are still inside", n)
	}
	if hash, err := h.hash(t.Context(), "secret"); err != nil || hash == "" {
		t.Error(err)
	}
}

func TestSignInIDs(t *testing.T) {
	for _, user := range []string{"u", "u_" + ids.New(""), "any: thing *.>", string(make([]byte, 0)) + "é"} {
		sid := newSID(user)
		if got, ok := userOf(sid); !ok || got != user {
			t.Errorf("%s: %q %t, want %q", sid, got, ok, user)
		}
		refresh, hash := newRefresh(sid)
		if gotSID, gotHash, ok := parseRefresh(refresh); !ok || gotSID != sid || !sameHash(gotHash, hash) {
			t.Errorf("%s does not come apart as it was put together", refresh)
		}
	}
}

func FuzzRefresh(f *testing.F) {
	refresh, _ := newRefresh(newSID("alice"))
	f.Add(refresh)
	f.Add("s_.")
	f.Fuzz(func(t *testing.T, refresh string) {
		sid, _, ok := parseRefresh(refresh)
		if !ok {
			return
		}
		key, ok := signInKey(sid)
		if !ok {
			return
		}
		for _, c := range []byte(key) {
			if c != '.' && c != '_' && c != '-' && !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
				t.Fatalf("%q leads to key %q", refresh, key)
			}
		}
	})
}

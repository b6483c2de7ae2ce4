package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

// guessing makes guesses in a test, whose clock is its own.
type guessing struct {
	t   *testing.T
	g   *guesses
	now time.Time
}

// wrong makes a wrong guess, which must wait so long; it is made where it need
// not.
func (w *guessing) wrong(username, place string, known bool, want time.Duration) {
	w.t.Helper()
	end, wait := w.g.begin(username, place, known, w.now)
	if wait != want {
		w.t.Errorf("a guess at %s from %s waits %s, want %s", username, place, wait, want)
	}
	if wait == 0 {
		end(wrong)
	}
}

func TestGuessesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuesses(Guessing{
			Here:      Slowdown{Free: 2, First: time.Second, Longest: 5 * time.Second, Forgive: time.Hour},
			Elsewhere: Slowdown{Free: 1000, First: time.Second, Longest: time.Second, Forgive: time.Hour},
			Address:   Slowdown{Free: 1000, First: time.Second, Longest: time.Second, Forgive: time.Hour},
		})
		w := &guessing{t, g, time.Now()}
		at := func(later time.Duration) {
			time.Sleep(later)
			w.now = time.Now()
		}
		w.wrong("alice", "here", false, 0)
		w.wrong("alice", "here", false, 0)
		w.wrong("alice", "here", false, time.Second)
		w.wrong("alice", "here", false, time.Second) // being refused costs nothing
		w.wrong("bob", "here", false, 0)
		w.wrong("alice", "there", false, 0)
		for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
			w.wrong("alice", "here", false, wait)
			at(wait)
			w.wrong("alice", "here", false, 0)
		}
		// One is forgotten in an hour, and with a right one all of this place.
		at(7 * time.Hour)
		w.wrong("alice", "here", false, 0)
		w.wrong("alice", "here", false, 0)
		w.wrong("alice", "here", false, time.Second)
		at(time.Second)
		end, wait := g.begin("alice", "here", false, w.now)
		if wait != 0 {
			t.Fatalf("waits %s", wait)
		}
		end(right)
		w.wrong("alice", "here", false, 0)
	})
}

// Nobody is kept out of an account by what is guessed at it elsewhere, at a
// place where it is known.
func TestGuessesElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuesses(Guessing{
			Here:      Slowdown{Free: 5, First: time.Second, Longest: time.Minute, Forgive: time.Hour},
			Elsewhere: Slowdown{Free: 20, First: time.Second, Longest: time.Minute, Forgive: time.Hour},
			Address:   Slowdown{Free: 50, First: time.Second, Longest: time.Minute, Forgive: time.Hour},
		})
		w := &guessing{t, g, time.Now()}
		for i := range 20 {
			w.wrong("alice", fmt.Sprint("bot ", i), false, 0)
		}
		w.wrong("alice", "a new place", false, time.Second)
		w.wrong("alice", "home", true, 0)
		w.wrong("bob", "a new place", false, 0)
		// One address that tries many accounts.
		for i := range 50 {
			w.wrong(fmt.Sprint("user ", i), "sprayer", false, 0)
		}
		w.wrong("carol", "sprayer", false, time.Second)
		w.wrong("carol", "home", false, 0)
	})
}

// Guesses that are made at the same time are bounded before it is known what
// they are, and devices that all know the password are not kept waiting.
func TestGuessesAtTheSameTime(t *testing.T) {
	g := newGuesses(Guessing{})
	now := time.Now()
	var ends []func(outcome)
	for range maxPending {
		end, wait := g.begin("alice", "here", true, now)
		if wait != 0 {
			t.Fatalf("guess %d waits %s", len(ends), wait)
		}
		ends = append(ends, end)
	}
	if _, wait := g.begin("alice", "here", true, now); wait == 0 {
		t.Error("more than that are let in")
	}
	for _, end := range ends[:5] {
		end(right)
	}
	for range 5 {
		end, wait := g.begin("alice", "here", true, now)
		if wait != 0 {
			t.Fatalf("waits %s for those who know the password", wait)
		}
		end(unknown)
	}
	for _, end := range ends[5:] {
		end(wrong)
	}
	if _, wait := g.begin("alice", "here", true, time.Now()); wait < 9*time.Minute {
		t.Errorf("after %d wrong ones: waits %s", maxPending-5, wait)
	}
}

func TestGuessesAreBounded(t *testing.T) {
	o := defaultGuessing
	o.Keys = 100
	g := newGuesses(o)
	now := time.Now()
	var ends []func(outcome)
	for i := range 30 {
		end, wait := g.begin("attacked", fmt.Sprint(i), false, now)
		if wait > 0 {
			t.Fatalf("guess %d waits %s", i, wait)
		}
		ends = append(ends, end)
	}
	for _, end := range ends {
		end(wrong)
	}
	for i := range 10_000 {
		end, wait := g.begin(fmt.Sprint("made up ", i), fmt.Sprint("place ", i), false, now)
		if wait > 0 {
			t.Fatalf("the first guess waits %s", wait)
		}
		end(wrong)
		if g.len() > 103 {
			t.Fatalf("%d counts are remembered", g.len())
		}
	}
	if _, wait := g.begin("attacked", "another", false, time.Now()); wait == 0 {
		t.Error("a flood of usernames has washed one out")
	}
}

// An unknown username costs what a wrong password costs.
func TestUnknownUserIsHashedToo(t *testing.T) {
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	b, err := bus.Connect(t.Context(), bus.Options{InProcess: server})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	s, err := New(Options{Bus: b})
	if err != nil {
		t.Fatal(err)
	}
	records, err := openStore(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.newAccount(t.Context(), records, "alice", "secret"); err != nil {
		t.Fatal(err)
	}
	without := &account{ID: "u_bob", Username: "bob"} // an account whose password is kept elsewhere
	if err := records.createAccount(t.Context(), without); err != nil {
		t.Fatal(err)
	}
	var answers []error
	for _, username := range []string{"alice", "nobody", "bob"} {
		before := s.hasher.made.Load()
		_, err := s.login(t.Context(), records, &authv1.LoginRequest{Username: username, Password: "wrong"})
		if made := s.hasher.made.Load() - before; made != 1 {
			t.Errorf("%s: %d passwords hashed", username, made)
		}
		answers = append(answers, err)
	}
	for _, err := range answers {
		if err != errWrong {
			t.Errorf("answered %v", err)
		}
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
		refresh := refreshToken(testKey, sid, 7)
		if gotSID, number, ok := parseRefresh(testKey, refresh); !ok || gotSID != sid || number != 7 {
			t.Errorf("%s does not come apart as it was put together", refresh)
		}
		if _, _, ok := parseRefresh([]byte("another key"), refresh); ok {
			t.Error("another deployment's is taken")
		}
	}
}

var testKey = []byte("a key of a test")

func FuzzRefresh(f *testing.F) {
	f.Add(refreshToken(testKey, newSID("alice"), 1))
	f.Add("s_.")
	f.Fuzz(func(t *testing.T, refresh string) {
		if sid, number, ok := parseRefresh(testKey, refresh); ok && refreshToken(testKey, sid, number) != refresh {
			t.Fatalf("%q is another spelling of a token", refresh)
		}
		// A key that signs whatever is asked.
		text := refresh[:strings.LastIndexByte("."+refresh, '.')]
		refresh = text + "." + base64.RawURLEncoding.EncodeToString(mac(testKey, text))
		sid, _, ok := parseRefresh(testKey, refresh)
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

package bus_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parley-im/parley/pkg/bus"
)

// running calls run until the test ends and waits for it.
func running(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came in 10 s")
		panic("unreachable")
	}
}

func TestWatchKeys(t *testing.T) {
	server, b := start(t)
	ctx := t.Context()
	kv, err := b.Bucket(ctx, bus.Keys)
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) {
		t.Helper()
		if _, err := kv.Put(ctx, key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	put("public.a", "1")
	put("private.a", "secret")

	sets := make(chan map[string][]byte, 16)
	running(t, func(ctx context.Context) error {
		return connect(t, server, bus.Options{}).WatchKeys(ctx, func(set map[string][]byte) { sets <- set })
	})
	if set := next(t, sets); len(set) != 1 || string(set["a"]) != "1" {
		t.Fatalf("first %q", set)
	}
	put("public.b", "2")
	if set := next(t, sets); len(set) != 2 || string(set["b"]) != "2" {
		t.Fatalf("after an addition %q", set)
	}
	if err := kv.Delete(ctx, "public.a", 0); err != nil {
		t.Fatal(err)
	}
	if set := next(t, sets); len(set) != 1 || string(set["b"]) != "2" {
		t.Fatalf("after a deletion %q", set)
	}
}

func TestRevocations(t *testing.T) {
	server, b := start(t)
	ctx := t.Context()
	cut := time.Now().Truncate(time.Millisecond)

	here := bus.NewRevocations(b, nil)
	if err := here.RevokeSession(ctx, "s_old"); err != nil {
		t.Fatal(err)
	}
	if !here.Revoked("s_old", "bob", cut) {
		t.Error("whoever revoked does not know at once")
	}

	learned := make(chan bus.Revocation, 16)
	there := bus.NewRevocations(connect(t, server, bus.Options{}), func(r bus.Revocation) { learned <- r })
	running(t, there.Run)
	<-there.Ready()
	if !there.Revoked("s_old", "bob", cut) {
		t.Error("what was revoked before the start is not known when ready")
	}
	if r := next(t, learned); r.SessionID != "s_old" || r.UserID != "" {
		t.Errorf("learned %+v", r)
	}

	if err := here.RevokeSession(ctx, "s_new"); err != nil {
		t.Fatal(err)
	}
	if r := next(t, learned); r.SessionID != "s_new" {
		t.Errorf("learned %+v", r)
	}
	const user = "an id: with *any* > text"
	if err := here.RevokeUser(ctx, user, cut); err != nil {
		t.Fatal(err)
	}
	if r := next(t, learned); r.UserID != user || !r.Before.Equal(cut) || r.SessionID != "" {
		t.Errorf("learned %+v", r)
	}

	for _, c := range []struct {
		name, session, user string
		issued              time.Time
		want                bool
	}{
		{"the sign-in", "s_new", "bob", cut, true},
		{"another", "s_other", "bob", cut, false},
		{"none", "", "bob", cut, false},
		{"the user, before", "s_other", user, cut.Add(-time.Millisecond), true},
		{"the user, since", "s_other", user, cut, false},
		{"the user, no time", "", user, time.Time{}, true},
	} {
		if got := there.Revoked(c.session, c.user, c.issued); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}

	// An earlier cut does not undo a later one, nor is it news.
	if err := here.RevokeUser(ctx, user, cut.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := here.RevokeSession(ctx, "s_last"); err != nil {
		t.Fatal(err)
	}
	if r := next(t, learned); r.SessionID != "s_last" {
		t.Errorf("learned %+v", r)
	}
	if !there.Revoked("", user, cut.Add(-time.Millisecond)) {
		t.Error("an earlier cut undid a later one")
	}
}

// Sign-ins and revocations end by the bucket's own time, and no other records
// do.
func TestOnlySessionsExpire(t *testing.T) {
	server, b := start(t)
	ctx := t.Context()
	nc, err := nats.Connect("", nats.InProcessServer(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[bus.Bucket]time.Duration{bus.Sessions: bus.SessionTTL, bus.Users: 0, bus.Keys: 0} {
		if _, err := b.Bucket(ctx, name); err != nil {
			t.Fatal(err)
		}
		kv, err := js.KeyValue(ctx, string(name))
		if err != nil {
			t.Fatal(err)
		}
		status, err := kv.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if status.TTL() != want {
			t.Errorf("%s: records last %s, want %s", name, status.TTL(), want)
		}
	}
}

// What was told of an account is known to who listens already and to who comes
// later, and what is of an earlier revision comes too late.
func TestStandings(t *testing.T) {
	server, b := start(t)
	ctx := t.Context()
	const user = "an id: with *any* > text"
	put := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put(b.PutDisabled(ctx, "early", true, 3))
	put(b.PutRoles(ctx, "early", []string{"admin"}, 2))

	changed := make(chan string, 16)
	there := bus.NewStandings(connect(t, server, bus.Options{}), func(user string) { changed <- user })
	running(t, there.Run)
	<-there.Ready()
	if roles, known := there.Roles("early"); !there.Disabled("early") || !known || len(roles) != 1 || roles[0] != "admin" {
		t.Errorf("when ready: disabled %t, roles %v %t", there.Disabled("early"), roles, known)
	}
	for range 2 {
		if who := next(t, changed); who != "early" {
			t.Errorf("told of %q", who)
		}
	}
	if _, known := there.Roles(user); known || there.Disabled(user) {
		t.Error("something is known of who was never told of")
	}

	put(b.PutDisabled(ctx, user, true, 7))
	if who := next(t, changed); who != user || !there.Disabled(user) {
		t.Errorf("told of %q, disabled %t", who, there.Disabled(user))
	}
	put(b.PutDisabled(ctx, user, false, 6)) // of two who change it, the slower one
	put(b.PutRoles(ctx, user, []string{"user"}, 9))
	put(b.PutRoles(ctx, user, []string{"user", "admin"}, 8))
	put(b.PutDisabled(ctx, "last", true, 1))
	for _, want := range []string{user, "last"} {
		// The two buckets are watched each for itself.
		if who := next(t, changed); who != user && who != "last" {
			t.Errorf("told of %q, want %q or so", who, want)
		}
	}
	if roles, _ := there.Roles(user); !there.Disabled(user) || len(roles) != 1 {
		t.Errorf("an earlier revision was believed: disabled %t, roles %v", there.Disabled(user), roles)
	}
	put(b.PutDisabled(ctx, user, false, 10))
	if who := next(t, changed); who != user || there.Disabled(user) {
		t.Errorf("told of %q, disabled %t", who, there.Disabled(user))
	}
}

// Pages of a bucket leave nothing out, also of what is written meanwhile.
func TestScan(t *testing.T) {
	_, b := start(t)
	ctx := t.Context()
	kv, err := b.Bucket(ctx, bus.Users)
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string) {
		t.Helper()
		if _, err := kv.Put(ctx, key, []byte("of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		put(fmt.Sprint("account.", i))
		put(fmt.Sprint("id.", i))
	}
	if err := kv.Delete(ctx, "account.3", 0); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for after, pages := uint64(0), 0; ; pages++ {
		entries, next, err := kv.Scan(ctx, "account.*", after, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if string(e.Value) != "of "+e.Key || e.Revision <= after || e.Stored.IsZero() {
				t.Errorf("got %+v", e)
			}
			seen = append(seen, e.Key)
		}
		if pages == 0 {
			put("account.new")
			put("account.0") // which was on the first page
		}
		if after = next; after == 0 {
			break
		}
	}
	slices.Sort(seen)
	if got := strings.Join(seen, " "); got != "account.0 account.0 account.1 account.2 account.4 account.5 account.6 account.7 account.8 account.9 account.new" {
		t.Errorf("scanned %s", got)
	}
	written, err := kv.Written(ctx, "account.*")
	if err != nil || len(written) != 11 || !slices.Contains(written, "account.3") {
		t.Errorf("written %v, %v", written, err)
	}
	if entries, next, err := kv.Scan(ctx, "nothing.*", 0, 4); err != nil || len(entries) != 0 || next != 0 {
		t.Errorf("of nothing: %v %d %v", entries, next, err)
	}
}

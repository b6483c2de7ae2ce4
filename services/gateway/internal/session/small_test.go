package session

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		now := func() time.Duration { return time.Since(start) }
		var mu sync.Mutex // each time the timer fires is a goroutine
		over := make(map[*Session]time.Duration)
		d := &deadlines{now: now, ended: func(s *Session) {
			mu.Lock()
			defer mu.Unlock()
			over[s] = now()
		}}
		want := make(map[*Session]time.Duration)
		var all []*Session
		for range 1000 {
			s, at := new(Session), time.Duration(rand.IntN(60))*time.Second+time.Second
			d.set(s, at)
			want[s] = at
			all = append(all, s)
		}
		for i, s := range all {
			switch i % 4 {
			case 0: // later
				want[s] += time.Minute
				d.set(s, want[s])
			case 1: // earlier
				want[s] = time.Second
				d.set(s, want[s])
			case 2: // not at all, said twice
				delete(want, s)
				d.clear(s)
				d.clear(s)
			}
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if len(over) != len(want) {
			t.Errorf("%d sessions are over, want %d", len(over), len(want))
		}
		for s, at := range want {
			if over[s] != at {
				t.Fatalf("a session is over after %v, want %v", over[s], at)
			}
		}
		if len(d.queue) != 0 || d.armed != never {
			t.Errorf("%d sessions are left, the timer is set to %v", len(d.queue), d.armed)
		}
		// It starts anew.
		d.set(all[0], now()+time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		if over[all[0]] != 181*time.Second {
			t.Errorf("over after %v", over[all[0]])
		}
	})
}

func TestPace(t *testing.T) {
	var p pace
	const every, burst = 20 * time.Millisecond, 5
	now := time.Hour
	for i := range burst {
		if wait := p.take(now, every, burst, 1); wait != 0 {
			t.Fatalf("request %d of the burst waits %v", i, wait)
		}
	}
	if wait := p.take(now, every, burst, 1); wait != every {
		t.Errorf("one too many waits %v, want %v", wait, every)
	}
	if wait := p.take(now+every-1, every, burst, 1); wait != 1 {
		t.Errorf("a moment early waits %v, want 1ns", wait)
	}
	if wait := p.take(now+every, every, burst, 1); wait != 0 {
		t.Errorf("in time waits %v", wait)
	}
	// After a pause there is one burst and no more.
	now += time.Hour
	taken := 0
	for p.take(now, every, burst, 1) == 0 {
		taken++
	}
	if taken != burst {
		t.Errorf("%d at once after a pause, want %d", taken, burst)
	}
	for _, rate := range []float64{1e-300, 0.5, 50, 1e6} {
		if got := interval(rate); got <= 0 || got > slowest {
			t.Errorf("%v a second: one every %v", rate, got)
		}
	}
}

func TestDirectory(t *testing.T) {
	d := newDirectory(0)
	who := func(i int) *Identity { return &Identity{User: &wirev1.User{Id: fmt.Sprint("user-", i%7)}} }
	var all []*Session
	for i := range 50 {
		s := new(Session)
		all = append(all, s)
		d.open(s)
		d.add(s, who(i))
	}
	order := rand.Perm(len(all))
	for n, i := range order {
		users := make(map[string][]*Session)
		for _, j := range order[n:] {
			id := who(j).User.Id
			users[id] = append(users[id], all[j])
		}
		if sessions, count := d.counts(); sessions != len(all)-n || count != len(users) || len(d.everyone()) != sessions || len(d.signedIn("")) != sessions {
			t.Fatalf("%d sessions of %d users, want %d of %d", sessions, count, len(all)-n, len(users))
		}
		for id, want := range users {
			got := d.signedIn(id)
			if len(got) != len(want) || slices.ContainsFunc(want, func(s *Session) bool { return !slices.Contains(got, s) }) {
				t.Fatalf("%s has %d sessions, want %d", id, len(got), len(want))
			}
		}
		d.remove(all[i], who(i))
		d.close(all[i])
	}
	if sessions, users := d.counts(); sessions != 0 || users != 0 {
		t.Errorf("%d sessions of %d users are left", sessions, users)
	}
}

// The context of a slow request ends with the connection, also when the
// request begins after that.
func TestAskingEndsWithTheConnection(t *testing.T) {
	s := &Session{hub: NewHub(Options{CommandTimeout: time.Hour})}
	ctx, done := s.asking(t.Context())
	s.mu.Lock()
	s.leaving = true
	s.abort()
	s.mu.Unlock()
	if ctx.Err() != context.Canceled {
		t.Error("a request goes on")
	}
	done()
	if ctx, done := s.asking(t.Context()); ctx.Err() == nil {
		t.Error("a request begins")
	} else {
		done()
	}
	if s.abort != nil {
		t.Error("what is over can be ended")
	}
}

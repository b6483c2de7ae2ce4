package presence

import (
	"fmt"
	"testing"
	"time"
)

func TestLastSeenIsBounded(t *testing.T) {
	start := time.Unix(1000, 0)
	l := newLastSeen(Options{LastSeenUsers: 100, LastSeenFor: time.Hour})
	if !l.of("nobody", start).IsZero() {
		t.Error("somebody whom nobody has seen was seen")
	}
	for i := range 1000 {
		at := start.Add(time.Duration(i) * time.Second)
		l.note(fmt.Sprint("u", i), at, at)
		l.note("often", at, at)
	}
	now := start.Add(1000 * time.Second)
	if l.len() > 100 {
		t.Errorf("%d users are remembered, want at most 100", l.len())
	}
	for i := 960; i < 1000; i++ {
		if got := l.of(fmt.Sprint("u", i), now); !got.Equal(start.Add(time.Duration(i) * time.Second)) {
			t.Errorf("u%d was seen %v", i, got)
		}
	}
	if got := l.of("often", now); !got.Equal(start.Add(999 * time.Second)) {
		t.Errorf("who comes often was seen %v", got)
	}
	if !l.of("u999", now.Add(time.Hour)).IsZero() {
		t.Error("remembered for longer than an hour")
	}
}

func TestLastSeenIsForgottenInTime(t *testing.T) {
	start := time.Unix(1000, 0)
	l := newLastSeen(Options{LastSeenUsers: 1000, LastSeenFor: time.Hour})
	for i := range 100 {
		at := start.Add(time.Duration(i) * time.Hour)
		l.note(fmt.Sprint("u", i), at, at)
		if l.len() > 4 {
			t.Fatalf("%d users are kept after %d hours", l.len(), i)
		}
	}
}

func TestLastSeenGoesToAnotherReplica(t *testing.T) {
	start := time.Unix(1000, 0)
	o := Options{LastSeenUsers: 100, LastSeenFor: time.Hour}
	from, to := newLastSeen(o), newLastSeen(o)
	for i := range 80 {
		at := start.Add(time.Duration(i) * time.Second)
		from.note(fmt.Sprint("u", i), at, at)
	}
	now := start.Add(100 * time.Second)
	to.note("u70", now, now) // it has seen this one later
	to.note("own", now, now)
	for at := 0; ; {
		page, next := from.page(at, 7)
		if len(page) == 0 {
			break
		}
		to.merge(page, now)
		at = next
	}
	for user, want := range map[string]time.Time{"u79": start.Add(79 * time.Second), "u70": now, "own": now, "u40": start.Add(40 * time.Second)} {
		if got := to.of(user, now); !got.Equal(want) {
			t.Errorf("%s was seen %v, want %v", user, got, want)
		}
	}
}

package presence

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

func TestStatusesAreGathered(t *testing.T) {
	p, now := newPicture(), time.Unix(1000, 0)
	st := newStatuses(Options{Gather: 250 * time.Millisecond, LargeRoom: 2})
	do := func(session string, what any) {
		p.applyDelta("g", []*busv1.PresenceChange{changeOf(session, what)}, now)
		for _, c := range p.take() {
			if c.restated {
				st.note(c.user.id)
			}
		}
	}
	said := func(after time.Duration) []string {
		now = now.Add(after)
		events, _ := st.due(now, p)
		said := []string{}
		for _, e := range events {
			said = append(said, fmt.Sprintf("%s: %s %s %q %v", e.room, e.event.User.Id, e.event.Status, e.event.Text, e.event.Told))
		}
		return said
	}
	want := func(after time.Duration, want ...string) {
		t.Helper()
		if got := said(after); !slices.Equal(got, want) {
			t.Errorf("said %q, want %q", got, want)
		}
	}
	set := func(session, status, text string) {
		do(session, &busv1.SessionStatus{Status: status, Text: text})
	}
	do("s1", announce("ann", 1, "b", "large", ids.Lobby))
	do("s2", announce("ann", 2, "a", "b"))
	for i := range 2 {
		do(fmt.Sprint("o", i), announce(fmt.Sprint("other", i), 1, "large"))
	}
	want(0)
	set("s1", "away", "") // the other device is online
	want(0)
	set("s2", "away", "lunch")
	want(0, `a: ann away "lunch" []`, `b: ann away "lunch" [a]`)
	// Soon again: later, and only what has become of it.
	set("s2", "busy", "")
	set("s2", "online", "x")
	want(249 * time.Millisecond)
	want(time.Millisecond, `a: ann online "x" []`, `b: ann online "x" [a]`)
	// There and back is nothing.
	set("s2", "busy", "")
	set("s2", "online", "x")
	want(time.Second)
	// Gone before it could be told.
	set("s2", "away", "")
	want(time.Second, `a: ann away "" []`, `b: ann away "" [a]`)
	set("s2", "busy", "")
	do("s1", offline(0))
	do("s2", offline(0))
	want(time.Second)
	if len(st.users)+len(st.now)+len(st.resting) != 0 {
		t.Errorf("left: %v", st)
	}
}

package fanout

import (
	"fmt"
	"math"
	"slices"
	"testing"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
)

// guest is a member that notes how it is put out.
type guest struct {
	nobody
	user string
	out  []string // reasons
}

func (g *guest) UserID() string { return g.user }

func (g *guest) PutOut(_ string, word *Burst, _ *conn.Flusher) {
	g.out = append(g.out, word.Frames[0].Frame.GetKicked().GetReason())
}

// party is a room with some guests in it, one place for each.
func party(t *testing.T, users ...string) (*room, map[string]*Membership) {
	r := crowd(t, 0)
	r.epoch, r.pinned = "x-2", true
	places := make(map[string]*Membership)
	for i, user := range users {
		m := &Membership{room: r.id, member: &guest{user: user}, index: len(r.members)}
		r.members = append(r.members, m)
		places[fmt.Sprint(user, i)] = m
	}
	return r, places
}

func (r *room) users() []string {
	var list []string
	for i, m := range r.members {
		if m.index != i {
			list = append(list, "misplaced")
		}
		list = append(list, m.member.UserID())
	}
	slices.Sort(list)
	return list
}

func out(user, epoch, code string) *busv1.LiveEvent {
	return &busv1.LiveEvent{Event: &busv1.LiveEvent_Out{Out: &busv1.UserOut{UserId: user, Reason: "why", Epoch: epoch, Code: code}}}
}

func TestWhoIsPutOutIsOut(t *testing.T) {
	r, places := party(t, "eve", "ann", "eve", "bob", "eve")
	r.live(out("eve", "x-1", ""))
	if got := r.users(); len(got) != 5 {
		t.Errorf("a word of an earlier life left %q", got)
	}
	r.live(out("eve", "x-2", ""))
	r.live(out("eve", "x-2", "")) // said twice
	if got := r.users(); !slices.Equal(got, []string{"ann", "bob"}) {
		t.Errorf("left are %q", got)
	}
	for name, m := range places {
		eve := m.member.UserID() == "eve"
		if m.IsOut() != eve || m.MutedUntil() != 0 {
			t.Errorf("%s: out %v, muted until %d", name, m.IsOut(), m.MutedUntil())
		}
		want := 0
		if eve {
			want = 1
		}
		if told := m.member.(*guest).out; len(told) != want || want == 1 && told[0] != "why" {
			t.Errorf("%s was told %q", name, told)
		}
	}
}

func TestJoinsUnderWayAreRefused(t *testing.T) {
	r, _ := party(t, "ann")
	join := func(user string) *join {
		j := &join{Request: Request{Room: r.id, Member: &guest{user: user}}, done: make(chan joinResult, 1)}
		r.joining[j] = struct{}{}
		r.waiting = append(r.waiting, j)
		return j
	}
	eve, bob := join("eve"), join("bob")
	r.live(out("eve", "", "")) // kicked: she may come back at once
	if len(r.joining) != 2 {
		t.Fatal("a kick has ended a join")
	}
	r.live(&busv1.LiveEvent{Event: &busv1.LiveEvent_Muted{Muted: &busv1.UserMuted{UserId: "bob", UntilMs: 7}}})
	r.live(out("eve", "", "banned"))
	select {
	case result := <-eve.done:
		if result.err == nil {
			t.Error("the join has succeeded")
		}
	default:
		t.Error("the join was not answered")
	}
	if _, there := r.joining[bob]; !there || len(r.joining) != 1 || len(r.waiting) != 1 || bob.MutedUntil != 7 {
		t.Errorf("left are %v and %v; bob is muted until %d", r.joining, r.waiting, bob.MutedUntil)
	}
}

func TestMembersOnlyByRanges(t *testing.T) {
	r, _ := party(t, "a", "b", "c", "d", "e", "f")
	only := func(from, to string, users ...string) {
		r.live(&busv1.LiveEvent{Event: &busv1.LiveEvent_MembersOnly{MembersOnly: &busv1.MembersOnly{From: from, To: to, Users: users}}})
	}
	only("", "c\x00", "a", "c")
	if got := r.users(); !slices.Equal(got, []string{"a", "c", "d", "e", "f"}) {
		t.Errorf("left are %q", got)
	}
	only("c\x00", "", "e")
	if got := r.users(); !slices.Equal(got, []string{"a", "c", "e"}) {
		t.Errorf("left are %q", got)
	}
}

func TestMutedUntil(t *testing.T) {
	r, places := party(t, "eve", "ann")
	eve, ann := places["eve0"], places["ann1"]
	mute := func(until int64) {
		r.live(&busv1.LiveEvent{Event: &busv1.LiveEvent_Muted{Muted: &busv1.UserMuted{UserId: "eve", UntilMs: until, Epoch: "x-2"}}})
	}
	for _, until := range []int64{5, math.MaxInt64, 0} {
		mute(until)
		if eve.MutedUntil() != until || ann.MutedUntil() != 0 {
			t.Errorf("muted until %d and %d, want %d and 0", eve.MutedUntil(), ann.MutedUntil(), until)
		}
	}
	eve.Mute(3)
	eve.Mute(4) // what is known already is newer
	if eve.MutedUntil() != 3 {
		t.Errorf("muted until %d", eve.MutedUntil())
	}
	r.live(out("eve", "", ""))
	eve.Mute(9)
	mute(9)
	if !eve.IsOut() || eve.MutedUntil() != 0 {
		t.Errorf("out %v, muted until %d", eve.IsOut(), eve.MutedUntil())
	}
}

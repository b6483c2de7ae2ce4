package presence

import (
	"fmt"
	"slices"
	"testing"
	"time"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// stage for a roster: one room, and a clock.
type rosterPlay struct {
	*roster
	now   time.Time
	count int
}

func newRosterPlay(large int) *rosterPlay {
	return &rosterPlay{
		roster: newRoster(Options{LargeRoom: large, Gather: 15 * time.Millisecond, StatsEvery: time.Second}),
		now:    time.Unix(1000, 0),
	}
}

func (p *rosterPlay) moves(kind changeKind, users ...string) {
	for _, u := range users {
		if kind == userJoined {
			p.count++
		} else {
			p.count--
		}
		p.note(change{kind: kind, user: &user{id: u}, room: &room{id: "r"}, count: p.count}, p.now)
	}
}

// said gives what is due after d, as "+joined -left =count" per event.
func (p *rosterPlay) said(d time.Duration) []string {
	said := []string{}
	for _, e := range p.events(d) {
		said = append(said, rosterText(e))
	}
	return said
}

// events gives what is due after d.
func (p *rosterPlay) events(d time.Duration) (events []*busv1.RosterEvent) {
	p.now = p.now.Add(d)
	due, _ := p.due(p.now, func(string) int { return p.count })
	for _, e := range due {
		events = append(events, e.event)
	}
	return events
}

func rosterText(e *busv1.RosterEvent) string {
	text := ""
	for _, u := range e.Joined {
		text += "+" + u.Id + " "
	}
	for _, u := range e.Left {
		text += "-" + u.Id + " "
	}
	return fmt.Sprintf("%s=%d", text, e.MemberCount)
}

func TestRosterGathers(t *testing.T) {
	p := newRosterPlay(200)
	step := func(d time.Duration, want ...string) {
		t.Helper()
		if got := p.said(d); !slices.Equal(got, want) {
			t.Errorf("said %q, want %q", got, want)
		}
	}
	p.moves(userJoined, "a")
	step(0, "+a =1") // the first at once
	p.moves(userJoined, "b", "c")
	p.moves(userLeft, "a")
	step(10 * time.Millisecond) // then gathered
	p.moves(userJoined, "d")
	p.moves(userLeft, "d") // who came and went between is not told of
	step(5*time.Millisecond, "+b +c -a =2")
	p.moves(userLeft, "b")
	p.moves(userJoined, "b")
	step(time.Minute)
	if len(p.rooms) != 0 || p.roster.moves != 0 {
		t.Errorf("%d rooms and %d moves are kept of a quiet roster", len(p.rooms), p.roster.moves)
	}
}

// TestRosterOfACrowdRestsLonger: a hundred come within two seconds. In a room
// where few move nobody waits longer for it.
func TestRosterOfACrowdRestsLonger(t *testing.T) {
	p := newRosterPlay(200)
	p.gather = 250 * time.Millisecond
	var told []int // how many, each time
	var waits, next time.Duration
	for at := time.Duration(0); at <= 3*time.Second; at += 20 * time.Millisecond {
		if at < 2*time.Second {
			p.moves(userJoined, fmt.Sprint(at))
		}
		for _, e := range p.events(20 * time.Millisecond) {
			told = append(told, len(e.Joined))
			waits, next = max(waits, at-next), at
		}
	}
	if len(told) > 5 || told[0] != 1 || waits > time.Second {
		t.Errorf("told %v at a time, after at most %v", told, waits)
	}
	all := 0
	for _, n := range told {
		all += n
	}
	if all != 100 {
		t.Errorf("told of %d who came, not 100", all)
	}
	p.said(time.Minute)
	for range 3 { // one and two, 250 ms apart, are told as they come
		for _, users := range [][]string{{"x"}, {"y", "z"}} {
			p.moves(userJoined, users...)
			if got := len(p.said(250 * time.Millisecond)); got != 1 {
				t.Errorf("%d events about %v", got, users)
			}
			p.moves(userLeft, users...)
			if got := len(p.said(250 * time.Millisecond)); got != 1 {
				t.Errorf("%d events about %v", got, users)
			}
		}
	}
}

func TestRosterOfALargeRoomCounts(t *testing.T) {
	p := newRosterPlay(3)
	p.moves(userJoined, "a", "b", "c", "d")
	var said []string
	for range 250 { // 2.5 s
		said = append(said, p.said(10*time.Millisecond)...)
		if len(said) < 3 {
			p.moves(userJoined, "x")
		}
	}
	if len(said) != 3 || said[0] != "=4" || said[2] != fmt.Sprintf("=%d", p.count) {
		t.Errorf("in 2.5 s said %q, want three counts, the last of them %d", said, p.count)
	}
	p.count = 4
	p.moves(userLeft, "a")
	if got := p.said(2 * time.Second); !slices.Equal(got, []string{"-a =3"}) {
		t.Errorf("small again: said %q", got)
	}
}

// TestRosterOfASilentReplica: it has what rooms were not told, in whichever order
// it hears of what happened and of what was told.
func TestRosterOfASilentReplica(t *testing.T) {
	r := newRoster(Options{LargeRoom: 5, Gather: 15 * time.Millisecond, StatsEvery: time.Second})
	p, now := newPicture(), time.Unix(1000, 0)
	do := func(user string, what any) {
		p.applyDelta("g", []*busv1.PresenceChange{changeOf("s"+user, what)}, now)
		for _, c := range p.take() {
			if c.room != nil {
				r.note(c, now)
			}
		}
	}
	come := func(users ...string) {
		for _, u := range users {
			do(u, announce(u, 1, "r"))
		}
	}
	users := func(ids []string) (users []*wirev1.User) {
		for _, id := range ids {
			users = append(users, &wirev1.User{Id: id})
		}
		return users
	}
	told := func(count int, joined []string, left ...string) {
		r.settle(&busv1.RoomTold{RoomId: "r", Event: &busv1.RosterEvent{
			Joined: users(joined), Left: users(left), MemberCount: int64(count),
		}}, p, now)
	}
	untold := func(want string) {
		t.Helper()
		text := ""
		if g := r.rooms["r"]; g != nil {
			for _, m := range g.moves {
				text += map[bool]string{true: "+", false: "-"}[m.joined] + m.user.Id + " "
			}
			if g.countOnly {
				text += "count"
			}
		}
		if text != want {
			t.Errorf("not told is %q, want %q", text, want)
		}
	}
	come("a", "b")
	told(1, []string{"a"})
	untold("+b ")
	told(2, []string{"b"})
	untold("")
	if len(r.rooms) != 0 || r.moves != 0 {
		t.Errorf("%d rooms and %d moves are kept of what was told", len(r.rooms), r.moves)
	}
	// Told before it is heard here: c's coming, and b's going.
	told(3, []string{"c"}, "b")
	untold("-c +b ")
	come("c")
	untold("+b ")
	do("b", offline(0))
	untold("")
	// Told, and not so any more.
	come("d")
	do("d", offline(0))
	untold("")
	told(3, []string{"d"})
	untold("-d ")
	told(2, nil, "d")
	untold("")
	// A large room was told its number.
	come("e", "f", "g", "h")
	untold("count")
	told(5, nil)
	untold("count")
	told(6, nil)
	untold("")
	// Of what the speaker must have told long ago nothing is kept.
	do("h", offline(0))
	untold("-h ")
	now = now.Add(time.Minute)
	r.vouched(now)
	untold("")
}

// TestRosterOfALeavingSpeaker: what came here before its farewell, and of which it
// has not said that it was told, may not have come to the speaker any more.
func TestRosterOfALeavingSpeaker(t *testing.T) {
	p := newRosterPlay(200)
	p.moves(userJoined, "told", "late")
	p.settle(&busv1.RoomTold{RoomId: "r", Event: &busv1.RosterEvent{Joined: []*wirev1.User{{Id: "told"}}, MemberCount: 1}},
		pictureOf("told", "late"), p.now)
	p.now = p.now.Add(time.Second)
	p.vouched(p.now)
	if got := p.said(0); !slices.Equal(got, []string{"+late =2"}) {
		t.Errorf("said %q", got)
	}
}

// pictureOf is one of a room r with these users in it.
func pictureOf(users ...string) *picture {
	p := newPicture()
	for _, u := range users {
		p.applyDelta("g", []*busv1.PresenceChange{changeOf("s"+u, announce(u, 1, "r"))}, time.Time{})
	}
	p.take()
	return p
}

// TestRosterTellsRoomsInTime: rooms do not hold one another up, and who asks is
// told when the next of them is due.
func TestRosterTellsRoomsInTime(t *testing.T) {
	r := newRoster(Options{LargeRoom: 200, Gather: 15 * time.Millisecond, StatsEvery: time.Second})
	start := time.Unix(1000, 0)
	users := 0
	moved := func(id string, at time.Duration) {
		users++
		r.note(change{kind: userJoined, user: &user{id: fmt.Sprint("u", users)}, room: &room{id: id}, count: 1}, start.Add(at))
	}
	told := func(at, wantNext time.Duration, want ...string) {
		t.Helper()
		events, next := r.due(start.Add(at), func(string) int { return 1 })
		var got []string
		for _, e := range events {
			got = append(got, e.room)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("after %v told %q, want %q", at, got, want)
		}
		if wantNext == 0 && !next.IsZero() || wantNext != 0 && !next.Equal(start.Add(wantNext)) {
			t.Errorf("after %v the next is due at %v, want after %v", at, next, wantNext)
		}
	}
	ms := time.Millisecond
	moved("a", 0)
	told(0, 15*ms, "a")
	moved("b", 5*ms)
	moved("c", 5*ms)
	moved("a", 6*ms)
	told(6*ms, 15*ms, "b", "c")
	told(15*ms, 21*ms, "a")
	moved("c", 16*ms)
	r.vouched(start.Add(time.Minute)) // another replica tells, and nothing is left
	told(21*ms, 0)
	if len(r.rooms) != 0 || len(r.queue) != 0 {
		t.Errorf("%d rooms, %d of them queued, are kept of a quiet roster", len(r.rooms), len(r.queue))
	}
}

func TestFloorIsTheFirsts(t *testing.T) {
	now := time.Unix(1000, 0)
	f := newFloor("m", 3*time.Second)
	f.startedMS = 100
	hear := func(id string, started int64, complete, leaving bool) {
		f.beat(&busv1.PresenceReplicaBeat{ReplicaId: id, StartedMs: started, Complete: complete, Leaving: leaving}, now)
	}
	check := func(what string, want bool) {
		t.Helper()
		if got := f.mine(now); got != want {
			t.Errorf("%s: the floor is mine: %v", what, got)
		}
	}
	check("alone", true)
	hear("m", 1, true, false)
	check("our own beat", true)
	hear("a", 200, true, false)
	check("a later one", true)
	hear("b", 50, false, false)
	check("an earlier one that is not complete", true)
	hear("b", 50, true, false)
	check("an earlier one", false)
	hear("b", 50, true, true)
	check("it left", true)
	hear("l", 100, true, false)
	check("as early, smaller id", false)
	f.goLast(now)
	check("came last", false)
	hear("l", 100, true, true)
	check("though its clock is slow", false) // a is still there, which started later
	now = now.Add(3 * time.Second)
	check("silent", true)
	if len(f.others) != 0 {
		t.Error("silent replicas are kept")
	}
}

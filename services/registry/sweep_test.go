package registry

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

func (r *replica) isListed(room string) bool { return slices.Contains(r.list(nil, "", 100), room) }

func TestEmptyRoomsLeaveTheListsAndComeBack(t *testing.T) {
	people := new(crowd)
	people.set("busy", 2)
	a, b := pair(t, Options{Presence: people, EmptyGrace: 50 * time.Millisecond, ExpireAfter: time.Hour})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "stays", Persistent: true})
	for _, id := range []string{"busy", "empty", "left"} {
		a.mustCreate(&registryv1.CreateRoomRequest{RoomId: id, Visibility: private, Actor: as("ann")})
	}
	people.set("left", 1)
	eventually(t, "the empty room hidden", func() bool { return !a.isListed("empty") && !b.isListed("empty") })
	if got := a.list(as("ann"), "", 10); !slices.Equal(got, []string{"busy", "left", "stays"}) {
		t.Errorf("ann sees %v", got)
	}
	people.set("left", 0)
	eventually(t, "the room that was left hidden", func() bool { return !a.isListed("left") && !b.isListed("left") })
	room, err := b.GetRoom(t.Context(), &registryv1.GetRoomRequest{RoomId: "left"})
	if err != nil || room.HiddenAt == nil || room.Epoch != a.bus.Epoch(room.CreationRevision) {
		t.Errorf("left = %v, %v", room, err)
	}
	people.set("left", 1)
	eventually(t, "the room in use listed", func() bool { return a.isListed("left") && b.isListed("left") })

	got, err := b.Admit(t.Context(), &registryv1.AdmitRequest{RoomId: "empty", Actor: as("ann")})
	if err != nil || got.Room.HiddenAt != nil || !b.isListed("empty") {
		t.Errorf("Admit = %v, %v; want it listed again", got, err)
	}
	eventually(t, "nobody came after all", func() bool { return !b.isListed("empty") })
	if _, err := a.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "empty", Persistent: proto.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	if !a.isListed("empty") {
		t.Error("a room that stays is hidden")
	}
}

func TestEmptyRoomsExpireWithTheirLogs(t *testing.T) {
	people, erased := new(crowd), new(logs)
	o := Options{Presence: people, Eraser: erased, EmptyGrace: 20 * time.Millisecond, ExpireAfter: 100 * time.Millisecond}
	a, b := pair(t, o)
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "stays", Persistent: true})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "busy"})
	people.set("busy", 1)
	var ids []string
	for _, id := range []string{"x", "y", "z"} {
		a.mustCreate(&registryv1.CreateRoomRequest{RoomId: id, Actor: as("ann")})
		ids = append(ids, id)
	}
	for _, id := range ids {
		for _, r := range []*replica{a, b} {
			eventually(t, "the end of "+id, func() bool { return r.picture.room(id) == nil })
		}
		eventually(t, "the end of its log", func() bool { return erased.count(id) > 0 })
	}
	if a.picture.room("stays") == nil || a.picture.room("busy") == nil || erased.count("busy") > 0 {
		t.Error("a room ended that should not")
	}
	again := b.mustCreate(&registryv1.CreateRoomRequest{RoomId: "x", Persistent: true})
	if _, err := b.GetRoom(t.Context(), &registryv1.GetRoomRequest{RoomId: "x"}); err != nil || again.HiddenAt != nil {
		t.Errorf("made again: %v, %v", again, err)
	}
}

func TestNothingHappensWhilePresenceIsUnknown(t *testing.T) {
	people := new(crowd)
	people.interrupt(true)
	r := alone(t, Options{Presence: people, EmptyGrace: 20 * time.Millisecond, ExpireAfter: time.Hour})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "empty"})
	if queued(r) != 0 {
		t.Error("a room is counted as empty though nobody knows")
	}
	people.interrupt(false)
	eventually(t, "hidden", func() bool { return !r.isListed("empty") })
	people.interrupt(true)
	eventually(t, "the queue given up", func() bool { return queued(r) == 0 })
	people.set("empty", 1)
	people.interrupt(false)
	eventually(t, "shown, for it was entered meanwhile", func() bool { return r.isListed("empty") })
}

func queued(r *replica) int {
	r.vacancy.mu.Lock()
	defer r.vacancy.mu.Unlock()
	return len(r.vacancy.queue)
}

// TestAJoinGoesBeforeTheEnd has the sweep decide on a record that is not the
// newest any more.
func TestAJoinGoesBeforeTheEnd(t *testing.T) {
	erased := new(logs)
	a, b := pair(t, Options{Eraser: erased})
	room := a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room"})
	hidden, err := a.replaceHidden(t.Context(), room, room.CreatedAt)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "hidden at b", func() bool { r := b.picture.room("room"); return r != nil && r.HiddenAt != nil })
	if got, err := b.Admit(t.Context(), &registryv1.AdmitRequest{RoomId: "room", Actor: as("ann")}); err != nil || got.Room.HiddenAt != nil {
		t.Fatalf("Admit = %v, %v", got, err)
	}
	if _, err := a.end(t.Context(), hidden); err == nil {
		t.Error("the end went through")
	}
	if erased.count("room") != 0 {
		t.Error("the log of a room in use was erased")
	}
	eventually(t, "no trace of it", func() bool { return a.picture.end("room") == nil && b.picture.end("room") == nil })
	_, err = a.GetRoom(t.Context(), &registryv1.GetRoomRequest{RoomId: "room"})
	wantCode(t, "the room", err, errs.Code(""))
}

func TestAHiddenRoomGetsItsWholeTime(t *testing.T) {
	r := alone(t, Options{Presence: new(crowd), EmptyGrace: time.Hour, ExpireAfter: time.Hour})
	room := r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room"})
	hidden, err := r.replaceHidden(t.Context(), room, timestamppb.Now())
	if err != nil {
		t.Fatal(err)
	}
	// As when it was due to be hidden, and another replica has just done so.
	if err := r.settleRoom(t.Context(), "room", false); err != nil {
		t.Fatal(err)
	}
	if got := r.picture.room("room"); got.GetRevision() != hidden.Revision {
		t.Errorf("the room is %v, want %v", got, hidden)
	}
}

func TestWhenSomethingIsDue(t *testing.T) {
	const grace, expire = time.Minute, time.Hour
	shown := &registryv1.Room{Id: "room"}
	hiddenSince := func(ago time.Duration) *registryv1.Room {
		return &registryv1.Room{Id: "room", HiddenAt: timestamppb.New(time.Now().Add(-ago))}
	}
	for _, c := range []struct {
		what  string
		steps func(v *vacancy)
		want  time.Duration // until it is due, give or take the jitter; negative for never
	}{
		{"nobody is there", func(v *vacancy) { v.consider("room", shown) }, grace},
		{"somebody is there", func(v *vacancy) { v.count("room", 1); v.consider("room", shown) }, -1},
		{"somebody comes", func(v *vacancy) { v.consider("room", shown); v.count("room", 1); v.consider("room", shown) }, -1},
		{"it stays", func(v *vacancy) { v.consider("room", &registryv1.Room{Id: "room", Persistent: true}) }, -1},
		{"the lobby", func(v *vacancy) { v.consider("lobby", &registryv1.Room{Id: "lobby"}) }, -1},
		{"it ends", func(v *vacancy) { v.consider("room", shown); v.consider("room", nil) }, -1},
		{"it is hidden", func(v *vacancy) { v.consider("room", hiddenSince(10*time.Minute)) }, 50 * time.Minute},
		{"it was hidden long ago", func(v *vacancy) { v.consider("room", hiddenSince(48*time.Hour)) }, grace},
		{"it is hidden and in use", func(v *vacancy) { v.count("room", 1); v.consider("room", hiddenSince(0)) }, 0},
		{"it is let in again", func(v *vacancy) {
			v.consider("room", hiddenSince(0))
			v.byID["room"].since = time.Now().Add(-24 * time.Hour)
			v.consider("room", shown)
		}, grace},
		{"presence goes", func(v *vacancy) { v.consider("room", shown); v.forget() }, -1},
		{"presence is unknown", func(v *vacancy) { v.forget(); v.consider("room", shown) }, -1},
	} {
		v := newVacancy(grace, expire)
		v.complete()
		c.steps(v)
		entry := v.byID["room"]
		if (entry == nil) != (c.want < 0) || len(v.queue) != len(v.byID) {
			t.Errorf("%s: %v in a queue of %d", c.what, entry, len(v.queue))
			continue
		}
		if entry == nil {
			continue
		}
		if got := time.Until(entry.due); got < c.want-5*time.Second || got > c.want+grace/10+time.Second {
			t.Errorf("%s: due in %s, want %s", c.what, got, c.want)
		}
	}
}

package registry

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// TestManyWritersOfOneRoomLoseNothing: every writer owns one field of a room's
// record or one user's standing, changes it many times at whichever replica,
// and must find there what it wrote last, whatever the others did meanwhile.
func TestManyWritersOfOneRoomLoseNothing(t *testing.T) {
	a, b := pair(t, Options{})
	replicas := []*replica{a, b}
	made := a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Actor: as("ann")})
	ann := as("ann")
	const rounds = 15

	type writer struct {
		name  string
		write func(r *replica, n int) error
		// holds says whether a replica has what was written in the last round.
		holds func(r *replica, n int) bool
	}
	record := func(name string, change func(*registryv1.UpdateRoomRequest, int), got func(*registryv1.Room) any, want func(int) any) writer {
		return writer{name, func(r *replica, n int) error {
			req := &registryv1.UpdateRoomRequest{RoomId: "room", Actor: ann}
			change(req, n)
			return second(r.UpdateRoom(t.Context(), req))
		}, func(r *replica, n int) bool { return got(r.picture.room("room")) == want(n) }}
	}
	writers := []writer{
		record("name", func(u *registryv1.UpdateRoomRequest, n int) { u.Name = proto.String(fmt.Sprint("name ", n)) },
			func(r *registryv1.Room) any { return r.Name }, func(n int) any { return fmt.Sprint("name ", n) }),
		record("topic", func(u *registryv1.UpdateRoomRequest, n int) { u.Topic = proto.String(fmt.Sprint("topic ", n)) },
			func(r *registryv1.Room) any { return r.Topic }, func(n int) any { return fmt.Sprint("topic ", n) }),
		record("persistent", func(u *registryv1.UpdateRoomRequest, n int) { u.Persistent = proto.Bool(n%2 == 0) },
			func(r *registryv1.Room) any { return r.Persistent }, func(n int) any { return n%2 == 0 }),
		record("rate", func(u *registryv1.UpdateRoomRequest, n int) {
			u.Policy = &registryv1.Policy{Rate: proto.Float64(float64(n + 1))}
		}, func(r *registryv1.Room) any { return r.Policy.GetRate() }, func(n int) any { return float64(n + 1) }),
		record("max members", func(u *registryv1.UpdateRoomRequest, n int) {
			u.Policy = &registryv1.Policy{MaxMembers: proto.Uint32(uint32(n + 1))}
		}, func(r *registryv1.Room) any { return r.Policy.GetMaxMembers() }, func(n int) any { return uint32(n + 1) }),
		record("post", func(u *registryv1.UpdateRoomRequest, n int) {
			u.Policy = &registryv1.Policy{Post: registryv1.Who(n % 5).Enum()}
		}, func(r *registryv1.Room) any { return r.Policy.GetPost() }, func(n int) any { return registryv1.Who(n % 5) }),
	}
	for i := range 3 {
		key := fmt.Sprint("k", i)
		writers = append(writers, record("attribute "+key,
			func(u *registryv1.UpdateRoomRequest, n int) {
				u.Attributes = fmt.Appendf(nil, `{%q:%d}`, key, n)
				if n%3 == 1 {
					u.Attributes = fmt.Appendf(nil, `{%q:null}`, key)
				}
			},
			func(r *registryv1.Room) any {
				_, rest, _ := strings.Cut(string(r.Attributes), fmt.Sprintf("%q:", key))
				return strings.TrimRight(strings.Split(rest, ",")[0], "}")
			},
			func(n int) any {
				if n%3 == 1 {
					return ""
				}
				return fmt.Sprint(n)
			}))
	}
	for i := range 4 {
		user := &wirev1.User{Id: fmt.Sprint("u", i), Username: fmt.Sprint("U", i)}
		standing := func(r *replica) *registryv1.Member {
			return r.picture.standingNow(r.picture.room("room"), user.Id)
		}
		writers = append(writers,
			// Two writers of one standing, each of a part of its own.
			writer{user.Id + "'s role", func(r *replica, n int) error {
				return second(r.SetMember(t.Context(), &registryv1.SetMemberRequest{RoomId: "room", User: user, Role: registryv1.Role(1 + n%3), Actor: ann}))
			}, func(r *replica, n int) bool { return standing(r).GetRole() == registryv1.Role(1+n%3) }},
			writer{user.Id + "'s mute", func(r *replica, n int) error {
				if n%2 == 1 {
					return second(r.Unmute(t.Context(), &registryv1.UnmuteRequest{RoomId: "room", UserId: user.Id}))
				}
				return second(r.Mute(t.Context(), &registryv1.MuteRequest{RoomId: "room", UserId: user.Id, Reason: fmt.Sprint(n)}))
			}, func(r *replica, n int) bool {
				if n%2 == 1 {
					return standing(r).GetMute() == nil
				}
				return standing(r).GetMute().GetReason() == fmt.Sprint(n)
			}})
	}
	var work sync.WaitGroup
	for i, w := range writers {
		work.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for n := range rounds {
				if err := w.write(replicas[rng.IntN(2)], n); err != nil {
					t.Errorf("%s, round %d: %v", w.name, n, err)
					return
				}
			}
		})
	}
	work.Wait()
	for _, r := range replicas {
		for _, w := range writers {
			eventually(t, "what was last written of "+w.name, func() bool { return w.holds(r, rounds-1) })
		}
		if got := r.picture.room("room"); got.Epoch != made.Epoch || r.roles("room")["ann"] != owner {
			t.Errorf("what nobody changed is %v", got)
		}
	}
	eventually(t, "both have the same", func() bool { return differ(a, b) == "" })
}

// differ compares all that two replicas know and tell, "" for no difference.
func differ(a, b *replica) string {
	a.picture.mu.RLock()
	defer a.picture.mu.RUnlock()
	b.picture.mu.RLock()
	defer b.picture.mu.RUnlock()
	x, y := a.picture, b.picture
	switch {
	case len(x.byID) != len(y.byID):
		return fmt.Sprintf("%d and %d rooms", len(x.byID), len(y.byID))
	case x.standings != y.standings:
		return fmt.Sprintf("%d and %d standings", x.standings, y.standings)
	case len(x.endings) != len(y.endings), len(x.rosters) != len(y.rosters), len(x.private) != len(y.private),
		len(x.sanctions.users) != len(y.sanctions.users), x.sanctions.ends.Len() != y.sanctions.ends.Len():
		return "the indexes"
	}
	for id, e := range x.byID {
		if other := y.byID[id]; other == nil || !proto.Equal(e.room, other.room) {
			return fmt.Sprintf("%v and %v", e.room, other)
		}
	}
	for room, r := range x.rosters {
		for _, user := range r.Keys() {
			if st, other := x.standing(room, user), y.standing(room, user); other == nil || !proto.Equal(st.member, other.member) {
				return fmt.Sprintf("%v and %v", st, other)
			}
		}
	}
	for user, set := range x.private {
		if other := y.private[user]; other == nil || !slices.Equal(set.Keys(), other.Keys()) {
			return "the private rooms of " + user
		}
	}
	for _, keys := range [][2][]string{
		{x.listed.Keys(), y.listed.Keys()}, {x.public.Keys(), y.public.Keys()}, {x.hidden.Keys(), y.hidden.Keys()},
		{namesOf(&x.orders), namesOf(&y.orders)},
	} {
		if !slices.Equal(keys[0], keys[1]) {
			return fmt.Sprintf("listed are %v and %v", keys[0], keys[1])
		}
	}
	return ""
}

func namesOf(o *orders) (all []string) {
	for _, index := range []interface{ Items() []*named }{o.byName, o.publicByName} {
		for _, n := range index.Items() {
			all = append(all, n.name+" "+n.id)
		}
	}
	return all
}

// TestReplicasAgreeAfterCuts cuts one replica's connection again and again while
// rooms are changed at random through another, heals it, and compares; at last
// it compares with a replica that has just started.
func TestReplicasAgreeAfterCuts(t *testing.T) {
	srv := startNATS(t, t.TempDir(), "127.0.0.1:0")
	wire := newWire(t, strings.TrimPrefix(srv.URL(), "nats://"))
	a := start(t, Options{Bus: connect(t, bus.Options{InProcess: srv})})
	b := start(t, Options{Bus: connect(t, bus.Options{URL: "nats://" + wire.addr})})
	rng := rand.New(rand.NewPCG(11, 13))
	change := func(r *replica) {
		room, user := fmt.Sprint("room-", rng.IntN(12)), fmt.Sprint("u", rng.IntN(4))
		var err error
		switch rng.IntN(8) {
		case 0, 1:
			err = second(r.CreateRoom(t.Context(), &registryv1.CreateRoomRequest{
				RoomId: room, Name: fmt.Sprint("Name ", rng.IntN(5)), Visibility: registryv1.Visibility(rng.IntN(3)), Actor: as(user),
			}))
			if errs.CodeOf(err) == errs.Unavailable {
				err = nil // the other was cut while it erased an earlier life, maybe in the round before
			}
		case 2:
			err = r.deleteRoom(room)
		case 3:
			err = second(r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{
				RoomId: room, Name: proto.String(fmt.Sprint("Name ", rng.IntN(5))), Visibility: registryv1.Visibility(1 + rng.IntN(2)).Enum(),
				Policy: &registryv1.Policy{Rate: proto.Float64(float64(rng.IntN(3)))},
			}))
		case 4, 5:
			err = second(r.SetMember(t.Context(), &registryv1.SetMemberRequest{RoomId: room, User: as(user).User, Role: registryv1.Role(1 + rng.IntN(2))}))
		case 6:
			err = second(r.RemoveMember(t.Context(), &registryv1.RemoveMemberRequest{RoomId: room, UserId: user}))
		case 7:
			err = r.mute(room, user, timestamppb.New(time.Now().Add(time.Hour)), nil)
		}
		if err != nil && !isRefusal(err) {
			t.Fatal(err)
		}
	}
	agree := func(what string, x, y *replica) {
		t.Helper()
		last := ""
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s: the difference was %s", what, last)
			}
		})
		eventually(t, what, func() bool { last = differ(x, y); return last == "" })
	}
	for round := range 4 {
		for range 30 {
			change([]*replica{a, b}[rng.IntN(2)])
		}
		agree(fmt.Sprintf("agreement before cut %d", round), a, b)
		wire.cut(true)
		eventually(t, "cut", func() bool { return !b.bus.Connected() })
		for range 60 {
			change(a)
		}
		wire.cut(false)
		agree(fmt.Sprintf("agreement after cut %d", round), a, b)
	}
	agree("agreement with a new replica", a, start(t, Options{Bus: connect(t, bus.Options{InProcess: srv})}))
}

// TestAReplicaAnswersWhenItIsComplete asks a replica that starts for all rooms
// until it answers, and wants all of them in that answer.
func TestAReplicaAnswersWhenItIsComplete(t *testing.T) {
	b := connect(t, bus.Options{InProcess: startNATS(t, t.TempDir(), "")})
	first := start(t, Options{Bus: b})
	const rooms = 2000
	var work sync.WaitGroup
	for w := range 20 {
		work.Go(func() {
			for i := w; i < rooms; i += 20 {
				if _, err := first.CreateRoom(t.Context(), &registryv1.CreateRoomRequest{RoomId: fmt.Sprintf("room-%04d", i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	first.stop()
	for range 3 {
		r := begin(t, Options{Bus: b})
		refused := 0
		eventually(t, "an answer", func() bool {
			page, err := r.ListRooms(t.Context(), &registryv1.ListRoomsRequest{Limit: 1000, Prefix: "room-1"})
			if err != nil {
				wantCode(t, "a replica that is not complete", err, errs.Unavailable)
				refused++
				return false
			}
			if len(page.Rooms) != 1000 || r.picture.rooms() != rooms+1 { // and the lobby
				t.Fatalf("the first answer has %d rooms of %d", len(page.Rooms), r.picture.rooms())
			}
			return true
		})
		t.Logf("not complete when asked for the first %d times", refused)
		r.stop()
	}
}

package registry

import (
	"maps"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// TestRights has everybody try everything, each on a room of its own, in which
// own is an owner beside the maker, mod a moderator, mem and mem2 members.
func TestRights(t *testing.T) {
	r := alone(t, Options{})
	ctx := t.Context()
	actors := map[string]*registryv1.Actor{
		"own": as("own"), "mod": as("mod"), "mem": as("mem"), "eve": as("eve"),
		"admin": as("root", "user", "admin"), "back end": nil,
	}
	set := func(user string, role registryv1.Role) func(string, *registryv1.Actor) error {
		return func(room string, who *registryv1.Actor) error {
			_, err := r.SetMember(ctx, &registryv1.SetMemberRequest{RoomId: room, User: &wirev1.User{Id: user}, Role: role, Actor: who})
			return err
		}
	}
	remove := func(user string) func(string, *registryv1.Actor) error {
		return func(room string, who *registryv1.Actor) error {
			_, err := r.RemoveMember(ctx, &registryv1.RemoveMemberRequest{RoomId: room, UserId: user, Actor: who})
			return err
		}
	}
	for i, c := range []struct {
		what string
		call func(room string, who *registryv1.Actor) error
		may  map[string]bool // beside admin and back end, who may do everything
	}{
		{"see", func(room string, who *registryv1.Actor) error {
			_, err := r.GetRoom(ctx, &registryv1.GetRoomRequest{RoomId: room, Actor: who})
			return err
		}, map[string]bool{"own": true, "mod": true, "mem": true}},
		{"join", func(room string, who *registryv1.Actor) error {
			_, err := r.Admit(ctx, &registryv1.AdmitRequest{RoomId: room, Actor: who})
			return err
		}, map[string]bool{"own": true, "mod": true, "mem": true}},
		{"update", func(room string, who *registryv1.Actor) error {
			_, err := r.UpdateRoom(ctx, &registryv1.UpdateRoomRequest{RoomId: room, Topic: proto.String("new"), Actor: who})
			return err
		}, map[string]bool{"own": true}},
		{"delete", func(room string, who *registryv1.Actor) error {
			_, err := r.DeleteRoom(ctx, &registryv1.DeleteRoomRequest{RoomId: room, Actor: who})
			return err
		}, map[string]bool{"own": true}},
		{"invite", set("new", member), map[string]bool{"own": true, "mod": true}},
		{"invite without a role", set("new", none), map[string]bool{"own": true, "mod": true}},
		{"make a moderator", set("mem2", moderator), map[string]bool{"own": true}},
		{"make an owner", set("mem2", owner), map[string]bool{"own": true}},
		{"lower a moderator", set("mod2", member), map[string]bool{"own": true}},
		{"lower an owner", set("maker", member), map[string]bool{"own": true}},
		{"remove a member", remove("mem2"), map[string]bool{"own": true, "mod": true}},
		{"remove who is none", remove("nobody"), map[string]bool{"own": true, "mod": true}},
		{"remove a moderator", remove("mod2"), map[string]bool{"own": true}},
		{"remove an owner", remove("maker"), map[string]bool{"own": true}},
		{"leave as a member", remove("mem"), map[string]bool{"own": true, "mod": true, "mem": true}},
		{"leave as a moderator", remove("mod"), map[string]bool{"own": true, "mod": true}},
		{"step down", set("mod", member), map[string]bool{"own": true, "mod": true}},
		{"rise", set("mem", moderator), map[string]bool{"own": true}},
	} {
		for _, visibility := range []registryv1.Visibility{private, public} {
			for name, who := range actors {
				room := string(rune('a'+i)) + visibility.String() + string(name[0:2])
				r.mustCreate(&registryv1.CreateRoomRequest{RoomId: room, Visibility: visibility, Actor: as("maker")})
				for user, role := range map[string]registryv1.Role{"own": owner, "mod": moderator, "mod2": moderator, "mem": member, "mem2": member} {
					r.mustSet(room, user, role)
				}
				want := errs.Forbidden
				switch {
				case c.may[name], name == "admin", name == "back end":
					want = ""
				case visibility == public && (c.what == "see" || c.what == "join"):
					want = ""
				case visibility == private && name == "eve":
					want = errs.NotFound
				}
				wantCode(t, name+": "+c.what+" in a "+visibility.String()+" room", c.call(room, who), want)
			}
		}
	}
}

func TestTheLastOwnerStays(t *testing.T) {
	r := alone(t, Options{})
	ctx := t.Context()
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Actor: as("ann")})
	r.mustSet("room", "mod", moderator)
	_, err := r.RemoveMember(ctx, &registryv1.RemoveMemberRequest{RoomId: "room", UserId: "ann", Actor: as("ann")})
	wantCode(t, "the last owner leaves", err, errs.Forbidden)
	_, err = r.SetMember(ctx, &registryv1.SetMemberRequest{RoomId: "room", User: as("ann").User, Role: moderator, Actor: as("ann")})
	wantCode(t, "the last owner steps down", err, errs.Forbidden)
	r.mustSet("room", "mod", owner)
	if _, err = r.RemoveMember(ctx, &registryv1.RemoveMemberRequest{RoomId: "room", UserId: "ann", Actor: as("ann")}); err != nil {
		t.Fatal(err)
	}
	// The maker is nobody now, and stays nobody.
	if got := r.roles("room"); !maps.Equal(got, map[string]registryv1.Role{"mod": owner}) {
		t.Errorf("roles = %v", got)
	}
	_, err = r.UpdateRoom(ctx, &registryv1.UpdateRoomRequest{RoomId: "room", Topic: proto.String("x"), Actor: as("ann")})
	wantCode(t, "the maker updates", err, errs.Forbidden)
	_, err = r.RemoveMember(ctx, &registryv1.RemoveMemberRequest{RoomId: "room", UserId: "mod", Actor: as("mod")})
	wantCode(t, "the new last owner leaves", err, errs.Forbidden)
	r.mustSet("room", "ann", member)
	if got := r.roles("room"); got["ann"] != member {
		t.Errorf("roles = %v", got)
	}
}

func TestMembersArePagedWithTheMakerInPlace(t *testing.T) {
	r := alone(t, Options{})
	for _, maker := range []string{"a", "m", "z"} {
		r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "of-" + maker, Actor: as(maker)})
		for _, user := range []string{"b", "c", "d", "n", "o", "p"} {
			r.mustSet("of-"+maker, user, member)
		}
		got := r.roles("of-" + maker)
		if len(got) != 7 || got[maker] != owner || got["d"] != member {
			t.Errorf("roles = %v", got)
		}
	}
	some, err := r.GetMembers(t.Context(), &registryv1.GetMembersRequest{RoomId: "of-m", UserIds: []string{"nobody", "m", "c"}})
	if err != nil || len(some.Members) != 2 || some.Members[0].User.Username != "name of m" || some.Members[1].Role != member {
		t.Errorf("GetMembers = %v, %v", some, err)
	}
	// A role given without a name keeps the name that is known.
	given, err := r.SetMember(t.Context(), &registryv1.SetMemberRequest{RoomId: "of-m", User: &wirev1.User{Id: "c"}, Role: moderator})
	if err != nil || given.User.Username != "name of c" {
		t.Errorf("SetMember = %v, %v", given, err)
	}
}

func TestStandingsOfAnEarlierLifeCountForNothing(t *testing.T) {
	r := alone(t, Options{})
	room := r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Visibility: private, Actor: as("ann")})
	for _, user := range []string{"ann", "bob"} {
		old := &registryv1.Member{User: as(user).User, Role: moderator, Epoch: "another"}
		if err := r.storeStanding(t.Context(), "room", old, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.roles("room"); !maps.Equal(got, map[string]registryv1.Role{"ann": owner}) {
		t.Errorf("roles = %v", got)
	}
	if got := r.list(as("bob"), "", 10); len(got) != 0 {
		t.Errorf("bob sees %v", got)
	}
	_, err := r.GetRoom(t.Context(), &registryv1.GetRoomRequest{RoomId: "room", Actor: as("bob")})
	wantCode(t, "GetRoom", err, errs.NotFound)
	r.mustSet("room", "bob", member)
	if got := r.roles("room"); got["bob"] != member || r.picture.stored("room", "bob").member.Epoch != room.Epoch {
		t.Errorf("roles = %v", got)
	}
}

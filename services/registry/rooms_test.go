package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const (
	public  = registryv1.Visibility_VISIBILITY_PUBLIC
	private = registryv1.Visibility_VISIBILITY_PRIVATE
)

func TestCreateAndGet(t *testing.T) {
	a, b := pair(t, Options{})
	made := a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "general", Topic: "all", Persistent: true, Actor: as("ann")})
	if made.Name != "general" || made.Visibility != public || made.Owner.GetId() != "ann" ||
		made.Epoch != a.bus.Epoch(made.Revision) || made.CreationRevision != made.Revision || made.CreatedAt == nil {
		t.Errorf("made %v", made)
	}
	got, err := a.GetRoom(t.Context(), &registryv1.GetRoomRequest{RoomId: "general"})
	if err != nil || !proto.Equal(got, made) {
		t.Errorf("GetRoom = %v, %v; want %v", got, err, made)
	}
	eventually(t, "the room at the other replica", func() bool {
		got, err := b.GetRoom(t.Context(), &registryv1.GetRoomRequest{RoomId: "general", Actor: as("bob")})
		return err == nil && proto.Equal(got, made)
	})
	if roles := a.roles("general"); len(roles) != 1 || roles["ann"] != owner {
		t.Errorf("roles = %v, want the maker as owner", roles)
	}
	_, err = b.CreateRoom(t.Context(), &registryv1.CreateRoomRequest{RoomId: "general"})
	wantCode(t, "the same id again", err, errs.AlreadyExists)
	lobby, err := a.GetRoom(t.Context(), &registryv1.GetRoomRequest{RoomId: ids.Lobby})
	if err != nil || !lobby.Persistent || lobby.Visibility != public {
		t.Errorf("lobby = %v, %v", lobby, err)
	}
}

func TestBadArguments(t *testing.T) {
	r := alone(t, Options{})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "here"})
	ctx := t.Context()
	create := func(id, name, topic string) func() error {
		return func() error {
			_, err := r.CreateRoom(ctx, &registryv1.CreateRoomRequest{RoomId: id, Name: name, Topic: topic})
			return err
		}
	}
	list := func(req *registryv1.ListRoomsRequest) func() error {
		return func() error { _, err := r.ListRooms(ctx, req); return err }
	}
	set := func(user string, role registryv1.Role) func() error {
		return func() error {
			_, err := r.SetMember(ctx, &registryv1.SetMemberRequest{RoomId: "here", User: &wirev1.User{Id: user}, Role: role})
			return err
		}
	}
	for _, c := range []struct {
		what  string
		call  func() error
		code  errs.Code
		field string
	}{
		{"no id", create("", "", ""), errs.InvalidArgument, "roomId"},
		{"dots", create("a.b", "", ""), errs.InvalidArgument, "roomId"},
		{"a wildcard", create(">", "", ""), errs.InvalidArgument, "roomId"},
		{"65 characters", create(strings.Repeat("x", 65), "", ""), errs.InvalidArgument, "roomId"},
		{"a direct room", create("dm:x", "", ""), errs.InvalidArgument, "roomId"},
		{"the lobby", create("lobby", "", ""), errs.AlreadyExists, ""},
		{"a long name", create("x", strings.Repeat("é", 129), ""), errs.InvalidArgument, "name"},
		{"a name with a newline", create("x", "a\nb", ""), errs.InvalidArgument, "name"},
		{"a blank name", create("x", "  ", ""), errs.InvalidArgument, "name"},
		{"a long topic", create("x", "", strings.Repeat("é", 257)), errs.InvalidArgument, "topic"},
		{"a topic that is not UTF-8", create("x", "", "\xff"), errs.InvalidArgument, "topic"},
		{"an odd visibility", func() error {
			_, err := r.CreateRoom(ctx, &registryv1.CreateRoomRequest{RoomId: "x", Visibility: 9})
			return err
		}, errs.InvalidArgument, "visibility"},
		{"an actor without a user", func() error {
			_, err := r.GetRoom(ctx, &registryv1.GetRoomRequest{RoomId: "here", Actor: &registryv1.Actor{Roles: []string{"admin"}}})
			return err
		}, errs.InvalidArgument, "actor"},
		{"a negative limit", list(&registryv1.ListRoomsRequest{Limit: -1}), errs.InvalidArgument, "limit"},
		{"a limit of 1001", list(&registryv1.ListRoomsRequest{Limit: 1001}), errs.InvalidArgument, "limit"},
		{"a cursor that is not base64", list(&registryv1.ListRoomsRequest{Cursor: "%"}), errs.InvalidArgument, "cursor"},
		{"a cursor that is no room", list(&registryv1.ListRoomsRequest{Cursor: cursorOf("a.b")}), errs.InvalidArgument, "cursor"},
		{"a prefix that begins no room", list(&registryv1.ListRoomsRequest{Prefix: "a b"}), errs.InvalidArgument, "prefix"},
		{"no user", set("", member), errs.InvalidArgument, "userId"},
		{"an odd role", set("u", 9), errs.InvalidArgument, "role"},
		{"too many users", func() error {
			_, err := r.GetMembers(ctx, &registryv1.GetMembersRequest{RoomId: "here", UserIds: make([]string, 1001)})
			return err
		}, errs.InvalidArgument, "userIds"},
		{"a bad member cursor", func() error {
			_, err := r.ListMembers(ctx, &registryv1.ListMembersRequest{RoomId: "here", Cursor: cursorOf("\n")})
			return err
		}, errs.InvalidArgument, "cursor"},
		{"members of nothing", func() error {
			_, err := r.ListMembers(ctx, &registryv1.ListMembersRequest{RoomId: "nothing"})
			return err
		}, errs.NotFound, ""},
		{"update of nothing", func() error {
			_, err := r.UpdateRoom(ctx, &registryv1.UpdateRoomRequest{RoomId: "nothing"})
			return err
		}, errs.NotFound, ""},
		{"an update to a blank name", func() error {
			_, err := r.UpdateRoom(ctx, &registryv1.UpdateRoomRequest{RoomId: "here", Name: proto.String("")})
			return err
		}, errs.InvalidArgument, "name"},
		{"deleting nothing", func() error {
			_, err := r.DeleteRoom(ctx, &registryv1.DeleteRoomRequest{RoomId: "nothing"})
			return err
		}, errs.NotFound, ""},
		{"deleting the lobby", func() error {
			_, err := r.DeleteRoom(ctx, &registryv1.DeleteRoomRequest{RoomId: ids.Lobby})
			return err
		}, errs.Forbidden, ""},
		{"hiding the lobby", func() error {
			_, err := r.UpdateRoom(ctx, &registryv1.UpdateRoomRequest{RoomId: ids.Lobby, Visibility: private.Enum()})
			return err
		}, errs.Forbidden, ""},
	} {
		err := c.call()
		if errs.CodeOf(err) != c.code || err != nil && errs.From(err).Field != c.field {
			t.Errorf("%s: %v, want %s about %q", c.what, err, c.code, c.field)
		}
	}
}

func TestPagesPrefixesAndPrivateRooms(t *testing.T) {
	r := alone(t, Options{})
	var publics []string
	for i := range 25 {
		id := fmt.Sprintf("p-%02d", i)
		publics = append(publics, id)
		r.mustCreate(&registryv1.CreateRoomRequest{RoomId: id})
	}
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "p-07x", Visibility: private, Actor: as("ann")})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "p-24z", Visibility: private, Actor: as("bob")})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "q", Visibility: private})
	r.mustSet("p-24z", "ann", member)
	r.mustSet("q", "ann", moderator)
	with := func(more ...string) []string { return slices.Sorted(slices.Values(append(more, publics...))) }

	for _, limit := range []int32{1, 2, 7, 25, 28, 1000} {
		for _, c := range []struct {
			who    *registryv1.Actor
			prefix string
			want   []string
		}{
			{nil, "", with("p-07x", "p-24z", "q")},
			{as("root", "admin"), "", with("p-07x", "p-24z", "q")},
			{as("ann"), "", with("p-07x", "p-24z", "q")},
			{as("bob"), "", with("p-24z")},
			{as("eve"), "", publics},
			{as("ann"), "p-0", with("p-07x")[:11]},
			{as("eve"), "p-24", []string{"p-24"}},
			{as("ann"), "q", []string{"q"}},
			{as("eve"), "q", nil},
			{as("eve"), "lobby", nil},
		} {
			if got := r.list(c.who, c.prefix, limit); !slices.Equal(got, c.want) {
				t.Errorf("%s by %d with %q sees %v, want %v", c.who.GetUser().GetId(), limit, c.prefix, got, c.want)
			}
		}
	}

	// What a room is, and who belongs to it, may change.
	if _, err := r.RemoveMember(t.Context(), &registryv1.RemoveMemberRequest{RoomId: "q", UserId: "ann"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "p-07x", Visibility: public.Enum()}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "p-00", Visibility: private.Enum()}); err != nil {
		t.Fatal(err)
	}
	if got, want := r.list(as("ann"), "", 4), with("p-07x", "p-24z")[1:]; !slices.Equal(got, want) {
		t.Errorf("ann sees %v, want %v", got, want)
	}
	if got, want := r.list(as("eve"), "", 4), with("p-07x")[1:]; !slices.Equal(got, want) {
		t.Errorf("eve sees %v, want %v", got, want)
	}
}

func TestUpdateWithRevision(t *testing.T) {
	a, b := pair(t, Options{})
	first := a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room"})
	second, err := b.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Topic: proto.String("news"), Revision: first.Revision})
	if err != nil || second.Topic != "news" || second.Revision <= first.Revision || second.Epoch != first.Epoch {
		t.Fatalf("second = %v, %v", second, err)
	}
	_, err = a.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Topic: proto.String("old"), Revision: first.Revision})
	wantCode(t, "a change thought out for an older revision", err, errs.AlreadyExists)
	// a may not have heard of second yet and has to look.
	third, err := a.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Name: proto.String("Room"), Revision: second.Revision})
	if err != nil || third.Topic != "news" || third.Name != "Room" {
		t.Errorf("third = %v, %v", third, err)
	}
	same, err := a.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Name: proto.String("Room")})
	if err != nil || same.Revision != third.Revision {
		t.Errorf("an update that changes nothing made %v, %v", same, err)
	}
}

func TestAdmit(t *testing.T) {
	a, b := pair(t, Options{})
	ctx := t.Context()
	admit := func(r *replica, room string, create bool, who *registryv1.Actor) (*registryv1.AdmitResponse, error) {
		return r.Admit(ctx, &registryv1.AdmitRequest{RoomId: room, Actor: who, Create: create})
	}
	_, err := admit(a, "new", false, as("ann"))
	wantCode(t, "a room that is not there", err, errs.NotFound)
	got, err := admit(a, "new", true, as("ann"))
	if err != nil || !got.Created || got.Role != member || got.Room.Owner != nil || got.Room.Persistent || got.Room.Visibility != public {
		t.Errorf("made by joining: %v, %v", got, err)
	}
	got, err = admit(b, "new", true, as("bob"))
	if err != nil || got.Created || got.Role != member {
		t.Errorf("at the other replica: %v, %v", got, err)
	}
	if got, err = admit(b, "new", false, nil); err != nil || got.Role != none {
		t.Errorf("only asked: %v, %v", got, err)
	}
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "secret", Visibility: private, Actor: as("ann")})
	_, err = admit(b, "secret", false, as("bob"))
	wantCode(t, "a private room", err, errs.NotFound)
	_, err = admit(b, "secret", true, as("bob"))
	wantCode(t, "making a private room", err, errs.Forbidden)
	if got, err = admit(b, "secret", true, as("root", "admin")); err != nil || got.Role != member {
		t.Errorf("an admin: %v, %v", got, err)
	}
	if got, err = admit(b, "secret", true, as("ann")); err != nil || got.Role != owner {
		t.Errorf("the owner: %v, %v", got, err)
	}
	// The invitation is at a, and counts at b at once.
	a.mustSet("secret", "bob", moderator)
	if got, err = admit(b, "secret", true, as("bob")); err != nil || got.Role != moderator {
		t.Errorf("the invited: %v, %v", got, err)
	}
	_, err = admit(a, "dm:x", true, as("ann"))
	wantCode(t, "a direct room", err, errs.NotFound)
	_, err = admit(a, "a.b", true, as("ann"))
	wantCode(t, "a bad id", err, errs.InvalidArgument)
}

func TestAdmitMayBeKeptFromCreating(t *testing.T) {
	r := alone(t, Options{RefuseCreateByJoin: true})
	_, err := r.Admit(t.Context(), &registryv1.AdmitRequest{RoomId: "new", Actor: as("ann"), Create: true})
	wantCode(t, "joining what is not there", err, errs.NotFound)
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "secret", Visibility: private})
	_, err = r.Admit(t.Context(), &registryv1.AdmitRequest{RoomId: "secret", Actor: as("ann"), Create: true})
	wantCode(t, "a private room looks the same", err, errs.NotFound)
}

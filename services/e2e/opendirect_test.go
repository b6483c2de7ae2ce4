package e2e

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

func testOpenDirect(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	names := []string{named(t, "ann"), named(t, "bob")}
	ann, bob := signedIn(t, s, 0, encoding, names[0]), signedIn(t, s, 1, encoding, names[1])
	eve, admin := signedIn(t, s, 1, encoding, "eve"), signedIn(t, s, 0, encoding, "root", "admin")
	wantField(t, ann.Ask(ask.OpenDirect("")), "invalid-argument", "userId")
	wantField(t, ann.Ask(ask.OpenDirect(names[0])), "invalid-argument", "userId")

	// Both at the same moment, and later: the same room.
	for i, c := range []*client.Client{ann, bob} {
		f := ask.OpenDirect(names[1-i])
		f.Id = proto.String("direct")
		c.Send(f)
	}
	room := ann.Reply("direct").GetDirectOpened().GetRoomId()
	if !strings.HasPrefix(room, "dm:") || bob.Reply("direct").GetDirectOpened().GetRoomId() != room ||
		ann.Ask(ask.OpenDirect(names[1])).GetDirectOpened().GetRoomId() != room {
		t.Fatalf("the room of two is %q", room)
	}
	for _, c := range []*client.Client{ann, bob} {
		if by := wantInvited(c, room).GetUser().GetId(); by != names[0] && by != names[1] {
			t.Errorf("told that %q has opened it", by)
		}
	}
	other := ann.Ask(ask.OpenDirect("eve")).GetDirectOpened().GetRoomId()
	if other == room {
		t.Error("there is one room for all")
	}
	if by := wantInvited(eve, other).GetUser().GetId(); by != names[0] {
		t.Errorf("eve was told that %q has opened it", by)
	}
	for _, f := range eve.Untaken("invited") {
		if f.GetInvited().RoomId == room {
			t.Error("eve was told of the room of two others")
		}
	}
	ann.Join(room)
	bob.Join(room)
	ann.Say(room, "psst")
	bob.Hear(room, "psst")
	rooms := bob.Ask(ask.GetRooms(&wirev1.GetRooms{Prefix: &room})).GetRoomsList().GetRooms()
	if len(rooms) != 1 || rooms[0].MemberCount != 2 {
		t.Errorf("bob sees %v", rooms)
	}
	info := bob.Ask(ask.GetRoomInfo(room)).GetRoomInfo()
	if !info.Exists || info.GetVisibility() != "private" || info.Owner != nil {
		t.Errorf("info %v", info)
	}

	// It belongs to these two and to nobody else.
	eve.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: room}), "not-found")
	eve.AskError(ask.GetHistory(&wirev1.GetHistory{RoomId: room}), "not-found")
	if eve.Ask(ask.GetRoomInfo(room)).GetRoomInfo().Exists {
		t.Error("eve can see it")
	}
	for _, f := range []*wirev1.ClientFrame{
		ask.Invite(room, "eve"), ask.Uninvite(room, names[1]), ask.Uninvite(room, names[0]), ask.SetRole(room, names[1], "owner"),
		ask.Kick(&wirev1.Moderate{RoomId: room, UserId: names[1]}), ask.Ban(&wirev1.Moderate{RoomId: room, UserId: names[1]}),
		ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: room, Visibility: proto.String("public")}),
	} {
		ann.AskError(f, "forbidden")
		admin.AskError(f, "forbidden")
	}
	ann.AskError(ask.DeleteRoom(room), "forbidden")
	members, err := s.Registry.ListMembers(t.Context(), &registryv1.ListMembersRequest{RoomId: room})
	var list []string
	for _, m := range members.GetMembers() {
		list = append(list, m.User.Id+" "+m.Role.String())
	}
	if err != nil || !slices.Equal(list, []string{names[0] + " ROLE_MEMBER", names[1] + " ROLE_MEMBER"}) {
		t.Errorf("members %q, %v", list, err)
	}
}

// wantInvited waits until a client is told that its user belongs to a room.
func wantInvited(c *client.Client, room string) *wirev1.Invited {
	return c.Wait("invited to "+room, func(f *wirev1.ServerFrame) bool {
		return f.GetInvited().GetRoomId() == room
	}).GetInvited()
}

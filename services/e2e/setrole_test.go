package e2e

import (
	"testing"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// testSetRole gives and takes roles; what they allow counts at once, on the
// other gateway as well.
func testSetRole(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	owner, bob := signedIn(t, s, 0, encoding, "owner"), signedIn(t, s, 1, encoding, "bob")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	owner.Join(room)
	bob.Join(room)
	for field, f := range map[string]*wirev1.ClientFrame{
		"roomId": ask.SetRole("a b", "bob", "member"),
		"userId": ask.SetRole(room, "", "member"),
		"role":   ask.SetRole(room, "bob", "king"),
	} {
		wantField(t, owner.Ask(f), "invalid-argument", field)
	}
	wantField(t, owner.Ask(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_SetRole{SetRole: &wirev1.Moderate{RoomId: room, UserId: "bob"}}}),
		"invalid-argument", "role")
	bob.AskError(ask.SetRole(room, "bob", "moderator"), "forbidden")
	owner.AskError(ask.SetRole(named(t, "missing"), "bob", "member"), "not-found")

	kick := ask.Kick(&wirev1.Moderate{RoomId: room, UserId: "eve"})
	bob.AskError(kick, "forbidden")
	wantAck(t, owner, room, ask.SetRole(room, "bob", "moderator"))
	until(t, bob, kick, "")
	bob.AskError(ask.SetRole(room, "eve", "moderator"), "forbidden") // an owner's to give
	wantAck(t, bob, room, ask.SetRole(room, "eve", "member"))
	wantAck(t, owner, room, ask.SetRole(room, "bob", "member"))
	until(t, bob, kick, "forbidden")

	// A room is never left without an owner.
	owner.AskError(ask.SetRole(room, "owner", "member"), "forbidden")
	wantAck(t, owner, room, ask.SetRole(room, "bob", "owner"))
	wantAck(t, owner, room, ask.SetRole(room, "owner", "member"))
	until(t, bob, ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: room, Name: &room}), "")
	until(t, owner, kick, "forbidden")
	wantAck(t, bob, room, ask.SetRole(room, "owner", "member")) // as it is
	for _, m := range bob.Ask(ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: room})).GetRoomMembers().GetMembers() {
		if want := map[string]string{"bob": "owner", "owner": "member"}[m.Id]; m.Role != want {
			t.Errorf("%v, want %s", m, want)
		}
	}
}

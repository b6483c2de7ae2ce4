package e2e

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

func testInvite(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "secret")
	owner, bob := signedIn(t, s, 0, encoding, "owner"), signedIn(t, s, 1, encoding, "bob")
	bobs := []*client.Client{bob, signedIn(t, s, 0, encoding, "bob")}
	eve := signedIn(t, s, 1, encoding, "eve")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room, Visibility: proto.String("private")}))
	owner.Join(room)
	for _, request := range []func(room, user string) *wirev1.ClientFrame{ask.Invite, ask.Uninvite} {
		wantField(t, owner.Ask(request("a b", "bob")), "invalid-argument", "roomId")
		wantField(t, owner.Ask(request(room, "")), "invalid-argument", "userId")
		eve.AskError(request(room, "bob"), "not-found")
	}
	join := ask.JoinRoom(&wirev1.JoinRoom{RoomId: room})
	bob.AskError(join, "forbidden")
	wantAck(t, owner, room, ask.Invite(room, "bob"))
	for _, c := range bobs {
		if by := wantInvited(c, room).GetUser().GetId(); by != "owner" {
			t.Errorf("told that %q invites them", by)
		}
		c.Join(room) // at once: a registry looks again before it refuses
	}
	bob.Say(room, "hello")
	owner.Hear(room, "hello")
	bob.AskError(ask.Invite(room, "eve"), "forbidden")

	// To invite somebody twice takes no role away.
	wantAck(t, owner, room, ask.SetRole(room, "bob", "moderator"))
	wantAck(t, owner, room, ask.Invite(room, "bob"))
	until(t, bob, ask.Invite(room, "eve"), "")
	bob.AskError(ask.Invite(room, "owner"), "forbidden") // who is above
	wantAck(t, owner, room, ask.SetRole(room, "bob", "member"))

	start := time.Now()
	wantAck(t, owner, room, ask.Uninvite(room, "bob"))
	for _, c := range bobs {
		if got := c.Want("kicked").GetKicked(); got.RoomId != room {
			t.Errorf("kicked %v", got)
		}
		c.AskError(ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")}), "not-joined")
	}
	within(t, start, "uninvite")
	until(t, bob, join, "forbidden")
	wantAck(t, owner, room, ask.Uninvite(room, "bob")) // who has no part in it

	// A member may go by itself.
	eve.Join(room)
	wantAck(t, eve, room, ask.Uninvite(room, "eve"))
	eve.Want("kicked")
	until(t, eve, ask.GetHistory(&wirev1.GetHistory{RoomId: room}), "not-found")
}

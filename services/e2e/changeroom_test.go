package e2e

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

func wantField(t *testing.T, answer *wirev1.ServerFrame, code, field string) {
	t.Helper()
	if e := answer.GetError(); e.GetCode() != code || e.GetField() != field {
		t.Errorf("answered %v, want %s of %q", answer, code, field)
	}
}

func testUpdateRoom(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	owner, member := signedIn(t, s, 0, encoding, "owner"), signedIn(t, s, 1, encoding, "member")
	admin := signedIn(t, s, 1, encoding, "root", "admin")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	owner.Join(room)
	member.Join(room)

	for field, r := range map[string]*wirev1.UpdateRoom{
		"roomId":     {RoomId: "a b"},
		"name":       {RoomId: room, Name: proto.String("")},
		"topic":      {RoomId: room, Topic: proto.String(strings.Repeat("x", 257))},
		"visibility": {RoomId: room, Visibility: proto.String("secret")},
	} {
		wantField(t, owner.Ask(ask.UpdateRoom(r)), "invalid-argument", field)
	}
	wantField(t, owner.Ask(ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: room, Name: proto.String(" ")})), "invalid-argument", "name")
	member.AskError(ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: room, Topic: proto.String("mine")}), "forbidden")
	owner.AskError(ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: named(t, "none"), Topic: proto.String("x")}), "not-found")
	admin.AskError(ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: "lobby", Visibility: proto.String("private")}), "forbidden")

	change := func(c *client.Client, r *wirev1.UpdateRoom, want *wirev1.RoomUpdated) {
		t.Helper()
		if ack := c.Ask(ask.UpdateRoom(r)).GetAck(); ack.GetRoomId() != room {
			t.Fatalf("update-room was answered %v", ack)
		}
		want.RoomId = room
		for _, m := range []*client.Client{owner, member} {
			got := m.Want("room-updated").GetRoomUpdated()
			if got.GetRevision() == 0 || got.GetPolicy().GetPost() != "everyone" {
				t.Errorf("room-updated %v", got)
			}
			got.Revision, got.Policy = nil, nil
			if !proto.Equal(got, want) {
				t.Errorf("room-updated %v, want %v", got, want)
			}
		}
	}
	change(owner, &wirev1.UpdateRoom{RoomId: room, Name: proto.String("Ä"), Topic: proto.String("news")},
		&wirev1.RoomUpdated{Name: "Ä", Topic: proto.String("news"), Visibility: "public"})
	change(admin, &wirev1.UpdateRoom{RoomId: room, Topic: proto.String(""), Persistent: proto.Bool(true)},
		&wirev1.RoomUpdated{Name: "Ä", Visibility: "public", Persistent: true})
	// What changes nothing is not told.
	owner.Ask(ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: room, Name: proto.String("Ä")}))
	owner.Say(room, "behind it")
	member.Hear(room, "behind it")
	if more := member.Untaken("room-updated"); len(more) > 0 {
		t.Errorf("a member was told %v", more)
	}
}

func testDeleteRoom(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	owner, member := signedIn(t, s, 0, encoding, "owner"), signedIn(t, s, 1, encoding, "member")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	owner.Join(room)
	first, _ := member.Join(room)
	owner.Say(room, "of the first life")
	member.Hear(room, "of the first life")

	wantField(t, owner.Ask(ask.DeleteRoom("")), "invalid-argument", "roomId")
	member.AskError(ask.DeleteRoom(room), "forbidden")
	owner.AskError(ask.DeleteRoom(named(t, "none")), "not-found")
	signedIn(t, s, 0, encoding, "root", "admin").AskError(ask.DeleteRoom("lobby"), "forbidden")

	if ack := owner.Ask(ask.DeleteRoom(room)).GetAck(); ack.GetRoomId() != room {
		t.Fatalf("delete-room was answered %v", ack)
	}
	for _, c := range []*client.Client{owner, member} {
		if got := c.Want("room-deleted").GetRoomDeleted(); got.RoomId != room {
			t.Errorf("room-deleted %v", got)
		}
		c.AskError(ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")}), "not-joined")
	}
	second, history := member.Join(room) // makes it anew
	if second.Epoch == first.Epoch || len(history.Messages) != 0 {
		t.Errorf("after %v joined %v with %v", first, second, history)
	}
}

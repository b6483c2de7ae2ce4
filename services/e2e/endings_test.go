package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// testEmptyRoom waits until empty rooms leave the lists, and those that are
// to stay do not.
func testEmptyRoom(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	prefix := named(t, "r")
	passing, lasting, used := prefix+"-passing", prefix+"-lasting", prefix+"-used"
	alice := signedIn(t, s, 0, encoding, "alice")
	alice.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: lasting, Persistent: proto.Bool(true)}))
	joined, _ := alice.Join(passing)
	alice.Join(lasting)
	alice.Join(used)
	said := alice.Say(passing, "remember me")
	listed := func() (ids []string) {
		for _, r := range alice.Ask(ask.GetRooms(&wirev1.GetRooms{Prefix: &prefix})).GetRoomsList().GetRooms() {
			ids = append(ids, r.Id)
		}
		slices.Sort(ids)
		return ids
	}
	if got := listed(); !slices.Equal(got, []string{lasting, passing, used}) {
		t.Errorf("rooms %q", got)
	}
	left := time.Now()
	alice.Ask(ask.LeaveRoom(passing))
	alice.Ask(ask.LeaveRoom(lasting))
	stack.Eventually(t, "the room leaves the list", func() error {
		if got := listed(); !slices.Equal(got, []string{lasting, used}) {
			return fmt.Errorf("rooms %q", got)
		}
		return nil
	})
	if early := time.Since(left); early < 600*time.Millisecond {
		t.Errorf("it left the list after %v", early)
	}
	// The room is not gone yet: whoever comes back finds its log.
	bob := signedIn(t, s, 1, encoding, "bob")
	back, history := bob.JoinWith(&wirev1.JoinRoom{RoomId: passing, After: proto.Int64(0), Epoch: &joined.Epoch})
	if back.Epoch != joined.Epoch || back.Seq != said.GetSeq() || !back.Recovered || len(history.Messages) != 1 {
		t.Errorf("back: %v, %v", back, history)
	}
	stack.Eventually(t, "the room is back in the list", func() error {
		if got := listed(); !slices.Equal(got, []string{lasting, passing, used}) {
			return fmt.Errorf("rooms %q", got)
		}
		return nil
	})
}

// testRoomDeletion changes and deletes a room as other back ends do.
func testRoomDeletion(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	owner, member := signedIn(t, s, 0, encoding, "owner"), signedIn(t, s, 1, encoding, "member")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	first, _ := owner.Join(room)
	member.Join(room)
	said := owner.Say(room, "soon forgotten")
	member.Hear(room, "soon forgotten")
	actor := &registryv1.Actor{User: &wirev1.User{Id: "owner", Username: "owner"}}
	_, err := s.Registry.UpdateRoom(context.Background(), &registryv1.UpdateRoomRequest{
		RoomId: room, Name: proto.String("New name"), Topic: proto.String("New topic"), Persistent: proto.Bool(true), Actor: actor,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client.Client{owner, member} {
		if u := c.Want("room-updated").GetRoomUpdated(); u.RoomId != room || u.Name != "New name" || u.GetTopic() != "New topic" || u.Visibility != "public" || !u.Persistent {
			t.Errorf("room-updated %v", u)
		}
	}
	if info := member.Ask(ask.GetRoomInfo(room)).GetRoomInfo(); info.GetName() != "New name" || info.GetEpoch() != first.Epoch {
		t.Errorf("info %v", info)
	}
	if _, err := s.Registry.DeleteRoom(context.Background(), &registryv1.DeleteRoomRequest{RoomId: room, Actor: actor}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client.Client{owner, member} {
		if d := c.Want("room-deleted").GetRoomDeleted(); d.RoomId != room {
			t.Errorf("room-deleted %v", d)
		}
		c.AskError(ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")}), "not-joined")
		c.AskError(ask.LeaveRoom(room), "not-joined")
	}
	stack.Eventually(t, "the room is gone", func() error {
		if info := member.Ask(ask.GetRoomInfo(room)).GetRoomInfo(); info.Exists {
			return fmt.Errorf("%v", info)
		}
		return nil
	})
	member.AskError(ask.GetHistory(&wirev1.GetHistory{RoomId: room}), "not-found")
	// A room made anew under the name has another life, and nothing of the old.
	second, history := member.JoinWith(&wirev1.JoinRoom{RoomId: room, After: said.Seq, Epoch: &first.Epoch})
	if second.Epoch == first.Epoch || second.Recovered || len(history.Messages) != 0 {
		t.Errorf("joined %v, %v", second, history)
	}
	// Presence may hear only now that the other has left, for that is another gateway's.
	stack.Eventually(t, "one is in it", func() error {
		if info := member.Ask(ask.GetRoomInfo(room)).GetRoomInfo(); info.MemberCount != 1 {
			return fmt.Errorf("%v", info)
		}
		return nil
	})
	member.Say(room, "a new life")
	member.Hear(room, "a new life")
}

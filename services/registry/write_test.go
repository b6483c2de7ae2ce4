package registry

import (
	"fmt"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

func TestConcurrentChangesLoseNothing(t *testing.T) {
	a, b := pair(t, Options{})
	replicas := []*replica{a, b}
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Actor: as("ann")})
	b.mustSet("room", "shared", member)

	// Four fields, each changed by five writers: every writer adds its letter
	// to what it has read, and tries again when somebody else was faster.
	add := func(r *replica, letter string) error {
		for {
			room, err := r.GetRoom(t.Context(), &registryv1.GetRoomRequest{RoomId: "room"})
			if err != nil {
				return err
			}
			_, err = r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{
				RoomId: "room", Topic: proto.String(room.Topic + letter), Revision: room.Revision,
			})
			if err == nil {
				return nil
			}
			if !isRefusal(err) {
				return err
			}
		}
	}
	var work sync.WaitGroup
	for i := range 20 {
		r := replicas[i%2]
		work.Go(func() {
			var err error
			switch i / 5 {
			case 0:
				err = add(r, string(rune('a'+i)))
			case 1:
				_, err = r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Name: proto.String("New name")})
			case 2:
				_, err = r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Persistent: proto.Bool(true)})
			case 3:
				_, err = r.SetMember(t.Context(), &registryv1.SetMemberRequest{RoomId: "room", User: &wirev1.User{Id: "shared"}, Role: moderator})
			}
			if err == nil {
				_, err = r.SetMember(t.Context(), &registryv1.SetMemberRequest{
					RoomId: "room", User: &wirev1.User{Id: fmt.Sprintf("user-%d", i)}, Role: member, Actor: as("ann"),
				})
			}
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	work.Wait()
	for _, r := range replicas {
		eventually(t, "both replicas agree on everything", func() bool {
			room := r.picture.room("room")
			roles := r.roles("room")
			return len(room.Topic) == 5 && room.Name == "New name" && room.Persistent &&
				len(roles) == 22 && roles["shared"] == moderator
		})
	}
}

func TestConcurrentUpdatesOfOneRecord(t *testing.T) {
	a, b := pair(t, Options{})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room"})
	var work sync.WaitGroup
	for i := range 40 {
		r := []*replica{a, b}[i%2]
		work.Go(func() {
			if _, err := r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Topic: proto.String(fmt.Sprint(i))}); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	work.Wait()
}

func TestConcurrentJoinsAgreeOnOneRoom(t *testing.T) {
	a, b := pair(t, Options{})
	for round := range 5 {
		id := fmt.Sprintf("room-%d", round)
		var work sync.WaitGroup
		epochs := make([]string, 20)
		made := make([]bool, 20)
		for i := range 20 {
			r := []*replica{a, b}[i%2]
			work.Go(func() {
				got, err := r.Admit(t.Context(), &registryv1.AdmitRequest{RoomId: id, Actor: as(fmt.Sprint(i)), Create: true})
				if err != nil {
					t.Errorf("joiner %d: %v", i, err)
					return
				}
				epochs[i], made[i] = got.Room.Epoch, got.Created
			})
		}
		work.Wait()
		makers := 0
		for i := range 20 {
			if epochs[i] != epochs[0] || epochs[i] == "" {
				t.Errorf("joiner %d got epoch %q, joiner 0 %q", i, epochs[i], epochs[0])
			}
			if made[i] {
				makers++
			}
		}
		if makers != 1 {
			t.Errorf("%d joiners made the room", makers)
		}
	}
}

// TestNothingToChangeIsSeenAtTheLeader: what a replica is asked to make of a
// room is what it still has, and not what the room is.
func TestNothingToChangeIsSeenAtTheLeader(t *testing.T) {
	a, b := pair(t, Options{})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Topic: "old"})
	eventually(t, "the room at b", func() bool { return b.picture.room("room") != nil })
	for i := range 50 {
		if _, err := a.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Topic: proto.String(fmt.Sprint("new ", i))}); err != nil {
			t.Fatal(err)
		}
		room, err := b.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Topic: proto.String("old")})
		if err != nil || room.Topic != "old" {
			t.Fatal(room, err)
		}
		entry, err := a.kv.Load().Get(t.Context(), roomKey("room"))
		if err != nil {
			t.Fatal(err)
		}
		if stored, err := decodeRoom(entry, a.bus.Epoch); err != nil || stored.Topic != "old" {
			t.Fatalf("round %d: stored is %v, %v", i, stored, err)
		}
	}
}

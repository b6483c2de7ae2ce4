package registry

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// BenchmarkRead reads from a picture of 100,000 rooms, every other private,
// of which one user belongs to one in a hundred.
func BenchmarkRead(b *testing.B) {
	r := alone(b, Options{})
	const rooms = 100_000
	for i := range rooms {
		room := &registryv1.Room{Id: fmt.Sprintf("room-%06d", i), Name: "Room", Visibility: public}
		revision := uint64(1000 + 2*i)
		if i%2 == 1 {
			room.Visibility = private
		}
		value, err := encodeRoom(room)
		if err != nil {
			b.Fatal(err)
		}
		r.apply(bus.Entry{Key: roomKey(room.Id), Value: value, Revision: revision})
		if i%200 == 1 {
			value, err := proto.Marshal(&registryv1.Member{User: as("ann").User, Role: member, Epoch: r.bus.Epoch(revision)})
			if err != nil {
				b.Fatal(err)
			}
			r.apply(bus.Entry{Key: memberKey(room.Id, "ann"), Value: value, Revision: revision + 1})
		}
	}
	list := func(req *registryv1.ListRoomsRequest) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				page, err := r.ListRooms(b.Context(), req)
				if err != nil || len(page.Rooms) != 100 || page.NextCursor == "" {
					b.Fatal(page, err)
				}
			}
		}
	}
	b.Run("GetRoom", func(b *testing.B) {
		for i := 0; b.Loop(); i += 7919 {
			if _, err := r.GetRoom(b.Context(), &registryv1.GetRoomRequest{RoomId: fmt.Sprintf("room-%06d", i%rooms)}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ListRooms/first", list(&registryv1.ListRoomsRequest{Actor: as("ann")}))
	b.Run("ListRooms/middle", list(&registryv1.ListRoomsRequest{Actor: as("ann"), Cursor: cursorOf("room-050000")}))
	b.Run("ListRooms/stranger", list(&registryv1.ListRoomsRequest{Actor: as("eve"), Cursor: cursorOf("room-050000")}))
	b.Run("ListRooms/everything", list(&registryv1.ListRoomsRequest{Cursor: cursorOf("room-050000")}))
	b.Run("Admit", func(b *testing.B) {
		for b.Loop() {
			if _, err := r.Admit(b.Context(), &registryv1.AdmitRequest{RoomId: "room-000200", Actor: as("eve"), Create: true}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

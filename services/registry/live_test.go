package registry

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// TestMembersAreTold listens as a gateway does.
func TestMembersAreTold(t *testing.T) {
	people := new(crowd)
	r := alone(t, Options{Presence: people, EmptyGrace: 20 * time.Millisecond, ExpireAfter: 20 * time.Millisecond})
	var mu sync.Mutex
	told := make(map[string][]*busv1.LiveEvent)
	feed := r.bus.NewFeed(1, func(_ int, batch []bus.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		for _, d := range batch {
			if d.Live != nil {
				told[d.Room] = append(told[d.Room], d.Live)
			}
		}
	})
	t.Cleanup(feed.Close)
	next := func(room string) (event *busv1.LiveEvent) {
		t.Helper()
		eventually(t, "an event in "+room, func() bool {
			mu.Lock()
			defer mu.Unlock()
			if len(told[room]) > 0 {
				event = told[room][0]
				told[room] = told[room][1:]
			}
			return event != nil
		})
		return event
	}
	for _, room := range []string{"room", "brief"} {
		if _, err := feed.Subscribe(room); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.bus.Flush(ctx); err != nil {
		t.Fatal(err)
	}

	room := r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Persistent: true})
	changed, err := r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Topic: proto.String("news"), Visibility: private.Enum()})
	if err != nil {
		t.Fatal(err)
	}
	if got := next("room").GetChanged(); got.GetRevision() != changed.Revision || got.Room.GetRoomId() != "room" ||
		got.Room.GetName() != "room" || got.Room.GetTopic() != "news" || got.Room.Visibility != "private" || !got.Room.Persistent {
		t.Errorf("told %v of %v", got, changed)
	}
	// Nobody belongs to it.
	if got := next("room").GetMembersOnly(); got.GetEpoch() != room.Epoch || len(got.Users) != 0 || got.From != "" || got.To != "" {
		t.Errorf("told %v of %v", got, changed)
	}
	// Nothing changes, so nothing is told: the next event is the end.
	if _, err := r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Topic: proto.String("news")}); err != nil {
		t.Fatal(err)
	}
	if err := r.deleteRoom("room"); err != nil {
		t.Fatal(err)
	}
	if got := next("room").GetGone(); got.GetEpoch() != room.Epoch {
		t.Errorf("told %v of the end of %v", got, room)
	}
	brief := r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "brief"})
	if got := next("brief").GetGone(); got.GetEpoch() != brief.Epoch {
		t.Errorf("told %v when %v expired", got, brief)
	}
}

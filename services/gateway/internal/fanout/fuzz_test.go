package fanout

import (
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// FuzzLive tells a room's members whatever somebody says on the room's subject who
// is no part of Parley: what they are sent, they can read, and is about their room.
func FuzzLive(f *testing.F) {
	user := &wirev1.User{Id: "u", Username: "U"}
	for _, event := range []*busv1.LiveEvent{
		{},
		{Event: &busv1.LiveEvent_Signal{Signal: &busv1.LiveSignal{SessionId: "s", User: user, Event: "typing", Data: []byte(`{"a":1}`)}}},
		{Event: &busv1.LiveEvent_Signal{Signal: &busv1.LiveSignal{Data: []byte(`{`)}}},
		{Event: &busv1.LiveEvent_Roster{Roster: &busv1.RosterEvent{Joined: []*wirev1.User{user, {}}, Left: []*wirev1.User{user}, MemberCount: -1, TimeMs: 1}}},
		{Event: &busv1.LiveEvent_Roster{Roster: &busv1.RosterEvent{MemberCount: 1 << 60, TimeMs: 1 << 62}}},
		{Event: &busv1.LiveEvent_Status{Status: &busv1.StatusEvent{User: user, Status: "away", Text: "x", Told: []string{"r"}}}},
		{Event: &busv1.LiveEvent_Changed{Changed: &busv1.RoomChanged{Revision: 1, Room: &wirev1.RoomUpdated{RoomId: "another"}}}},
		{Event: &busv1.LiveEvent_Changed{Changed: &busv1.RoomChanged{Record: &registryv1.Room{Id: "r", Revision: 1 << 63, Policy: &registryv1.Policy{Rate: proto.Float64(1e-300)}}}}},
		{Event: &busv1.LiveEvent_Out{Out: &busv1.UserOut{UserId: "u", Code: "?"}}},
		{Event: &busv1.LiveEvent_MembersOnly{MembersOnly: &busv1.MembersOnly{From: "z", To: "a", Users: []string{"c", "b"}}}},
		{Event: &busv1.LiveEvent_Muted{Muted: &busv1.UserMuted{UserId: "u", UntilMs: -1 << 62}}},
		{Event: &busv1.LiveEvent_Role{Role: &busv1.UserRole{UserId: "u", Role: -7}}},
		{Event: &busv1.LiveEvent_Gone{Gone: &busv1.RoomGone{Epoch: "x-1"}}},
	} {
		said, err := proto.Marshal(event)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(said)
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		event := new(busv1.LiveEvent)
		if proto.Unmarshal(said, event) != nil {
			return
		}
		strange := 0
		h := &Hub{passOver: func(string, error) { strange++ }, feed: deafFeed{}}
		w := &worker{rooms: make(map[string]*room), memory: newMemories(1, 1<<20, new(atomic.Int64))[0]}
		h.workers = []*worker{w}
		v := &visit{}
		r := &room{hub: h, worker: w, id: "r", epoch: "x-1", sub: deafFeed{}, pinned: true}
		w.rooms["r"] = r
		m := &Membership{room: "r", member: v}
		r.members = []*Membership{m}
		r.live(event)
		if strange > 0 && len(v.frames) > 0 {
			t.Errorf("%v is not ours, and still sent: %v", event, v.frames)
		}
		for _, f := range v.frames {
			for _, encoding := range []frame.Encoding{frame.JSON, frame.Proto} {
				b, err := frame.AppendServer(nil, encoding, f)
				if err == nil {
					_, err = frame.DecodeServer(encoding, b)
				}
				if err != nil {
					t.Errorf("%v is sent and cannot be read: %v", f, err)
				}
			}
			for _, about := range []string{f.GetSignal().GetRoomId(), f.GetRoomUpdated().GetRoomId(), f.GetRoomStats().GetRoomId(), f.GetUserJoined().GetRoomId(), f.GetUserLeft().GetRoomId()} {
				if about != "" && about != "r" {
					t.Errorf("members of r are told of %q: %v", about, f)
				}
			}
		}
	})
}

// deafFeed hears nothing.
type deafFeed struct{ feed }

func (deafFeed) Stop()             {}
func (deafFeed) Worker(string) int { return 0 }

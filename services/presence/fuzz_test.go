package presence

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// What FuzzIntake hears, by the byte before it.
const (
	hearsBeat = iota
	hearsDelta
	hearsSnapshot
	hearsStandIn
	hearsReplica
	timePasses
	kinds
)

// FuzzIntake hears whatever somebody says who is no gateway and no replica. What
// comes of it can be told, and is forgotten when nobody says it any more.
func FuzzIntake(f *testing.F) {
	said := func(all ...any) []byte {
		var b bytes.Buffer
		for i := 0; i < len(all); i += 2 {
			b.WriteByte(byte(all[i].(int)))
			if _, err := protodelim.MarshalTo(&b, all[i+1].(proto.Message)); err != nil {
				f.Fatal(err)
			}
		}
		return b.Bytes()
	}
	on := func(session, user string, rooms ...string) *busv1.PresenceChange {
		return changeOf(session, announce(user, 1, rooms...))
	}
	beat := func(gateway string, delta uint64) *busv1.GatewayBeat {
		return &busv1.GatewayBeat{GatewayId: gateway, Delta: delta}
	}
	f.Add(said(
		hearsBeat, beat("g", 0),
		hearsDelta, &busv1.PresenceDelta{GatewayId: "g", Number: 1, Changes: []*busv1.PresenceChange{on("s", "u", "a", "b.*", ">")}},
		hearsDelta, &busv1.PresenceDelta{GatewayId: "g", Number: 2, Changes: []*busv1.PresenceChange{
			{SessionId: "s", Change: &busv1.PresenceChange_Status{Status: &busv1.SessionStatus{Status: "away", Text: "x"}}},
			{SessionId: "s", Change: &busv1.PresenceChange_Joined{Joined: "c"}}, {SessionId: "s", Change: &busv1.PresenceChange_Left{Left: "a"}},
			{SessionId: "s", Change: &busv1.PresenceChange_Offline{Offline: &busv1.SessionOffline{LeaseMs: 1 << 62}}}, {},
		}},
		timePasses, &busv1.PresenceSnapshotRequest{},
	))
	f.Add(said(
		hearsDelta, &busv1.PresenceDelta{GatewayId: "g", Number: 1<<64 - 1, Changes: []*busv1.PresenceChange{on("s", "u", "a")}},
		hearsBeat, beat("g", 1<<64-1), hearsBeat, beat("g", 3), hearsBeat, beat("g", 2),
		hearsSnapshot, &busv1.PresenceSnapshot{GatewayId: "g", Number: 1<<64 - 1, Sessions: []*busv1.SnapshotSession{{}, {SessionId: "s", Online: announce("u", -1, "a", "a", "")}}},
		hearsStandIn, &busv1.PresenceSnapshot{GatewayId: "h", LeaseMs: -1, Sessions: []*busv1.SnapshotSession{{SessionId: "s", Online: announce("v", 1, "a")}}},
		hearsBeat, &busv1.GatewayBeat{GatewayId: "h", Leaving: true},
	))
	f.Add(said(
		hearsBeat, beat("*", 0), hearsBeat, beat("", 0), hearsBeat, beat("g\r\nPUB x 0", 0),
		hearsReplica, &busv1.PresenceReplicaBeat{ReplicaId: "r", Complete: true, Told: []*busv1.RoomTold{
			{RoomId: "a.b", Event: &busv1.RosterEvent{Joined: []*wirev1.User{{Id: "u"}}}}, {RoomId: "a", Event: &busv1.RosterEvent{Left: []*wirev1.User{{}}}}, {},
		}},
	))
	f.Fuzz(func(t *testing.T, said []byte) {
		o := Options{GatewayTimeout: 15 * time.Second, Lease: 15 * time.Second, HoleWait: time.Second, LargeRoom: 3, Gather: time.Second, StatsEvery: 2 * time.Second}
		in, told, replicas := newIntake(o), newRoster(o), newFloor("me", time.Second)
		now := time.Unix(1_750_000_000, 0)
		after := func(d time.Duration) {
			now = now.Add(d)
			in.expire(now, time.Time{})
			for in.step(now) || len(in.todo) > 0 {
			}
			for _, c := range in.picture.take() {
				if c.room != nil {
					told.note(c, now)
				}
			}
		}
		tell := func() {
			for {
				events, _ := told.due(now, in.picture.roomCount)
				for _, e := range events {
					if ids.CheckRoom("roomId", e.room) != nil {
						t.Errorf("%q is told as if it were a room", e.room)
					}
				}
				if len(events) == 0 {
					return
				}
				now = now.Add(time.Minute)
			}
		}
		for r := bytes.NewReader(said); ; {
			kind, err := r.ReadByte()
			if err != nil {
				break
			}
			hear := func(m proto.Message) bool { return protodelim.UnmarshalFrom(r, m) == nil }
			switch kind % kinds {
			case hearsBeat:
				if m := new(busv1.GatewayBeat); hear(m) {
					in.beat(m, now)
				}
			case hearsDelta:
				if m := new(busv1.PresenceDelta); hear(m) {
					in.delta(m, now)
				}
			case hearsSnapshot, hearsStandIn:
				m := new(busv1.PresenceSnapshot)
				if !hear(m) {
					break
				}
				if kind%kinds == hearsSnapshot {
					in.coming(m.GatewayId, now)
					in.snapshot(m.GatewayId, m.Number, m.Sessions, now)
				} else {
					in.standIn(m.GatewayId, m.Number, m.Sessions, now.Add(min(time.Duration(m.LeaseMs)*time.Millisecond, maxLease)), now)
				}
			case hearsReplica:
				if m := new(busv1.PresenceReplicaBeat); hear(m) {
					replicas.beat(m, now)
					for _, about := range m.Told {
						told.settle(about, in.picture, now)
					}
					told.vouched(now)
				}
			case timePasses:
				after(2 * time.Second)
				tell()
			}
		}
		for range 4 { // silent, given up, and what was on a lease
			after(maxLease + time.Minute)
		}
		tell()
		replicas.mine(now)
		p := in.picture
		if left := len(in.feeds) + p.sessions.Len() + p.users.Len() + p.rooms.Len() + len(p.gateways) + len(p.leases) + len(p.texts) + len(replicas.others) + len(told.rooms) + told.moves; left > 0 {
			t.Errorf("nobody says anything any more, and %d gateways, %d sessions of %d users in %d rooms, %d leases, %d texts, %d replicas, %d rooms to tell are left",
				len(in.feeds), p.sessions.Len(), p.users.Len(), p.rooms.Len(), len(p.leases), len(p.texts), len(replicas.others), len(told.rooms))
		}
		for _, gateway := range in.asks {
			if ids.CheckRoom("gateway", gateway) != nil {
				t.Errorf("%q is asked as if it were a gateway", gateway)
			}
		}
	})
}

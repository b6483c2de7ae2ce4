package presence

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// crowd fills a picture: a session per user on 20 gateways, each in the lobby
// and two rooms of about 50. Ids are as long as real ones.
func crowd(sessions int) (*picture, []string) {
	p := newPicture()
	names := make([]string, sessions)
	for i := range sessions {
		names[i] = ids.New("s_")
		p.applyDelta(fmt.Sprint("g", i%20), []*busv1.PresenceChange{{
			SessionId: names[i],
			Change: &busv1.PresenceChange_Online{Online: &busv1.SessionOnline{
				User:              &wirev1.User{Id: ids.New("u_"), Username: fmt.Sprintf("user%07d", i)},
				AuthenticatedAtMs: int64(i),
				Rooms: []string{
					string([]byte(ids.Lobby)), fmt.Sprint("room-", i/50), fmt.Sprint("hall-", i%(sessions/50)),
				},
			}},
		}}, time.Time{})
		p.take()
	}
	return p, names
}

// BenchmarkMemory reports what a session, its user and its places in three
// rooms weigh.
func BenchmarkMemory(b *testing.B) {
	const sessions = 100_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var bytes float64
	for b.Loop() {
		before := heap()
		p, names := crowd(sessions)
		clear(names)
		names = nil
		bytes = float64(heap()-before) / sessions
		runtime.KeepAlive(p)
	}
	b.ReportMetric(bytes, "bytes/session")
}

// BenchmarkApply is a join or a leave of one of 100,000 sessions, each in a
// delta of its own.
func BenchmarkApply(b *testing.B) {
	p, names := crowd(100_000)
	in := &busv1.PresenceChange{Change: &busv1.PresenceChange_Joined{}}
	out := &busv1.PresenceChange{Change: &busv1.PresenceChange_Left{}}
	one := make([]*busv1.PresenceChange, 1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := i / 2 * 7919 % len(names)
		c := in
		room := fmt.Sprint("other-", n%1000)
		if i%2 == 0 {
			c.Change.(*busv1.PresenceChange_Joined).Joined = room
		} else {
			c = out
			c.Change.(*busv1.PresenceChange_Left).Left = room
		}
		c.SessionId = names[n]
		one[0] = c
		p.applyDelta(fmt.Sprint("g", n%20), one, time.Time{})
		if len(p.take()) != 1 {
			b.Fatal("no change")
		}
	}
}

// BenchmarkSnapshot is a gateway's 5,000 sessions announced anew, unchanged.
func BenchmarkSnapshot(b *testing.B) {
	p, _ := crowd(100_000)
	var sessions []*busv1.SnapshotSession
	for _, s := range p.gateways["g7"].sessions {
		o := &busv1.SessionOnline{User: wireUser(s.user), AuthenticatedAtMs: s.authenticatedMS}
		for _, r := range s.rooms {
			o.Rooms = append(o.Rooms, r.id)
		}
		sessions = append(sessions, &busv1.SnapshotSession{SessionId: s.id, Online: o})
	}
	for serial := uint8(1); b.Loop(); serial = serial%255 + 1 {
		p.applySnapshot("g7", serial, sessions, time.Time{})
	}
	if len(p.take()) != 0 {
		b.Fatal("an unchanged snapshot made changes")
	}
}

// BenchmarkListOnline is a page of 100 out of 100,000 users.
func BenchmarkListOnline(b *testing.B) {
	p, _ := crowd(100_000)
	cursor := ""
	for b.Loop() {
		page, more := p.usersAfter("", cursor, 100)
		if cursor = ""; more {
			cursor = page[len(page)-1].User.Id
		}
	}
}

// BenchmarkCountRooms counts 100 rooms.
func BenchmarkCountRooms(b *testing.B) {
	p, _ := crowd(100_000)
	for b.Loop() {
		for i := range 100 {
			if p.roomCount(fmt.Sprint("room-", i*20)) == 0 {
				b.Fatal("an empty room")
			}
		}
	}
}

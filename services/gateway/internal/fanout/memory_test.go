package fanout

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// TestMemory: whatever rooms take in and give up, what they hold together stays
// within the bound and is counted right, the rooms used last keep theirs, and
// one that has forgotten says so.
func TestMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var total atomic.Int64
	m := newMemories(1, 4*recentBytes, &total)[0]
	rooms := make([]*room, 40)
	for i := range rooms {
		rooms[i] = &room{id: fmt.Sprint(i), worker: &worker{memory: m}}
	}
	var order []*room // as used, the last at the end
	dropped := 0
	for seq := uint64(1); seq < 50_000; seq++ {
		r := rooms[rng.IntN(len(rooms))]
		if rng.IntN(500) == 0 { // it closes
			r.recent = recent{}
			m.left(r)
			continue
		}
		r.last = seq
		content := string(make([]byte, rng.IntN(16<<10)))
		r.recent.add(bus.Stored{Seq: seq, Entry: &busv1.LogEntry{Content: &content}}, recentEntries)
		m.used(r)
		order = append(order, r)

		bytes := 0
		for _, r := range rooms {
			bytes += r.recent.bytes
			if len(r.recent.entries) == 0 && r.recent.more {
				dropped++
				if _, ok := r.recent.since(r.last); !ok {
					t.Fatal("a room that has forgotten does not know where it was")
				}
				if _, ok := r.recent.since(r.last - 1); ok {
					t.Fatal("a room that has forgotten claims to have everything")
				}
				if _, _, ok := r.recent.newest(1); ok {
					t.Fatal("a room that has forgotten claims to have the newest")
				}
			}
		}
		if bytes != m.bytes || int64(bytes) != total.Load() || bytes > 4*recentBytes {
			t.Fatalf("%d bytes are held, %d and %d counted, %d allowed", bytes, m.bytes, total.Load(), 4*recentBytes)
		}
		// The three used last have at most 3/4 of the bound and keep theirs.
		for _, r := range order[max(0, len(order)-3):] {
			if len(r.recent.entries) == 0 && r.recent.more {
				t.Fatalf("room %s was used a moment ago and has forgotten", r.id)
			}
		}
	}
	if dropped == 0 {
		t.Error("nothing was ever forgotten")
	}
}

// BenchmarkRecentOfManyRooms is a delivery to nobody where rooms push each
// other out of memory all the time.
func BenchmarkRecentOfManyRooms(b *testing.B) {
	first := crowd(b, 0)
	entry := message(string(make([]byte, 4<<10)))
	rooms := make([]*room, 10_000)
	for i := range rooms {
		rooms[i] = &room{hub: first.hub, id: fmt.Sprint(i), loaded: true, worker: first.worker}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r := rooms[i*7919%len(rooms)]
		r.stored(bus.Stored{Room: r.id, Seq: r.last + 1, Prev: r.last, Entry: entry})
	}
}

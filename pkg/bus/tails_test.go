package bus_test

import (
	"fmt"
	"testing"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
)

func TestTails(t *testing.T) {
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	b := connect(t, server, bus.Options{Shards: 3})
	if err := b.EnsureLog(t.Context(), bus.LogConfig{}); err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{}
	rooms := []string{"nobody", "never:used"}
	for i := range 900 { // more than one request for each shard
		room := fmt.Sprintf("room-%d", i)
		rooms = append(rooms, room)
		want[room] = publish(t, b, room, "", "x").Seq
		if i%7 == 0 {
			want[room] = publish(t, b, room, "", "y").Seq
		}
	}
	got, err := b.Tails(t.Context(), rooms)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("%d tails of %d rooms", len(got), len(want))
	}
	for room, seq := range want {
		if got[room] != seq {
			t.Errorf("%s: tail %d, want %d", room, got[room], seq)
		}
	}
}

package fanout

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/parley-im/parley/pkg/bus"
)

// countingSource counts the readings of the log.
type countingSource struct {
	Source
	reads atomic.Int64
}

func (c *countingSource) ReadAfter(ctx context.Context, room string, after uint64, limit int, reach uint64) (bus.Page, error) {
	c.reads.Add(1)
	return c.Source.ReadAfter(ctx, room, after, limit, reach)
}

func (c *countingSource) ReadNewest(ctx context.Context, room string, before uint64, limit int, reach uint64) (bus.Page, error) {
	c.reads.Add(1)
	return c.Source.ReadNewest(ctx, room, before, limit, reach)
}

func (c *countingSource) Tail(ctx context.Context, room string) (uint64, error) {
	c.reads.Add(1)
	return c.Source.Tail(ctx, room)
}

// A join of 50 messages of a room that is open on the gateway reads nothing
// from the log.
func TestHotRoomIsJoinedFromMemory(t *testing.T) {
	b := connect(t, embed(t))
	if err := b.EnsureLog(t.Context(), bus.LogConfig{}); err != nil {
		t.Fatal(err)
	}
	put(t, b, "hot", 200)
	source := &countingSource{Source: b}
	h, err := newHub(Options{Bus: b}, source, func(workers int, handle func(int, []bus.Delivery)) feed {
		return busFeed{b.NewFeed(workers, handle)}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	enter(t, h, Request{Room: "hot", History: 50})
	opened := source.reads.Load()
	if opened == 0 {
		t.Fatal("the room was opened without the log: nothing is counted")
	}
	for range 20 {
		v, _ := enter(t, h, Request{Room: "hot", History: 50})
		if past, _ := v.seqs(); len(past) != 50 {
			t.Fatalf("%d messages of the past, want 50", len(past))
		}
	}
	if more := source.reads.Load() - opened; more != 0 {
		t.Errorf("20 joins of a hot room read the log %d times", more)
	}
}

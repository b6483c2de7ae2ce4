// Package bustest is the contract of package bus as tests: what services rely
// on, whatever kind of NATS deployment is behind it. Whoever has another kind
// runs them on it. It knows the bus by its exported names alone.
package bustest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// Run holds one kind of deployment against the contract. deploy makes an empty
// one for each test.
func Run(t *testing.T, deploy func(*testing.T) *Deployment) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *Deployment)
	}{
		{"publish", testPublish},
		{"pipeline", testPipeline},
		{"read what was acknowledged", testReach},
		{"retention", testRetention},
		{"kv", testKV},
		{"watch", testWatch},
		{"faults", testFaults},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, deploy(t)) })
	}
}

func entry(text string) *busv1.LogEntry {
	return &busv1.LogEntry{Kind: busv1.LogEntry_KIND_CHAT_MESSAGE, Content: proto.String(text)}
}

// ensure makes the log; a cluster may still be electing.
func ensure(t *testing.T, b *bus.Bus, c bus.LogConfig) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		err = b.EnsureLog(ctx, c)
		cancel()
		if err == nil {
			return
		}
	}
	t.Fatal(err)
}

func publish(t *testing.T, b *bus.Bus, room, id, text string) bus.Ack {
	t.Helper()
	ack, err := b.Publish(t.Context(), room, id, entry(text))
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

// listener collects what comes out of the log live.
type listener struct {
	mu  sync.Mutex
	got map[string][]bus.Stored
}

func listen(t *testing.T, b *bus.Bus, rooms ...string) *listener {
	t.Helper()
	l := &listener{got: make(map[string][]bus.Stored)}
	feed := b.NewFeed(2, func(_ int, batch []bus.Delivery) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, d := range batch {
			if d.Stored != nil {
				l.got[d.Room] = append(l.got[d.Room], *d.Stored)
			}
		}
	})
	t.Cleanup(feed.Close)
	for _, room := range rooms {
		sub, err := feed.Subscribe(room)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sub.Stop)
	}
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *listener) of(room string) []bus.Stored {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]bus.Stored(nil), l.got[room]...)
}

func eventually(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// testPublish: stored once under an id, delivered to others after that with
// its place and its predecessor.
func testPublish(t *testing.T, d *Deployment) {
	b, other := d.Connect(t, bus.Options{NewShards: 3}), d.Connect(t, bus.Options{})
	ensure(t, b, bus.LogConfig{})
	heard := listen(t, other, "general")
	// The leader's node hears of who listens a moment after the one that they are
	// connected to.
	var before uint64
	eventually(t, "something comes live", 10*time.Second, func() bool {
		before = publish(t, b, "general", "", "zero").Seq
		return len(heard.of("general")) > 0
	})
	id := ids.Message("general", "u", "1")
	first := publish(t, b, "general", id, "one")
	publish(t, b, "elsewhere", "", "x")
	second := publish(t, other, "general", "", "two")
	again := publish(t, other, "general", id, "one")
	if first.Duplicate || !again.Duplicate || again.Seq != first.Seq {
		t.Errorf("acks %+v and %+v, want the second to be a duplicate of the first", first, again)
	}
	var got []bus.Stored
	eventually(t, "both come live", 10*time.Second, func() bool {
		got = slices.DeleteFunc(heard.of("general"), func(s bus.Stored) bool { return s.Seq <= before })
		return len(got) >= 2
	})
	if len(got) != 2 || got[0].Seq != first.Seq || got[0].Prev != before || got[1].Seq != second.Seq || got[1].Prev != first.Seq {
		t.Errorf("live, after %d: %+v", before, got)
	}
}

// testPipeline: what one process publishes to a room without waiting is stored
// in the order of the calls.
func testPipeline(t *testing.T, d *Deployment) {
	b := d.Connect(t, bus.Options{})
	ensure(t, b, bus.LogConfig{Retention: 5000})
	const n = 3000
	seqs := make([]uint64, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		b.PublishAsync("general", "", entry(fmt.Sprint(i)), func(ack bus.Ack, err error) {
			defer wg.Done()
			if err != nil {
				t.Error(err)
			}
			seqs[i] = ack.Seq
		})
	}
	wg.Wait()
	for i := 1; i < n; i++ {
		if seqs[i] <= seqs[i-1] {
			t.Fatalf("%d is at %d, and the one before it at %d", i, seqs[i], seqs[i-1])
		}
	}
	entries := readAll(t, b, "general", seqs[n-1])
	if len(entries) != n {
		t.Fatalf("%d are in the log", len(entries))
	}
}

// readAll pages through a room's log.
func readAll(t *testing.T, b *bus.Bus, room string, reach uint64) []bus.Stored {
	t.Helper()
	var all []bus.Stored
	var after uint64
	for {
		page, err := b.ReadAfter(t.Context(), room, after, 700, reach)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Entries {
			if s.Seq <= after {
				t.Fatalf("%s: %d comes after %d", room, s.Seq, after)
			}
			after = s.Seq
		}
		all = append(all, page.Entries...)
		if !page.More {
			return all
		}
	}
}

// testReach: whoever knows of an entry reads it, also from a replica that has
// it later than the one that acknowledged it.
func testReach(t *testing.T, d *Deployment) {
	writer, reader := d.Connect(t, bus.Options{}), d.Connect(t, bus.Options{})
	ensure(t, writer, bus.LogConfig{})
	ctx := t.Context()
	for i := range 300 {
		room := fmt.Sprint("room-", i%150) // each new once
		seq := publish(t, writer, room, "", fmt.Sprint(i)).Seq
		page, err := reader.ReadAfter(ctx, room, 0, 10, seq)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(page.Entries); n != 1+i/150 || page.Entries[n-1].Seq != seq || page.More {
			t.Fatalf("%s after 0, reach %d: %+v", room, seq, page)
		}
		if page, err = reader.ReadNewest(ctx, room, 0, 1, seq); err != nil {
			t.Fatal(err)
		}
		if len(page.Entries) != 1 || page.Entries[0].Seq != seq || page.More != (i >= 150) {
			t.Fatalf("%s newest, reach %d: %+v", room, seq, page)
		}
		if tail, err := reader.Tail(ctx, room); err != nil || tail != seq {
			t.Fatalf("%s: tail %d, %v, want %d", room, tail, err, seq)
		}
	}
	// An entry that was erased is not waited for.
	seq := publish(t, writer, "short", "", "x").Seq
	if _, err := writer.Erase(ctx, "short"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an erased entry is given up", 10*time.Second, func() bool {
		page, err := reader.ReadAfter(ctx, "short", 0, 10, seq)
		return err == nil && len(page.Entries) == 0
	})
}

// testRetention: the log keeps as much as it is set to, also when that changes.
func testRetention(t *testing.T, d *Deployment) {
	b := d.Connect(t, bus.Options{NewShards: 2})
	ctx := t.Context()
	fill := func(n int) (last uint64) {
		for i := range n {
			last = publish(t, b, "general", "", fmt.Sprint(i)).Seq
		}
		return last
	}
	for _, c := range []struct {
		config bus.LogConfig
		want   int
	}{
		{bus.LogConfig{Retention: 20}, 20},
		{bus.LogConfig{Retention: 5, MaxAge: time.Hour}, 5},
		{bus.LogConfig{Retention: 30}, 30},
	} {
		ensure(t, b, c.config)
		limits, err := b.LogLimits(ctx, b.Shard("general"))
		if err != nil || limits.Retention != c.config.Retention || limits.MaxAge != c.config.MaxAge {
			t.Errorf("limits %+v, %v, want %+v", limits, err, c.config)
		}
		last := fill(40)
		if got := len(readAll(t, b, "general", last)); got != c.want {
			t.Errorf("%d entries are kept, want %d", got, c.want)
		}
	}
	if err := b.EnsureLog(ctx, bus.LogConfig{Retention: -1}); err == nil {
		t.Error("a retention below 1 was taken")
	}
}

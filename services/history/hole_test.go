package history

import (
	"context"
	"slices"
	"testing"

	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

// sent notes what a replay sends.
type sent struct {
	grpc.ServerStreamingServer[historyv1.Message]
	seqs []uint64
}

func (s *sent) Context() context.Context { return context.Background() }

func (s *sent) Send(m *historyv1.Message) error {
	s.seqs = append(s.seqs, m.Seq)
	return nil
}

// What is missing between two entries that came live is read from the log,
// and what came twice, late, or is not ours is not sent.
func TestHolesAreFilled(t *testing.T) {
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	b, err := bus.Connect(t.Context(), bus.Options{InProcess: server})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.EnsureLog(t.Context(), bus.LogConfig{}); err != nil {
		t.Fatal(err)
	}
	for range 9 {
		if _, err := b.Publish(t.Context(), "general", "", &busv1.LogEntry{}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(Options{Bus: b})
	if err != nil {
		t.Fatal(err)
	}
	live := func(seq, prev uint64) bus.Stored {
		return bus.Stored{Room: "general", Seq: seq, Prev: prev, Entry: &busv1.LogEntry{}}
	}
	foreign := live(5, 4)
	foreign.Entry = nil
	for name, c := range map[string]struct {
		last uint64
		live []bus.Stored
		want []uint64
	}{
		"no hole":           {2, []bus.Stored{live(3, 2), live(4, 3)}, []uint64{3, 4}},
		"some expired":      {5, []bus.Stored{live(8, 0), live(9, 8)}, []uint64{8, 9}},
		"hole at the front": {1, []bus.Stored{live(4, 3)}, []uint64{2, 3, 4, 5, 6, 7, 8, 9}},
		"hole in between":   {1, []bus.Stored{live(2, 1), live(9, 8)}, []uint64{2, 3, 4, 5, 6, 7, 8, 9}},
		"twice and late":    {2, []bus.Stored{live(3, 2), live(4, 3), live(3, 2), live(2, 1)}, []uint64{3, 4}},
		"not ours":          {4, []bus.Stored{foreign, live(6, 5)}, []uint64{6}},
	} {
		stream := &sent{}
		p := &replay{s: s, room: "general", last: c.last, stream: stream}
		f := &follower{room: "general", wake: make(chan struct{}, 1)}
		for _, e := range c.live {
			f.put(e)
		}
		if err := p.advance(t.Context(), f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(stream.seqs, c.want) {
			t.Errorf("%s: sent %v, want %v", name, stream.seqs, c.want)
		}
	}
}

// A follower holds no more than it may; beyond that the log is read.
func TestPendingIsBounded(t *testing.T) {
	content := string(make([]byte, 16<<10))
	for name, c := range map[string]struct {
		entry *busv1.LogEntry
		fit   int
	}{
		"count": {&busv1.LogEntry{}, maxPending},
		"bytes": {&busv1.LogEntry{Content: &content}, maxPendingBytes >> 14},
	} {
		f := &follower{wake: make(chan struct{}, 1)}
		put := func() {
			f.put(bus.Stored{Seq: f.reach + 1, Prev: f.reach, Entry: c.entry})
		}
		for range c.fit {
			put()
		}
		if len(f.pending) != c.fit || f.lost {
			t.Errorf("%s: %d pending of %d, lost is %v", name, len(f.pending), c.fit, f.lost)
		}
		put()
		entries, lost, reach := f.take()
		if len(entries) != 0 || !lost || reach != uint64(c.fit)+1 {
			t.Errorf("%s: one too many: %d pending, lost is %v, reach %d", name, len(entries), lost, reach)
		}
		put()
		if entries, lost, _ := f.take(); len(entries) != 1 || lost {
			t.Errorf("%s: afterwards: %d pending, lost is %v", name, len(entries), lost)
		}
	}
}

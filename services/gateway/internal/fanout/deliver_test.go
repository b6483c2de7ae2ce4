package fanout

import (
	"testing"

	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/services/gateway/internal/conn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type nobody struct{}

func (nobody) Deliver(*Burst, *conn.Flusher)        {}
func (nobody) PutOut(string, *Burst, *conn.Flusher) {}
func (nobody) Missed(string)                        {}
func (nobody) SessionID() string                    { return "s" }
func (nobody) InAny([]string) bool                  { return false }
func (nobody) UserID() string                       { return "u" }
func (nobody) Roles() []string                      { return nil }

// crowd is a loaded room of n members, without a feed.
func crowd(tb testing.TB, n int) *room {
	tb.Helper()
	h := new(Hub)
	if err := h.observe(noop.Meter{}); err != nil {
		tb.Fatal(err)
	}
	r := &room{hub: h, worker: &worker{memory: newMemories(1, 0, &h.remembered)[0]}, id: "general", loaded: true, joining: map[*join]struct{}{}}
	for i := range n {
		r.members = append(r.members, &Membership{room: r.id, member: nobody{}, index: i})
	}
	return r
}

// TestDeliverAllocates: what a delivery allocates is its frame, however many
// members there are.
func TestDeliverAllocates(t *testing.T) {
	entry := message("hello")
	measure := func(members int) float64 {
		r := crowd(t, members)
		return testing.AllocsPerRun(1000, func() {
			r.stored(bus.Stored{Room: r.id, Seq: r.last + 1, Prev: r.last, Entry: entry})
			r.worker.flush()
		})
	}
	none, one, many := measure(0), measure(1), measure(1000)
	t.Logf("%g, %g, %g allocations for 0, 1 and 1000 members", none, one, many)
	if none > 0 || many != one {
		t.Error("a member costs allocations")
	}
}

func BenchmarkDeliver1000(b *testing.B) {
	r := crowd(b, 1000)
	entry := message("hello")
	b.ReportAllocs()
	for b.Loop() {
		r.stored(bus.Stored{Room: r.id, Seq: r.last + 1, Prev: r.last, Entry: entry})
		r.worker.flush()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/member")
}

// BenchmarkJoin takes a member with the newest 50 messages into a room that has
// them in memory, and out again.
func BenchmarkJoin(b *testing.B) {
	r := crowd(b, 100)
	r.id = "hot"
	for range recentEntries {
		r.stored(bus.Stored{Room: r.id, Seq: r.last + 1, Prev: r.last, Entry: message("hello")})
	}
	r.worker.flush()
	b.ReportAllocs()
	for b.Loop() {
		j := &join{Request: Request{Room: r.id, Member: nobody{}, History: 50}, done: make(chan joinResult, 1)}
		r.enter(j)
		result := <-j.done
		if result.err != nil {
			b.Fatal(result.err)
		}
		r.leave(result.place.Membership)
	}
}

package fanout

import (
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/bus"
)

// TestGap: retention overtakes a gateway that is held up. Its members get all
// up to the gap and nothing behind it, and are told; when they come back with
// their place, they learn from where on the log has messages.
func TestGap(t *testing.T) {
	server := embed(t)
	b := connect(t, server)
	const retention = 200
	if err := b.EnsureLog(t.Context(), bus.LogConfig{Retention: retention}); err != nil {
		t.Fatal(err)
	}
	h := hub(t, Options{Bus: connect(t, server), Workers: 1})
	s := slow{new(visit), make(chan struct{})}
	if _, err := h.Join(t.Context(), Request{Room: "a", Member: s, Silent: true}); err != nil {
		t.Fatal(err)
	}
	flood(t, server, overflow)
	close(s.begin)
	eventually(t, "the member is told of the gap", time.Minute, s.hasMissed)
	_, live := s.seqs()
	for i, seq := range live {
		if seq != live[0]+uint64(i) { // there is no other room
			t.Fatalf("%d comes after %d", seq, live[i-1])
		}
	}
	if len(live) == 0 || len(live) == overflow || h.gaps.Load() != 1 {
		t.Fatalf("%d of %d were delivered, %d gaps", len(live), overflow, h.gaps.Load())
	}
	eventually(t, "the room is closed", 10*time.Second, func() bool { return h.Rooms() == 0 })

	last := live[len(live)-1]
	v, place := enter(t, h, Request{Room: "a", After: &last, History: 10})
	past, _ := v.seqs()
	if tail := live[0] + overflow - 1; place.Recovered || place.Oldest != tail-retention+1 || len(past) != 10 || past[9] != tail {
		t.Errorf("back at %d: recovered %t, oldest %d, got %v", last, place.Recovered, place.Oldest, past)
	}
}

// TestExpiredMeanwhile: a live entry whose predecessors have all expired is
// suspect where the room was not known to be current for long.
func TestExpiredMeanwhile(t *testing.T) {
	r := crowd(t, 1)
	r.hub.limits.known.Store(&bus.LogConfig{Retention: 1000, MaxAge: time.Hour})
	r.last = 7
	for _, c := range []struct {
		ago  time.Duration
		want bool
	}{{0, false}, {29 * time.Minute, false}, {31 * time.Minute, true}, {2 * time.Hour, true}} {
		r.current = time.Now().Add(-c.ago)
		if got := r.stale(); got != c.want {
			t.Errorf("current %s ago: %t, want %t", c.ago, got, c.want)
		}
	}
	r.last = 0 // nothing was ever shown
	if r.stale() {
		t.Error("an empty room is stale")
	}
}

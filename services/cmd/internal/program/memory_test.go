package program

import (
	"testing"
	"time"
)

func TestBreath(t *testing.T) {
	for seen, want := range map[uint64][2]int{
		0: {800, 800}, 2 << 20: {800, 800}, 8 << 20: {200, 800}, 16 << 20: {100, 400}, 32 << 20: {50, 200}, 1 << 30: {35, 100},
	} {
		if got := [2]int{grows.of(seen), steady.of(seen)}; got != want {
			t.Errorf("%d MiB to look at: %v, want %v", seen>>20, got, want)
		}
	}
}

// A gateway whose connections come takes small steps, also where one collection
// finds little more than the last; one that keeps next to nothing for a second
// takes large ones, until it keeps something again.
func TestBusyPercent(t *testing.T) {
	var h heap
	now, allocated, seen := time.Now(), uint64(0), uint64(100<<20)
	for i, step := range []struct {
		after time.Duration
		keeps int // MiB, of 16 that are allocated
		want  breath
	}{
		{0, 16, grows}, {100 * time.Millisecond, 3, grows}, {100 * time.Millisecond, 0, grows}, {100 * time.Millisecond, -2, grows},
		{800 * time.Millisecond, 0, steady}, {time.Second, 1, steady}, {time.Second, -20, steady}, {10 * time.Millisecond, 3, grows},
		{time.Second, 2, grows}, {time.Second, 1, steady},
	} {
		now = now.Add(step.after)
		allocated += 16 << 20
		seen += uint64(step.keeps << 20)
		h.collected(now, seen, allocated)
		if got := h.busyPercent(); got != step.want.of(seen) {
			t.Errorf("after collection %d: GOGC %d, want %d", i+1, got, step.want.of(seen))
		}
	}
}

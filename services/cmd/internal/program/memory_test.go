package program

import "testing"

func TestBusyPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 800, 2 << 20: 800, 6 << 20: 400, 12 << 20: 200, 24 << 20: 100, 1 << 30: 100} {
		if got := busyPercent(live); got != want {
			t.Errorf("%d MiB live: %d, want %d", live>>20, got, want)
		}
	}
}

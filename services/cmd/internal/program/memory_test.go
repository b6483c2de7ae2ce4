package program

import "testing"

func TestBusyPercent(t *testing.T) {
	for seen, want := range map[uint64]int{0: 800, 2 << 20: 800, 4 << 20: 400, 8 << 20: 200, 16 << 20: 100, 1 << 30: 35} {
		if got := busyPercent(seen); got != want {
			t.Errorf("%d MiB to look at: %d, want %d", seen>>20, got, want)
		}
	}
}

package gateway

import (
	"slices"
	"testing"

	"github.com/parley-im/parley/services/gateway/internal/session"
)

func TestCloseCountsAreThoseOfAMinuteAndOfAll(t *testing.T) {
	var w window
	w.add(session.Stats{}, map[int]int64{1000: 1})
	for n := range int64(60) {
		w.add(session.Stats{}, map[int]int64{1000: 2 + n, 4102: n / 30})
	}
	got := closeCounts(map[int]int64{1000: 61, 4102: 2, 0: 1}, w.oldestCloses())
	if want := []CloseCount{{0, 1, 1}, {1000, 60, 61}, {4102, 2, 2}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	w.add(session.Stats{}, nil) // the oldest goes
	got = closeCounts(map[int]int64{1000: 61}, w.oldestCloses())
	if want := []CloseCount{{1000, 59, 61}}; !slices.Equal(got, want) {
		t.Errorf("a second later %v, want %v", got, want)
	}
}

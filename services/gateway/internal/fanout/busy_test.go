package fanout

import (
	"math"
	"testing"
)

func TestHeatIsTheRateOfLately(t *testing.T) {
	var h heat
	now := int64(1_700_000_000_000)
	for range 3000 { // five minutes of ten a second
		now += 100
		h.add(now)
	}
	if rate := h.perMinute(now); math.Abs(rate-600) > 12 {
		t.Errorf("after 10 a second for long, %v a minute", rate)
	}
	if cooled := h.perMinute(now + 60_000); math.Abs(cooled-600/math.E) > 5 {
		t.Errorf("a minute later, %v", cooled)
	}
	before := h.perMinute(now)
	h.add(now - 5000) // by a clock that is slow
	if rate := h.perMinute(now); math.Abs(rate-before-1) > 0.01 {
		t.Errorf("after one of a slow clock %v, before it %v", rate, before)
	}
}

package load

import (
	"math"
	"testing"
	"time"
)

func TestDelays(t *testing.T) {
	var d Delays
	for i := range 1000 {
		d.Add(time.Duration(i+1) * time.Millisecond)
	}
	q := d.Quantiles()
	for _, c := range []struct {
		name      string
		got, want time.Duration
	}{{"p50", q.P50, 500 * time.Millisecond}, {"p99", q.P99, 990 * time.Millisecond}, {"p99.9", q.P999, 999 * time.Millisecond}} {
		if off := math.Abs(float64(c.got-c.want)) / float64(c.want); off > 0.016 {
			t.Errorf("%s is %v, want about %v", c.name, c.got, c.want)
		}
	}
	if q.Max != time.Second {
		t.Errorf("the longest is %v", q.Max)
	}
	if q := new(Delays).Quantiles(); q != (Quantiles{}) {
		t.Errorf("of nothing: %+v", q)
	}
	for _, extreme := range []time.Duration{-1, 0, 1, math.MaxInt64} {
		d.Add(extreme) // stays within the classes
	}
	for i := range 59 * fine { // those that 63 bits reach
		if got := class(uint64(ceiling(i))); got != i {
			t.Fatalf("the longest time of class %d is in class %d", i, got)
		}
	}
}

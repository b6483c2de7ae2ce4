package load

import (
	"math/bits"
	"time"
)

// Delays counts times in classes that are at most 1/64 apart, so a quantile is
// exact to 1.6 %.
type Delays struct {
	counts [64 * fine]uint32
	n      int64
	max    time.Duration
}

const (
	fineBits = 6
	fine     = 1 << fineBits
)

// Add counts a time.
func (d *Delays) Add(t time.Duration) {
	t = max(t, 0)
	d.counts[class(uint64(t))]++
	d.n++
	d.max = max(d.max, t)
}

// class keeps the highest bit and the fineBits behind it.
func class(t uint64) int {
	shift := max(bits.Len64(t)-fineBits-1, 0)
	return shift<<fineBits + int(t>>shift)
}

// Quantiles are how long the given share took at most.
type Quantiles struct {
	P50  time.Duration `json:"p50"`
	P99  time.Duration `json:"p99"`
	P999 time.Duration `json:"p999"`
	Max  time.Duration `json:"max"`
}

// Quantiles gives them, all 0 where nothing was counted.
func (d *Delays) Quantiles() Quantiles {
	return Quantiles{P50: d.quantile(0.5), P99: d.quantile(0.99), P999: d.quantile(0.999), Max: d.max}
}

func (d *Delays) quantile(q float64) time.Duration {
	want, seen := int64(q*float64(d.n)), int64(0)
	for i, n := range d.counts {
		if seen += int64(n); n > 0 && seen > want {
			return min(ceiling(i), d.max)
		}
	}
	return d.max
}

// ceiling is the longest time of a class.
func ceiling(class int) time.Duration {
	shift := max(class>>fineBits-1, 0)
	return time.Duration((uint64(class-shift<<fineBits)+1)<<shift - 1)
}

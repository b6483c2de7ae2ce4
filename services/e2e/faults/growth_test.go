package faults

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/report"
)

// measure is something that may not grow for as long as a process lives.
type measure struct {
	what, unit string
	per        float64 // what is one unit
	// share of the mean, and extra units, are what it may have grown by at the
	// end: what is noise, and what fills up slowly and has a bound.
	share, extra float64
}

// The measures. Goroutines and files are beside those of connections, and what is
// on disk beside the messages that the node keeps, as it counts them.
var (
	resident     = &measure{"resident", "MiB", mib, 0.15, 16}
	goroutines   = &measure{"goroutines", "", 1, 0.05, 50}
	files        = &measure{"open files", "", 1, 0.05, 30}
	disk         = &measure{"disk", "MiB", mib, 0, 64}
	deliveryHalf = &measure{"delivery p50", "ms", 1, 0.25, 2}
	deliveryMost = &measure{"delivery p99", "ms", 1, 1, 50}
)

// point is a value at a time, in hours.
type point struct{ at, value float64 }

// life is what one start of a process was seen to hold.
type life struct {
	process string
	number  float64 // tells lives of a process apart
	*measure
	points []point
}

// judgeable is from what time on a slope means something: what the first minutes
// fill, caches and the window in which messages are recognised, has been filled
// before, and the collector has run often.
const judgeable = 5 * time.Minute

// fewest is how many looks a line takes.
const fewest = 10

// judge fits a line to the points and holds its ends against what is allowed.
func (l *life) judge() report.Growth {
	g := report.Growth{Process: l.process, Measure: l.what, Unit: l.unit, Looks: len(l.points)}
	if g.Looks == 0 {
		return g
	}
	var at, value float64
	for _, p := range l.points {
		at += p.at / float64(g.Looks)
		value += p.value / float64(g.Looks)
	}
	var over, under float64
	for _, p := range l.points {
		over += (p.at - at) * (p.value - value)
		under += (p.at - at) * (p.at - at)
	}
	if under > 0 {
		g.PerHour = over / under
	}
	first, last := l.points[0].at, l.points[g.Looks-1].at
	g.Minutes = (last - first) * 60
	g.Start, g.End = value+g.PerHour*(first-at), value+g.PerHour*(last-at)
	g.Allowed = l.share*value + l.extra
	g.Judged = g.Minutes >= judgeable.Minutes()
	g.OK = g.Judged && g.End-g.Start <= g.Allowed
	return g
}

// grown writes growths for people.
func grown(list []report.Growth) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-14s %-14s %5s %7s %10s %10s %12s %9s\n", "process", "measure", "looks", "minutes", "start", "end", "per hour", "allowed")
	for _, g := range list {
		fmt.Fprintf(&b, "%-14s %-14s %5d %7.1f %10.1f %10.1f %+12.1f %9.1f  %s %s\n",
			g.Process, g.Measure, g.Looks, g.Minutes, g.Start, g.End, g.PerHour, g.Allowed, g.Unit, g.Verdict())
	}
	return b.String()
}

// lives keeps what was seen, by process, start and measure.
type lives struct{ list []*life }

func (l *lives) add(process string, number float64, m *measure, at, value float64) {
	for _, o := range slices.Backward(l.list) {
		if o.process == process && o.number == number && o.measure == m {
			o.points = append(o.points, point{at, value / m.per})
			return
		}
	}
	l.list = append(l.list, &life{process, number, m, []point{{at, value / m.per}}})
}

// between judges the lives by what was seen of them from one time to another.
func (l *lives) between(from, to float64) []report.Growth {
	var list []report.Growth
	for _, o := range l.list {
		part := *o
		part.points = nil
		for _, p := range o.points {
			if from <= p.at && p.at <= to {
				part.points = append(part.points, p)
			}
		}
		if len(part.points) >= fewest {
			list = append(list, part.judge())
		}
	}
	slices.SortStableFunc(list, func(a, b report.Growth) int { return cmp.Compare(a.Process, b.Process) })
	return list
}

// A leak shows through the noise, and noise alone, or what has filled up, is none.
func TestGrowth(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	// Sixteen minutes of a look a second.
	series := func(m *measure, f func(share float64) float64) report.Growth {
		var l lives
		for s := range 960 {
			l.add("p", 1, m, float64(s)/3600, f(float64(s)/960)*m.per)
		}
		return l.between(0, 1)[0]
	}
	noisy := func(mean float64) float64 { return mean * (1 + 0.2*(random.Float64()-0.5)) }
	for _, c := range []struct {
		name string
		*measure
		f      func(share float64) float64
		steady bool
	}{
		{"noise", resident, func(float64) float64 { return noisy(200) }, true},
		{"saw teeth", resident, func(s float64) float64 { return 100 + 60*math.Mod(s*37, 1) }, true},
		{"given back", resident, func(s float64) float64 { return 300 - 200*s }, true},
		{"leak", resident, func(s float64) float64 { return noisy(200) + 80*s }, false},
		{"small process leaks", resident, func(s float64) float64 { return noisy(20) + 30*s }, false},
		{"goroutines come and go", goroutines, func(float64) float64 { return noisy(7000) }, true},
		{"a goroutine a second", goroutines, func(s float64) float64 { return noisy(1000) + 960*s }, false},
		{"files", files, func(float64) float64 { return noisy(3400) }, true},
		{"a file in ten seconds", files, func(s float64) float64 { return 60 + 96*s }, false},
		{"disk kept", disk, func(s float64) float64 { return noisy(40) }, true},
		{"disk lost", disk, func(s float64) float64 { return 40 + 100*s }, false},
		{"slower", deliveryHalf, func(s float64) float64 { return noisy(4) + 4*s }, false},
		{"as quick", deliveryHalf, func(float64) float64 { return noisy(4) }, true},
	} {
		if g := series(c.measure, c.f); !g.Judged || g.OK != c.steady {
			t.Errorf("%s: steady %t, want %t: %+v", c.name, g.OK, c.steady, g)
		}
	}

	// Each start of a process has a line of its own, and what lies outside the
	// time is left out.
	var l lives
	for s := range 1800 {
		l.add("p", float64(s/900), files, float64(s)/3600, float64(s%900))
	}
	g := l.between(600./3600, 1)
	if len(g) != 2 || g[0].Looks != 300 || math.Abs(g[0].PerHour-3600) > 1e-3 || math.Abs(g[1].End-899) > 1e-6 {
		t.Errorf("two starts: %+v", g)
	}
	if g := (&life{process: "p", measure: files, points: []point{{0, 1}, {0.01, 1e6}}}).judge(); g.Judged || g.OK {
		t.Errorf("half a minute is judged: %+v", g)
	}
}

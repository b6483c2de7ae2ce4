package report

import (
	"strconv"
	"time"
)

// Soak is what a long run tells beside its faults: how a crowd of connections
// fared, and whether anything grew.
type Soak struct {
	// Connections are those of the crowd; of them Gone left of their own and came
	// back, and Cut had their connection end. Refused is what was answered with
	// an error.
	Connections int `json:"connections"`
	Gone        int `json:"gone"`
	Cut         int `json:"cut"`
	Refused     int `json:"refused"`
	// Said counts the crowd's messages, Delivered what came to its members.
	Said      int64 `json:"said"`
	Delivered int64 `json:"delivered"`
	// Steady is for how long no process ended, which Growth is of.
	Steady time.Duration `json:"steady"`
	Growth []Growth      `json:"growth"`
}

// Growth is a line of least squares through what one process held while it
// lived.
type Growth struct {
	Process string  `json:"process"`
	Measure string  `json:"measure"`
	Unit    string  `json:"unit,omitempty"`
	Looks   int     `json:"looks"`
	Minutes float64 `json:"minutes"`
	Start   float64 `json:"start"`
	End     float64 `json:"end"`
	PerHour float64 `json:"perHour"`
	// Allowed is how much End may be above Start.
	Allowed float64 `json:"allowed"`
	// Judged: it was long enough for that to mean something.
	Judged bool `json:"judged"`
	OK     bool `json:"ok"`
}

// Verdict says in words what the line is.
func (g Growth) Verdict() string {
	switch {
	case !g.Judged:
		return "too short to judge"
	case !g.OK:
		return "GROWS"
	}
	return "steady"
}

// OK says whether nothing grew that was looked at for long enough.
func (s *Soak) OK() bool {
	for _, g := range s.Growth {
		if g.Judged && !g.OK {
			return false
		}
	}
	return true
}

// tenth writes a number with one digit behind the point.
func tenth(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

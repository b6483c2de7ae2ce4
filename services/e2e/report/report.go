package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/parley-im/parley/services/e2e/check"
)

// Report is all that the page tells.
type Report struct {
	// Commit is what was tried, with "+" where files were changed since.
	Commit string    `json:"commit"`
	Date   time.Time `json:"date"`
	// Command repeats the run's choices.
	Command string  `json:"command"`
	Run     Run     `json:"run"`
	Suites  []Suite `json:"suites"`
}

// Run is one run of the checker while things were broken, as TestFaults of
// services/e2e/faults writes it.
type Run struct {
	Machine  Machine      `json:"machine"`
	Workload Workload     `json:"workload"`
	Checker  check.Report `json:"checker"`
	// Faults are the kinds that there are, in the order of the first round.
	Faults  []string `json:"faults"`
	Outages []Outage `json:"outages"`
	// Holes is how often a gateway noticed that it had missed messages of a
	// room, Filled how many it then read from the log, Dropped how often the
	// log no longer had them. What one had counted in the second before it was
	// killed is not in here.
	Holes   int `json:"holes"`
	Filled  int `json:"filled"`
	Dropped int `json:"dropped"`
	// Passed says whether no bound of memory was passed either, and no process
	// ended or raced that should not have.
	Passed bool `json:"passed"`
	// Soak is nil for a run that was none.
	Soak *Soak `json:"soak,omitempty"`
}

// Workload is what was running, and what was asked of it.
type Workload struct {
	NATSNodes int           `json:"natsNodes"`
	Gateways  int           `json:"gateways"`
	Writers   int           `json:"writers"`
	Readers   int           `json:"readers"` // of each room
	Rate      float64       `json:"rate"`    // messages per second
	Sending   time.Duration `json:"sending"`
	Retention int           `json:"retention"`
	// Race says whether the programs had Go's race detector.
	Race bool `json:"race"`
}

// Outage is one time that something was broken.
type Outage struct {
	Fault string        `json:"fault"`
	Begin time.Duration `json:"begin"`
	// Broken is from when it was broken until it was undone: until a killed
	// process was started, a paused one went on, a wire was mended.
	Broken time.Duration `json:"broken"`
	// Back is from then until every process was ready, every client in all of
	// its rooms, and no message waited longer than a second for its
	// acknowledgement.
	Back time.Duration `json:"back"`
	// Connections were made, and Resumes of sessions succeeded, meanwhile.
	Connections int `json:"connections"`
	Resumes     int `json:"resumes"`
}

// OK says whether every promise was kept and every test passed or had a reason
// to be skipped.
func (r *Report) OK() bool {
	ok := r.Run.Passed && r.Run.Checker.OK() && (r.Run.Soak == nil || r.Run.Soak.OK())
	for _, s := range r.Suites {
		ok = ok && s.OK()
	}
	return ok
}

// Read reads a REPORT.json.
func Read(path string) (*Report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Write writes REPORT.json, and REPORT.md beside it.
func (r *Report) Write(dir string) error {
	text, err := Page(r)
	if err != nil {
		return err
	}
	figures, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "REPORT.json"), append(figures, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "REPORT.md"), text, 0o644)
}

// Effect is what one kind of fault did.
type Effect struct {
	Fault                string
	Times                int
	Broken, Back         Spread
	Connections, Resumes int
	check.Timing
}

// Spread is the middle and the largest of some durations.
type Spread struct{ P50, Max time.Duration }

func spread(d []time.Duration) Spread {
	if len(d) == 0 {
		return Spread{}
	}
	d = slices.Sorted(slices.Values(d))
	return Spread{P50: d[len(d)/2], Max: d[len(d)-1]}
}

// Effects tells the run by kind of fault, those that were not done included; the
// last is what happened while nothing was broken.
func (r *Run) Effects() []Effect {
	var list []Effect
	for _, fault := range append(slices.Clone(r.Faults), "") {
		e := Effect{Fault: fault}
		var broken, back []time.Duration
		for _, o := range r.Outages {
			if o.Fault == fault {
				broken, back = append(broken, o.Broken), append(back, o.Back)
				e.Connections += o.Connections
				e.Resumes += o.Resumes
			}
		}
		e.Times, e.Broken, e.Back = len(broken), spread(broken), spread(back)
		if i := slices.IndexFunc(r.Checker.Timings, func(t check.Timing) bool { return t.Fault == fault }); i >= 0 {
			e.Timing = r.Checker.Timings[i]
		}
		list = append(list, e)
	}
	return list
}

// Violations is how many there were of any kind.
func (r *Run) Violations() (n int) {
	for _, count := range r.Checker.Counts {
		n += count
	}
	return n
}

// Longest are the outages after which it took longest until all flowed again.
func (r *Run) Longest(n int) []Outage {
	list := slices.SortedStableFunc(slices.Values(r.Outages), func(a, b Outage) int { return cmp.Compare(b.Back, a.Back) })
	return list[:min(n, len(list))]
}

// Untried are the kinds of fault that the run had no time for.
func (r *Run) Untried() (list []string) {
	for _, fault := range r.Faults {
		if !slices.ContainsFunc(r.Outages, func(o Outage) bool { return o.Fault == fault }) {
			list = append(list, fault)
		}
	}
	return list
}

package faults

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/check"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/report"
)

// What gateways count of the chain of a room's messages.
const (
	holes   = "parley_gateway_room_holes_total"
	filled  = "parley_gateway_room_filled_total"
	dropped = "parley_gateway_room_gaps_total"
)

// counted is what a process has counted, in all of its lives.
type counted struct{ before, last float64 }

// count notes what one of a process's counters is at; less than it was is a new
// life. m.mu is held.
func (m *memory) count(whose string, value float64) {
	c := m.counted[whose]
	if c == nil {
		c = new(counted)
		m.counted[whose] = c
	}
	if value < c.last {
		c.before += c.last
	}
	c.last = value
}

// sum gives what all processes together have counted under a name.
func (m *memory) sum(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := 0.0
	for whose, c := range m.counted {
		if strings.HasSuffix(whose, " "+name) {
			sum += c.before + c.last
		}
	}
	return int(sum)
}

// keep writes what the report tells of a run; what is still to be found wrong,
// when the processes end, fails the test alone.
func (b *breaker) keep(path string, o check.Options, found *check.Report, m *memory, s steady, list []report.Growth) {
	b.t.Helper()
	machine, err := report.ThisMachine(process.Binary(b.t, process.NATS), process.Binary(b.t, process.Gateway))
	if err != nil {
		b.t.Fatal(err)
	}
	r := report.Run{
		Machine: machine,
		Workload: report.Workload{
			NATSNodes: nodes, Gateways: gateways, Writers: o.Writers, Readers: o.Readers,
			Rate: o.Rate, Sending: o.Duration, Retention: retention, Race: raceDetector,
		},
		Checker: *found, Outages: b.outages,
		Passed: !b.t.Failed(),
		Holes:  m.sum(holes), Filled: m.sum(filled), Dropped: m.sum(dropped),
	}
	soak := b.crowd.fared()
	if s.from > 0 {
		soak.Steady, soak.Growth = (s.to - s.from).Round(time.Second), list
	}
	r.Soak = &soak
	// Ports that nobody has any more, and what Outages tells with more.
	r.Checker.URLs, r.Checker.Windows, r.Checker.Course = nil, nil, nil
	for _, f := range faults {
		r.Faults = append(r.Faults, f.name)
	}
	text, err := json.Marshal(r)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// TestReportHasFaults wants every kind of fault on the page, tried or not.
func TestReportHasFaults(t *testing.T) {
	page, err := os.ReadFile("../REPORT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, untried, _ := strings.Cut(string(page), "## What was not tried")
	for _, f := range faults {
		if !strings.Contains(string(page), "\n| "+f.name+" | ") && !strings.Contains(untried, f.name) {
			t.Errorf("REPORT.md tells nothing of %q: run make report, or say in services/e2e/report/page.md.tmpl that it was not tried", f.name)
		}
	}
}

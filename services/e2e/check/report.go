package check

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what a run found.
type Report struct {
	Seed     uint64        `json:"seed"`
	URLs     []string      `json:"urls"`
	Rooms    int           `json:"rooms"`
	Clients  int           `json:"clients"`
	Duration time.Duration `json:"duration"`

	// Sent counts messages, Acked those that were acknowledged, Unknown those
	// that were given up without.
	Sent    int `json:"sent"`
	Acked   int `json:"acked"`
	Unknown int `json:"unknown"`
	// Again counts messages that were acknowledged a second time.
	Again int `json:"again"`
	// Delivered counts what came to members, Recovered what of it came after a
	// reconnect, Stored what the log held at the end.
	Delivered int `json:"delivered"`
	Recovered int `json:"recovered"`
	Stored    int `json:"stored"`
	// Connections counts those that were made, Resumes the sessions that went
	// on, Unrecovered the rooms for which the log could not.
	Connections int `json:"connections"`
	Resumes     int `json:"resumes"`
	Unrecovered int `json:"unrecovered"`
	// Notes counts refusals that a client has to expect and get over.
	Notes map[string]int `json:"notes,omitempty"`

	Findings
	Timings []Timing `json:"timings"`
	// Windows are the times in which something was broken, in order.
	Windows []Window `json:"windows,omitempty"`
	// Course is how long messages took as the run went on.
	Course []Stretch `json:"course"`
}

// OK says whether every promise was kept.
func (r *Report) OK() bool { return len(r.Counts) == 0 }

// Faults is how often something was broken.
func (r *Report) Faults() int {
	n := 0
	for _, t := range r.Timings {
		n += t.Times
	}
	return n
}

func (r *run) report(rec *Record) *Report {
	report := &Report{
		Seed: r.opts.Seed, URLs: r.opts.URLs, Rooms: r.opts.Rooms, Clients: len(r.clients), Duration: r.now().Round(time.Second),
		Sent: int(r.sent.Load()), Acked: int(r.acked.Load()), Unknown: int(r.unknown.Load()), Again: len(rec.Again),
		Connections: int(r.links.Load()), Resumes: int(r.resumes.Load()), Unrecovered: int(r.unrecovered.Load()),
		Notes: r.notes,
	}
	for _, log := range rec.Logs {
		report.Stored += len(log.Entries)
	}
	for _, p := range rec.Places {
		report.Delivered += len(p.Deliveries)
		for i := range p.Deliveries {
			if p.Deliveries[i].How == Recovery {
				report.Recovered++
			}
		}
	}
	report.Timings = measure(rec)
	report.Windows, report.Course = rec.Windows, course(rec)
	report.Findings = *Verify(rec)
	return report
}

// kinds in the order in which they are told.
var kinds = []Kind{Lost, Duplicated, Reordered, Hole, Phantom, Changed, NotRecovered, Late, Refused}

// WriteText writes the report for people.
func (r *Report) WriteText(out io.Writer) error {
	var b strings.Builder
	verdict := "every promise was kept"
	if !r.OK() {
		verdict = "PROMISES WERE BROKEN"
	}
	fmt.Fprintf(&b, "\n%s\n\n", verdict)
	fmt.Fprintf(&b, "  %d clients in %d rooms on %d gateways, %v, seed %d\n", r.Clients, r.Rooms, len(r.URLs), r.Duration, r.Seed)
	fmt.Fprintf(&b, "  %d sent, %d acknowledged, %d unknown, %d acknowledged again\n", r.Sent, r.Acked, r.Unknown, r.Again)
	fmt.Fprintf(&b, "  %d delivered (%d of them after a reconnect), %d in the log\n", r.Delivered, r.Recovered, r.Stored)
	fmt.Fprintf(&b, "  %d connections, %d resumes, %d rooms not recovered, %d faults\n\n ", r.Connections, r.Resumes, r.Unrecovered, r.Faults())
	for i, kind := range kinds {
		if i > 0 {
			b.WriteString(" ·")
		}
		fmt.Fprintf(&b, " %s %d", kind, r.Counts[kind])
	}
	fmt.Fprintf(&b, "\n\n  %-28s %5s  %23s  %26s  %8s\n", "fault", "times", "ack p50 / p99 / max", "delivery p50 / p99 / max", "silence")
	for _, t := range r.Timings {
		name := t.Fault
		if name == "" {
			name = "(none)"
		}
		fmt.Fprintf(&b, "  %-28s %5d  %23s  %26s  %8s\n", name, t.Times, t.Ack.text(), t.Delivery.text(), Short(t.Silence))
	}
	if len(r.Notes) > 0 {
		b.WriteString("\n  refusals that clients got over:\n")
		for _, note := range slices.Sorted(maps.Keys(r.Notes)) {
			fmt.Fprintf(&b, "  %8d  %s\n", r.Notes[note], note)
		}
	}
	if len(r.Violations) > 0 {
		b.WriteString("\n  violations:\n")
		for _, v := range r.Violations {
			fmt.Fprintf(&b, "  %s: %s client %d seq %d: %s\n", v.Kind, v.Room, v.Client, v.Seq, v.Detail)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (d Delays) text() string {
	return Short(d.P50) + " / " + Short(d.P99) + " / " + Short(d.Max)
}

// Short writes a duration with no more digits than it is worth.
func Short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

//go:build linux

package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parley-im/parley/services/e2e/bench/load"
)

// column is one of a table, which leaves out those that are empty in all rows.
type column struct {
	name string
	text func(*Row) string
}

// columns are those of all tables.
var columns = []column{
	{"load", func(r *Row) string { return r.Load }},
	{"server", func(r *Row) string { return r.Server }},
	{"deliveries/s", func(r *Row) string { return count(r.PerSecond) }},
	{"CPU µs: gateway", func(r *Row) string { return r.CPU.column(func(c *CPU) float64 { return c.Gateway }) }},
	{"NATS", func(r *Row) string { return r.CPU.column(func(c *CPU) float64 { return c.NATS }) }},
	{"rest", func(r *Row) string { return r.CPU.column(func(c *CPU) float64 { return c.Rest }) }},
	{"all", func(r *Row) string { return r.CPU.column(func(c *CPU) float64 { return c.All }) }},
	{"to floor", func(r *Row) string { return r.ratio(r.ToFloor) }},
	{"to floor+", func(r *Row) string { return r.ratio(r.ToFloorPlus) }},
	{"p50", func(r *Row) string { return quantile(r.Delays, func(q *load.Quantiles) time.Duration { return q.P50 }) }},
	{"p99", func(r *Row) string { return quantile(r.Delays, func(q *load.Quantiles) time.Duration { return q.P99 }) }},
	{"p99.9", func(r *Row) string {
		return quantile(r.Delays, func(q *load.Quantiles) time.Duration { return q.P999 })
	}},
	{"took", func(r *Row) string { return short(r.Took) }},
	{"joins/s", func(r *Row) string { return count(r.JoinsPerSecond) }},
	{"CPU µs/join", func(r *Row) string { return r.JoinCPU.column(func(c *CPU) float64 { return c.All }) }},
	{"join p50", func(r *Row) string { return quantile(r.Joins, func(q *load.Quantiles) time.Duration { return q.P50 }) }},
	{"join p99", func(r *Row) string { return quantile(r.Joins, func(q *load.Quantiles) time.Duration { return q.P99 }) }},
	{"join max", func(r *Row) string { return quantile(r.Joins, func(q *load.Quantiles) time.Duration { return q.Max }) }},
	{"KiB/connection", func(r *Row) string {
		if r.Memory == nil {
			return ""
		}
		return fmt.Sprintf("%.1f", float64(r.Memory.PerConnection)/1024)
	}},
	{"process MiB", func(r *Row) string {
		if r.Memory == nil {
			return ""
		}
		return fmt.Sprintf("%.0f → %.0f", float64(r.Memory.Before)/(1<<20), float64(r.Memory.After)/(1<<20))
	}},
	{"faults", func(r *Row) string { return faults(r.Faults) }},
	{"load's cores", func(r *Row) string { return fmt.Sprintf("%.2f", r.LoadCores) }},
}

func (c *CPU) column(get func(*CPU) float64) string {
	if c == nil || get(c) == 0 {
		return ""
	}
	return micros(get(c))
}

func micros(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// ratio tells of CPU below saturation, and of deliveries where there are as
// many as there can be.
func (r *Row) ratio(to *Ratio) string {
	switch {
	case to == nil:
		return ""
	case r.saturated:
		return fmt.Sprintf("%.2f× rate", to.PerSecond)
	case to.CPU > 0:
		return fmt.Sprintf("%.2f× CPU", to.CPU)
	}
	return ""
}

func count(v float64) string {
	if v == 0 {
		return ""
	}
	return thousands(int(v + 0.5))
}

func quantile(q *load.Quantiles, get func(*load.Quantiles) time.Duration) string {
	if q == nil {
		return ""
	}
	return short(get(q))
}

func short(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

func faults(f load.Faults) string {
	var parts []string
	for _, kind := range []struct {
		name string
		n    int
	}{{"lost", f.Lost}, {"duplicated", f.Duplicated}, {"reordered", f.Reordered}, {"foreign", f.Foreign}, {"unacked", f.Unacked}} {
		if kind.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", kind.n, kind.name))
		}
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.ToUpper(strings.Join(parts, ", "))
}

// cells are a table's, the heads first.
func (s *Scenario) cells() [][]string {
	lines := make([][]string, len(s.Rows)+1)
	for _, c := range columns {
		texts := []string{c.name}
		empty := true
		for i := range s.Rows {
			texts = append(texts, c.text(&s.Rows[i]))
			empty = empty && texts[i+1] == ""
		}
		if empty {
			continue
		}
		for i, text := range texts {
			lines[i] = append(lines[i], text)
		}
	}
	return lines
}

// left are the columns that are texts.
const left = 2

// WriteText writes the report for a terminal.
func (r *Report) WriteText(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", r.Machine, r.how())
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		fmt.Fprintf(&b, "\n%s: %s\n\n", s.Name, s.About)
		lines := s.cells()
		widths := make([]int, len(lines[0]))
		for _, line := range lines {
			for i, text := range line {
				widths[i] = max(widths[i], utf8.RuneCountInString(text))
			}
		}
		for _, line := range lines {
			for i, text := range line {
				pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
				if i < left {
					text += pad
				} else {
					text = pad + text
				}
				b.WriteString("  " + text)
			}
			b.WriteString("\n")
		}
	}
	if !r.OK() {
		b.WriteString("\nMESSAGES WERE LOST, DOUBLED OR OUT OF ORDER\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, shared by servers and load · %s · %s · NATS %s", m.CPU, m.Cores, m.Kernel, m.Go, m.NATS)
}

// Markdown gives the report as a page.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# What Parley costs

Written by `+"`make bench`"+` on:

- %s
- %d cores, shared by the servers and the load
- %s, %s, NATS %s

%s.

`, r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.Go, r.Machine.NATS, r.how())
	fmt.Fprintf(&b, "%s\n", legend)
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", s.Name, s.About)
		for i, line := range s.cells() {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
			if i == 0 {
				fmt.Fprintf(&b, "|%s%s\n", strings.Repeat(" --- |", left), strings.Repeat(" ---: |", len(line)-left))
			}
		}
	}
	return b.String()
}

// how tells how it was measured.
func (r *Report) how() string {
	s := fmt.Sprintf("Each load was measured for %v after %v, and idle connections after %v; protocol %s", r.Duration, r.Warmup, r.Settle, r.Protocol)
	if r.Repeat > 1 {
		s += fmt.Sprintf("; the middle of %d runs, in which all servers took turns", r.Repeat)
	}
	if len(r.Settings) > 0 {
		s += "; settings " + strings.Join(r.Settings, " ")
	}
	if r.Scale != 1 {
		s += fmt.Sprintf("; SIZE %g, for trials only", r.Scale)
	}
	return s
}

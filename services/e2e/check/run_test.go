package check_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/services/e2e/check"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

func run(t *testing.T, o check.Options) *check.Report {
	t.Helper()
	o.Rooms, o.Writers, o.Readers, o.Rate, o.Patience = 4, 6, 2, 300, 6*time.Second
	if o.Duration == 0 {
		o.Duration = 2 * time.Second
	}
	report, err := check.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	t.Log(text.String())
	return report
}

// TestRun has the clients of an honest deployment be cut, again and again, and
// finds nothing.
func TestRun(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateways: 2})
	report := run(t, check.Options{URLs: s.URLs, Duration: 4 * time.Second, During: func(ctx context.Context, c *check.Control) error {
		defer c.Fault("clients cut")()
		for ctx.Err() == nil {
			c.Cut(3)
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
		}
		return nil
	}})
	if !report.OK() {
		t.Errorf("promises were broken: %v", report.Counts)
	}
	if report.Acked < 500 || report.Acked != report.Sent || report.Stored != report.Acked {
		t.Errorf("%d sent, %d acknowledged, %d stored", report.Sent, report.Acked, report.Stored)
	}
	// Each room has two readers, and three writers on average.
	if report.Delivered < 4*report.Acked {
		t.Errorf("%d delivered of %d", report.Delivered, report.Acked)
	}
	if report.Resumes == 0 || report.Recovered == 0 || report.Again == 0 || report.Faults() != 1 {
		t.Errorf("%d resumes, %d recovered, %d sent again, %d faults: not what should have happened",
			report.Resumes, report.Recovered, report.Again, report.Faults())
	}
}

// TestRunPastRetention has clients stay away for about as long as the log
// keeps what they miss: they are told the truth about it.
func TestRunPastRetention(t *testing.T) {
	const retention = 20
	s := stack.Start(t, stack.Options{Gateways: 2, Log: bus.LogConfig{Retention: retention}})
	report := run(t, check.Options{URLs: s.URLs, Retention: retention, Duration: 5 * time.Second,
		During: func(ctx context.Context, c *check.Control) error {
			for ctx.Err() == nil {
				c.Cut(4)
				select {
				case <-ctx.Done():
				case <-time.After(200 * time.Millisecond):
				}
			}
			return nil
		}})
	if !report.OK() {
		t.Errorf("promises were broken: %v", report.Counts)
	}
	if report.Unrecovered == 0 || report.Recovered == 0 {
		t.Errorf("%d rooms not recovered, %d messages recovered: not what should have happened", report.Unrecovered, report.Recovered)
	}
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]check.Options{
		"url":     {},
		"rooms":   {URLs: []string{"http://a"}, Rooms: -1},
		"writers": {URLs: []string{"http://a"}, Writers: 1 << 30},
		"window":  {URLs: []string{"http://a"}, Window: time.Second},
		"a:80":    {URLs: []string{"a:80"}},
	} {
		if _, err := check.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error about %s", o, err, want)
		}
	}
}

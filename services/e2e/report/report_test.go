package report

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/check"
)

// TestPageIsOfFigures wants REPORT.md to be what REPORT.json gives, and nothing
// of it to have been typed.
func TestPageIsOfFigures(t *testing.T) {
	r, err := Read("../REPORT.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := Page(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../REPORT.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("services/e2e/REPORT.md is not what REPORT.json and page.md.tmpl give: in services, go run ./e2e/report/write -page")
	}
}

// good is a report in which all went well.
func good() *Report {
	return &Report{
		Run: Run{
			Passed: true, Faults: []string{"plug pulled", "roof fallen"},
			Outages: []Outage{
				{Fault: "plug pulled", Broken: 2 * time.Second, Back: time.Second, Connections: 3},
				{Fault: "plug pulled", Broken: 4 * time.Second, Back: 90 * time.Second, Connections: 4},
				{Fault: "plug pulled", Broken: time.Second, Back: 2 * time.Second},
			},
			Checker: check.Report{Sent: 1234567, Timings: []check.Timing{{Fault: "plug pulled", Times: 3}, {}}},
		},
		Suites: []Suite{{Title: "Others", Tests: []Test{{Name: "TestA", Outcome: "pass"}, {Name: "TestA/a_part", Outcome: "pass"}, {Name: "TestB", Outcome: "skip"}}}},
	}
}

func TestPage(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Report)
		ok     bool
		want   []string
	}{
		{"well", func(*Report) {}, true, []string{
			"**No promise was broken**", "1,234,567 messages", "Others: 2 of 3 passed, 1 skipped.", "| TestB |  | skipped | 0 |\n\nParts of TestA: a part.\n",
			"| plug pulled | 3 | 2s / 4s | 2s / 1m30s | 7 |", "for want of time: roof fallen.", "- plug pulled, 0 into the run: 1m30s",
		}},
		{"a promise broken", func(r *Report) {
			r.Run.Checker.Counts = map[check.Kind]int{check.Lost: 1}
			r.Run.Checker.Violations = []check.Violation{{Kind: check.Lost, Room: "a", Seq: 7, Detail: "gone|"}}
		}, false, []string{"**NOT EVERYTHING WAS AS PROMISED**", "violations: 1.", `- lost: a, client 0, seq 7: gone\|`}},
		{"a bound passed", func(r *Report) { r.Run.Passed = false }, false, []string{"The run's test failed beside that"}},
		{"a test failed", func(r *Report) { r.Suites[0].Tests[0].Outcome = "fail" }, false, []string{"| TestA |  | **FAILED** |"}},
		{"a soak", func(r *Report) {
			r.Run.Soak = &Soak{Connections: 10000, Gone: 12, Cut: 34, Steady: 19 * time.Minute, Growth: []Growth{
				{Process: "auth", Measure: "resident", Unit: "MiB", Minutes: 19, Start: 30, End: 31.25, PerHour: 4, Allowed: 21, Judged: true, OK: true},
				{Process: "nats 0", Measure: "open files", Minutes: 2, Start: 1, End: 900, PerHour: 9, Allowed: 30},
			}}
		}, true, []string{"a crowd of 10,000 connections", "For the last 19m\n", "| auth | resident, MiB | 19.0 | 30.0 | 31.2 | 4.0 | 21.0 | steady |", "| nats 0 | open files | 2.0 | 1.0 | 900.0 | 9.0 | 30.0 | too short to judge |"}},
		{"what grows", func(r *Report) {
			r.Run.Soak = &Soak{Growth: []Growth{{Process: "auth", Measure: "goroutines", Start: 30, End: 90, Judged: true}}}
		}, false, []string{"| auth | goroutines | 0.0 | 30.0 | 90.0 | 0.0 | 0.0 | GROWS |"}},
		{"no tests", func(r *Report) { r.Suites[0].Tests = nil }, false, []string{"Others: 0 of 0 passed"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := good()
			test.change(r)
			page, err := Page(r)
			if err != nil {
				t.Fatal(err)
			}
			if r.OK() != test.ok {
				t.Errorf("OK is %v", r.OK())
			}
			for _, want := range test.want {
				if !strings.Contains(string(page), want) {
					t.Errorf("%q is not in:\n%s", want, page)
				}
			}
		})
	}
}

func TestReadEvents(t *testing.T) {
	const events = `{"Action":"start"}
{"Action":"run","Test":"TestReadEvents"}
{"Action":"output","Test":"TestReadEvents","Output":"words\n"}
{"Action":"run","Test":"TestReadEvents/part"}
{"Action":"skip","Test":"TestReadEvents/part","Elapsed":0}
{"Action":"pass","Test":"TestReadEvents","Elapsed":1.5}
{"Action":"run","Test":"TestPageIsOfFigures"}
{"Action":"fail","Elapsed":2}
`
	var text bytes.Buffer
	tests, err := ReadEvents(strings.NewReader(events), &text)
	if err != nil {
		t.Fatal(err)
	}
	if err := Describe(tests, "."); err != nil {
		t.Fatal(err)
	}
	want := []Test{
		{Name: "TestReadEvents", Outcome: "pass", Seconds: 1.5},
		{Name: "TestReadEvents/part", Outcome: "skip"},
		{Name: "TestPageIsOfFigures", About: "wants REPORT.md to be what REPORT.json gives, and nothing of it to have been typed.", Outcome: "fail"},
	}
	if !slices.Equal(tests, want) || text.String() != "words\n" {
		t.Errorf("%q, %+v", text.String(), tests)
	}
	if _, err := ReadEvents(strings.NewReader("FAIL\n"), &text); err == nil {
		t.Error("what is not JSON is read")
	}
}

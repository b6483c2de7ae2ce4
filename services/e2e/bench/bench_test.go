//go:build linux

package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/bench"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bench-test-")
	if err == nil {
		err = os.Setenv("TMPDIR", dir) // so that what a run leaves is found
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	process.Clean()
	_ = os.RemoveAll(dir) // it lies among the temporary files
	os.Exit(status)
}

// tiny is every scenario as short and small as it can be.
func tiny(t *testing.T) bench.Options {
	return bench.Options{
		Program: process.Binary(t, process.Parley), Scale: 0.01,
		Duration: 200 * time.Millisecond, Warmup: 50 * time.Millisecond, Settle: 50 * time.Millisecond,
	}
}

func run(t *testing.T, o bench.Options) *bench.Report {
	t.Helper()
	report, err := bench.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	t.Log(text.String())
	if !report.OK() {
		t.Error("messages were lost, doubled or out of order")
	}
	return report
}

// leavesNothing looks for processes and folders that a run has left.
func leavesNothing(t *testing.T) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "parley-bench-*")); len(left) > 0 {
		t.Errorf("folders are left: %v", left)
	}
	self := fmt.Sprint(os.Getpid())
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The fields behind the name, which is in parentheses: state, parent.
		name, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == self && strings.HasSuffix(name, "(parley") {
			t.Errorf("a process is left: %s", stat)
		}
	}
}

// Each scenario measures all that it is for, and loses nothing.
func TestScenarios(t *testing.T) {
	t.Cleanup(func() { leavesNothing(t) })
	rows := map[string]int{"fan-out": 9, "many-rooms": 8, "two-gateways": 5, "idle": 5, "storm": 2, "join-history": 1, "churn": 1}
	for _, name := range bench.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting for processes to be ready
			o := tiny(t)
			o.Scenarios = []string{name}
			if name == "churn" {
				o.Scale = 0.1 // 20 connections a second
				o.Protocol = "proto"
			}
			if name == "two-gateways" {
				o.Repeat = 2
			}
			report := run(t, o)
			if len(report.Scenarios) != 1 || len(report.Scenarios[0].Rows) != rows[name] {
				t.Fatalf("not %d rows of one scenario", rows[name])
			}
			for i, r := range report.Scenarios[0].Rows {
				var lacks []string
				need := func(what string, there bool) {
					if !there {
						lacks = append(lacks, what)
					}
				}
				switch name {
				case "idle":
					need("memory", r.Memory != nil && r.Memory.After > 0)
				case "storm", "join-history":
					need("joins", r.Joins != nil && r.Joins.Max > 0 && r.JoinsPerSecond > 0 && r.Took > 0)
					need("CPU", r.JoinCPU != nil && r.JoinCPU.Gateway > 0)
				default:
					need("deliveries", r.Deliveries > 0 && r.PerSecond > 0)
					need("CPU", r.CPU != nil && r.CPU.Gateway > 0)
					need("delays", r.Delays != nil && r.Delays.P50 > 0 && r.Delays.P50 <= r.Delays.P99 && r.Delays.P99 <= r.Delays.P999)
				}
				if name == "churn" {
					need("joins", r.Joins != nil && r.JoinsPerSecond > 0)
				}
				if strings.Contains(r.Server, "floor") || name == "idle" || name == "churn" || name == "storm" || name == "join-history" {
					need("no ratio", r.ToFloorPlus == nil)
				} else {
					need("ratios", r.ToFloor != nil && r.ToFloorPlus != nil && r.ToFloor.PerSecond > 0)
				}
				if r.Server == "NATS apart" || r.Server == "2 gateways" {
					need("CPU of NATS", name == "idle" || r.CPU.NATS > 0 && r.CPU.Rest > 0 && r.CPU.All > r.CPU.NATS+r.CPU.Gateway)
				}
				if len(lacks) > 0 {
					t.Errorf("row %d lacks %v: %+v", i, lacks, r)
				}
			}
			if page := report.Markdown(); strings.Count(page, "\n| ") != rows[name]+2 { // the head, and the line under it
				t.Errorf("not a table of %d rows:\n%s", rows[name], page)
			}
		})
	}
}

// A deployment that runs already is measured from outside.
func TestRunningDeployment(t *testing.T) {
	const secret = "a secret that is long enough for any token"
	addr, admin := process.Addr(t), process.Addr(t)
	process.Start(t, process.Spec{
		Program: process.Parley, Args: []string{"serve"}, Admin: "http://" + admin,
		Env: []string{"PARLEY_HTTP_ADDR=" + addr, "PARLEY_ADMIN_ADDR=" + admin, "PARLEY_DATA_DIR=" + t.TempDir(), "PARLEY_JWT_SECRET=" + secret, "PARLEY_LOG_LEVEL=error"},
	}).WaitReady()
	o := tiny(t)
	o.URLs, o.Secret, o.Scenarios = []string{"http://" + addr}, secret, []string{"two-gateways", "idle"}
	report := run(t, o)
	for _, r := range report.Scenarios[0].Rows[2:] {
		if r.Deliveries == 0 || r.CPU != nil || r.ToFloor == nil {
			t.Errorf("%+v", r)
		}
	}
	o.Secret = "another one, that the deployment has not been given"
	if _, err := bench.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "auth-failed") {
		t.Errorf("with a wrong secret: %v", err)
	}
}

// A run that is broken off ends soon, and what it started with it.
func TestBrokenOff(t *testing.T) {
	o := tiny(t)
	o.Duration, o.Scenarios = time.Hour, []string{"two-gateways"}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := bench.Run(ctx, o)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a report was made")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	leavesNothing(t)
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]bench.Options{
		"many-rooms": {Scenarios: []string{"few-rooms"}},
		"jwt-secret": {URLs: []string{"http://127.0.0.1:1"}},
		"duration":   {Duration: -1},
		"protocol":   {Protocol: "xml"},
		"repeat":     {Repeat: -1},
		"scale":      {Scale: 100},
	} {
		if _, err := bench.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error about %s", o, err, want)
		}
	}
}

// parley bench itself reports as JSON, and writes a page.
func TestCommand(t *testing.T) {
	page := filepath.Join(t.TempDir(), "bench.md")
	cmd := exec.CommandContext(t.Context(), process.Binary(t, process.Parley), "bench", "--scenario", "storm", "--scale", "0.01",
		"--json", "--markdown", page)
	cmd.Env = []string{"TMPDIR=" + os.TempDir(), "PARLEY_RETENTION=10"} // another program's setting is passed over
	out, err := cmd.Output()
	var report bench.Report
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err != nil || len(report.Scenarios) != 1 || len(report.Scenarios[0].Rows) != 2 || report.Machine.NATS == "unknown" {
		t.Errorf("%v: %+v", err, report)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "## storm") {
		t.Errorf("%v: %s", err, text)
	}
	wrong := exec.CommandContext(t.Context(), process.Binary(t, process.Parley), "bench", "--scenario", "few-rooms")
	if out, err := wrong.CombinedOutput(); err == nil || !strings.Contains(string(out), "few-rooms") {
		t.Errorf("%v: %s", err, out)
	}
}

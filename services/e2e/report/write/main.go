// Command write runs what the page REPORT.md tells of, and writes it with its
// figures. It ends with status 1 where a promise was broken or a test failed,
// which the page says, too. `make report` calls it, in services.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/services/e2e/report"
)

func main() { run.Main(write) }

func write(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("write", flag.ContinueOnError)
	sending := flags.Duration("time", 10*time.Minute, "how long messages are sent while things break")
	rate := flags.Float64("rate", 1500, "messages a second")
	dir := flags.String("dir", "e2e", "where REPORT.json and REPORT.md lie")
	earlier := flags.String("run", "", "what PARLEY_SOAK_RESULT had a run of services/e2e/faults write, instead of another run")
	keep := flags.Bool("keep", false, "run no tests, keep the outcomes that REPORT.json has of them")
	only := flags.Bool("page", false, "run nothing, write REPORT.md from REPORT.json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r, err := new(report.Report), error(nil)
	if *only {
		r, err = report.Read(filepath.Join(*dir, "REPORT.json"))
	} else {
		err = try(ctx, r, *earlier, *sending, *rate)
		if err == nil && *keep {
			var old *report.Report
			if old, err = report.Read(filepath.Join(*dir, "REPORT.json")); err == nil {
				r.Suites = old.Suites
			}
		} else if err == nil {
			r.Suites, err = suites(ctx)
		}
	}
	if err != nil {
		return err
	}
	if err := r.Write(*dir); err != nil {
		return err
	}
	if !r.OK() {
		return errors.New("a promise was broken, or a test failed: REPORT.md tells which")
	}
	return nil
}

// try has things break, or takes what a run has left.
func try(ctx context.Context, r *report.Report, earlier string, sending time.Duration, rate float64) error {
	r.Date = time.Now().UTC().Truncate(time.Second)
	var err error
	if r.Commit, err = commit(ctx); err != nil {
		return err
	}
	if earlier != "" {
		err = read(earlier, &r.Run)
	} else {
		err = faults(ctx, &r.Run, sending, rate)
	}
	if err != nil {
		return err
	}
	w := r.Run.Workload
	r.Command = fmt.Sprintf("PARLEY_SOAK_SEED=%d make report REPORT=%s RATE=%v", r.Run.Checker.Seed, brief(w.Sending), w.Rate)
	if soak := r.Run.Soak; earlier != "" && soak != nil {
		r.Command = fmt.Sprintf("PARLEY_SOAK_SEED=%d make soak SOAK=%s RATE=%v CONNECTIONS=%d", r.Run.Checker.Seed, brief(w.Sending), w.Rate, soak.Connections)
	}
	return nil
}

// suites runs the tests that the report tells of.
func suites(ctx context.Context) (list []report.Suite, err error) {
	for _, s := range report.Suites {
		if s.Tests, err = test(ctx, s.Package, s.Pattern, s.Env); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// brief writes 10m0s as 10m.
func brief(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// faults runs the checker while things break.
func faults(ctx context.Context, r *report.Run, sending time.Duration, rate float64) error {
	dir, err := os.MkdirTemp("", "parley-report-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left lies among the temporary files
	path := filepath.Join(dir, "run.json")
	tests, err := test(ctx, "e2e/faults", "^TestFaults$",
		"PARLEY_SOAK_TIME="+sending.String(), fmt.Sprintf("PARLEY_SOAK_RATE=%v", rate), "PARLEY_SOAK_RESULT="+path, "PARLEY_SOAK_ALL=1")
	if err != nil {
		return err
	}
	if err := read(path, r); err != nil {
		return err
	}
	// What is found wrong when the processes end, they cannot have written.
	r.Passed = r.Passed && (tests[0].Outcome == "pass" || !r.Checker.OK())
	return nil
}

// read reads what a run has written of itself.
func read(path string, r *report.Run) error {
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	if err != nil {
		return fmt.Errorf("what the run has left: %w", err)
	}
	return nil
}

// test runs tests of a package of services, and says what became of them.
func test(ctx context.Context, folder, pattern string, env ...string) ([]report.Test, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-json", "-timeout=24h", "-run="+pattern, "./"+folder)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	tests, err := report.ReadEvents(out, os.Stdout)
	var failed *exec.ExitError
	// That tests failed, they have said themselves.
	if ended := cmd.Wait(); err == nil && !errors.As(ended, &failed) {
		err = ended
	}
	if err == nil && len(tests) == 0 {
		err = errors.New("no test was run")
	}
	if err == nil {
		err = report.Describe(tests, folder)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	return tests, ctx.Err()
}

// commit names the commit, with "+" where files were changed since, the
// report's own left out.
func commit(ctx context.Context) (string, error) {
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Stderr = new(bytes.Buffer)
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("git %s: %w\n%s", args[0], err, cmd.Stderr)
		}
		return strings.TrimSpace(string(out)), nil
	}
	name, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "", err
	}
	changed, err := git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)services/e2e/REPORT.*")
	if changed != "" {
		name += "+"
	}
	return name, err
}

package obs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A Check says whether something the program needs is there.
type Check struct {
	Name string
	// Check returns nil when all is well. It must heed its context, which ends after 2 s: a probe waits for it.
	Check func(ctx context.Context) error
}

// checkTimeout bounds one check. Kubernetes' probes are to be given a second more.
const checkTimeout = 2 * time.Second

// result is the outcome of a check.
type result struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// AddCheck adds checks to those behind /readyz and the default /health. Each needs a function and a name of its own.
func (a *Admin) AddCheck(checks ...Check) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range checks {
		if c.Name == "" || c.Check == nil {
			return fmt.Errorf("readiness check %q: want a name and a function", c.Name)
		}
		if slices.ContainsFunc(a.checks, func(other Check) bool { return other.Name == c.Name }) {
			return fmt.Errorf("readiness check %q: there is one of this name", c.Name)
		}
		a.checks = append(a.checks, c)
	}
	return nil
}

// runChecks runs all checks at the same time; ok means that none failed.
func (a *Admin) runChecks(ctx context.Context) (results map[string]result, ok bool) {
	a.mu.Lock()
	checks := slices.Clone(a.checks)
	a.mu.Unlock()

	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { errs[i] = c.run(ctx) })
	}
	wg.Wait()

	results, ok = make(map[string]result, len(checks)), true
	for i, c := range checks {
		if errs[i] == nil {
			results[c.Name] = result{OK: true}
			continue
		}
		results[c.Name], ok = result{Error: errs[i].Error()}, false
	}
	return results, ok
}

func (c Check) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, checkTimeout, errors.New("no answer within "+checkTimeout.String()))
	defer cancel()
	defer func() {
		// net/http recovers from panics in its own goroutine only; a probe must not end the program.
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	err = c.Check(ctx)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (a *Admin) serveReady(w http.ResponseWriter, r *http.Request) {
	results, ok := a.runChecks(r.Context())
	draining := a.draining.Load()
	a.write(w, statusOf(ok && !draining), struct {
		Ready    bool              `json:"ready"`
		Draining bool              `json:"draining"`
		Checks   map[string]result `json:"checks"`
	}{ok && !draining, draining, results})
}

func (a *Admin) serveHealth(w http.ResponseWriter, r *http.Request) {
	report := a.options.Health
	if report == nil {
		report = a.Report
	}
	body, status := report(r.Context())
	a.write(w, status, body)
}

// Report is the admin port's own body of /health, and its HTTP status, for a
// program whose service has nothing better yet.
func (a *Admin) Report(ctx context.Context) (any, int) {
	results, ok := a.runChecks(ctx)
	status := "healthy"
	if !ok {
		status = "critical"
	}
	return struct {
		Status        string            `json:"status"`
		UptimeSeconds int64             `json:"uptimeSeconds"`
		Checks        map[string]result `json:"checks"`
	}{status, int64(time.Since(a.started).Seconds()), results}, statusOf(ok)
}

func statusOf(ok bool) int {
	if ok {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

// write answers with body as JSON.
func (a *Admin) write(w http.ResponseWriter, status int, body any) {
	encoded, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		a.options.Logger.Error("encode an answer of the admin port", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(encoded, '\n'))
}

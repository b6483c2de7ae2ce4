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
	// Borne: that it fails is told, and the program stays ready, for it does what it can.
	Borne bool
}

// checkTimeout bounds one check. Kubernetes' probes are to be given a second more.
const checkTimeout = 2 * time.Second

// result is the outcome of a check. One that fails and is borne with is OK and has an Error.
type result struct {
	OK         bool   `json:"ok"`
	Error      string `json:"error,omitempty"`
	FailingFor int64  `json:"failingForSeconds,omitempty"`
}

// checked is a check and what it said before.
type checked struct {
	Check
	mu      sync.Mutex
	passed  bool      // at some time
	failing time.Time // since then; zero while it does not
}

// judge makes the outcome of what the check has just said. An error that knows since when (Since() time.Time) counts from
// then, for probes may be rare.
func (c *checked) judge(err error, now time.Time, patience time.Duration) result {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.passed, c.failing = true, time.Time{}
		return result{OK: true}
	}
	if c.failing.IsZero() {
		c.failing = now
	}
	var told interface {
		error
		Since() time.Time
	}
	if errors.As(err, &told) && told.Since().Before(c.failing) {
		c.failing = told.Since()
	}
	failing := now.Sub(c.failing)
	return result{OK: c.Borne || c.passed && failing < patience, Error: err.Error(), FailingFor: int64(failing.Seconds())}
}

// AddCheck adds checks to those behind /readyz and the default /health. Each needs a function and a name of its own.
func (a *Admin) AddCheck(checks ...Check) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range checks {
		if c.Name == "" || c.Check == nil {
			return fmt.Errorf("readiness check %q: want a name and a function", c.Name)
		}
		if slices.ContainsFunc(a.checks, func(other *checked) bool { return other.Name == c.Name }) {
			return fmt.Errorf("readiness check %q: there is one of this name", c.Name)
		}
		a.checks = append(a.checks, &checked{Check: c})
	}
	return nil
}

// runChecks runs all checks at the same time; ok means that none failed for longer than is borne with.
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
		results[c.Name] = c.judge(errs[i], time.Now(), a.options.Patience)
		ok = ok && results[c.Name].OK
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

// serveReady says whether the program does its work, and accepting, whether new connections are welcome as well. One that
// is full is ready: it serves those it has, and tells others so that they understand, which nobody does whom a load balancer
// finds no place for.
func (a *Admin) serveReady(w http.ResponseWriter, r *http.Request, accepting bool) {
	results, ok := a.runChecks(r.Context())
	draining := a.draining.Load()
	full := a.options.Full != nil && a.options.Full()
	a.write(w, statusOf(ok && !draining && !(accepting && full)), struct {
		Ready    bool              `json:"ready"`
		Draining bool              `json:"draining"`
		Full     bool              `json:"full"`
		Checks   map[string]result `json:"checks"`
	}{ok && !draining, draining, full, results})
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
	for _, r := range results {
		if r.Error != "" {
			status = "warning"
		}
	}
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

package obs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newAdmin(t *testing.T, o AdminOptions) *Admin {
	t.Helper()
	a, err := NewAdmin(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func get(t *testing.T, a *Admin, path string) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	var body map[string]any
	if w.Header().Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err, w.Body.String())
		}
	}
	return w.Code, body
}

func TestReady(t *testing.T) {
	var down error
	a := newAdmin(t, AdminOptions{Ready: []Check{
		{Name: "nats", Check: func(context.Context) error { return down }},
		{Name: "auth", Check: func(context.Context) error { return nil }},
		{Name: "clock", Check: func(context.Context) error { return errors.New("it is wrong") }, Borne: true},
	}})
	if code, body := get(t, a, "/readyz"); code != 200 || body["ready"] != true {
		t.Error(code, body)
	}
	down = errors.New("no servers")
	code, body := get(t, a, "/readyz")
	checks := body["checks"].(map[string]any)
	nats, auth := checks["nats"].(map[string]any), checks["auth"].(map[string]any)
	if code != 503 || body["ready"] != false || nats["ok"] != false || nats["error"] != "no servers" || auth["ok"] != true {
		t.Error(code, body)
	}
	if code, body := get(t, a, "/health"); code != 503 || body["status"] != "critical" {
		t.Error(code, body)
	}
	if code, _ := get(t, a, "/livez"); code != 200 {
		t.Error("a dependency that is down ended the liveness:", code)
	}
	down = nil
	a.SetDraining()
	if code, body := get(t, a, "/readyz"); code != 503 || body["ready"] != false || body["draining"] != true {
		t.Error(code, body)
	}
	if code, body := get(t, a, "/health"); code != 200 || body["status"] != "warning" {
		t.Error(code, body)
	}
}

func TestChecksRunTogetherAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		a := newAdmin(t, AdminOptions{Ready: []Check{{Name: "one", Check: stuck}, {Name: "two", Check: stuck},
			{Name: "three", Check: func(context.Context) error { panic("oh") }}}})
		begin := time.Now()
		results, ok := a.runChecks(t.Context())
		if took := time.Since(begin); ok || took != 2*time.Second {
			t.Error(ok, took)
		}
		if results["one"].Error != "no answer within 2s" || results["three"].Error != "panic: oh" {
			t.Error(results)
		}
	})
}

// lost is an error that knows since when.
type lost struct{ since time.Time }

func (l lost) Error() string    { return "out of reach" }
func (l lost) Since() time.Time { return l.since }

// What was there is borne with for a while when it is gone; what never was is not.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down error
		a := newAdmin(t, AdminOptions{Patience: 5 * time.Second, Ready: []Check{{Name: "nats", Check: func(context.Context) error { return down }}}})
		want := func(status int, failing any, health string) {
			t.Helper()
			code, body := get(t, a, "/readyz")
			nats := body["checks"].(map[string]any)["nats"].(map[string]any)
			if code != status || nats["ok"] != (status == 200) || nats["failingForSeconds"] != failing || (nats["error"] == nil) != (down == nil) {
				t.Errorf("%d %v, want %d, failing for %v s", code, body, status, failing)
			}
			if _, body := get(t, a, "/health"); body["status"] != health {
				t.Errorf("%v, want %s", body, health)
			}
		}
		down = errors.New("no servers")
		want(503, nil, "critical") // it is starting
		down = nil
		want(200, nil, "healthy")
		down = errors.New("no servers")
		want(200, nil, "warning")
		time.Sleep(4 * time.Second)
		want(200, 4.0, "warning")
		time.Sleep(time.Second)
		want(503, 5.0, "critical")
		down = nil
		want(200, nil, "healthy")
		down = lost{time.Now().Add(-time.Minute)}
		want(503, 60.0, "critical")
		down = nil
		want(200, nil, "healthy")
		a.SetDraining()
		if code, _ := get(t, a, "/readyz"); code != 503 {
			t.Error("a program that drains is ready")
		}
	})
}

// Who is full is ready, and wants no new connections.
func TestFull(t *testing.T) {
	full := true
	a := newAdmin(t, AdminOptions{Full: func() bool { return full }})
	if code, body := get(t, a, "/readyz"); code != 200 || body["ready"] != true || body["full"] != true {
		t.Error(code, body)
	}
	if code, body := get(t, a, "/acceptz"); code != 503 || body["ready"] != true || body["full"] != true {
		t.Error(code, body)
	}
	full = false
	if code, body := get(t, a, "/acceptz"); code != 200 || body["full"] != false {
		t.Error(code, body)
	}
	a.SetDraining()
	if code, _ := get(t, a, "/acceptz"); code != 503 {
		t.Error("a program that drains accepts")
	}
}

func TestChecksAreNamed(t *testing.T) {
	good := func(context.Context) error { return nil }
	for _, checks := range [][]Check{{{Check: good}}, {{Name: "a"}}, {{Name: "a", Check: good}, {Name: "a", Check: good}}} {
		if _, err := NewAdmin(AdminOptions{Ready: checks}); err == nil {
			t.Error("accepted", checks)
		}
	}
}

func TestHealthOfTheService(t *testing.T) {
	a := newAdmin(t, AdminOptions{Health: func(context.Context) (any, int) {
		return map[string]any{"status": "warning", "connections": 9}, http.StatusOK
	}})
	if code, body := get(t, a, "/health"); code != 200 || body["status"] != "warning" || body["connections"] != 9.0 {
		t.Error(code, body)
	}
	a = newAdmin(t, AdminOptions{Health: func(context.Context) (any, int) { return func() {}, 200 }})
	if code, _ := get(t, a, "/health"); code != 500 {
		t.Error("a report that cannot be encoded:", code)
	}
}

func TestPaths(t *testing.T) {
	metrics, err := NewMetrics(t.Context(), Identity{Service: "x"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	bare, full := newAdmin(t, AdminOptions{}), newAdmin(t, AdminOptions{Metrics: metrics, Pprof: true})
	for _, test := range []struct {
		path       string
		bare, full int
	}{
		{"/", 404, 404}, {"/livez", 200, 200}, {"/readyz", 200, 200}, {"/acceptz", 200, 200}, {"/health", 200, 200}, {"/metrics", 404, 200},
		{"/debug/pprof/", 404, 200}, {"/debug/pprof/heap", 404, 200}, {"/debug/pprof/cmdline", 404, 404},
		{"/debug/pprof/symbol", 404, 200},
	} {
		if code, _ := get(t, bare, test.path); code != test.bare {
			t.Errorf("bare %s: %d", test.path, code)
		}
		if code, _ := get(t, full, test.path); code != test.full {
			t.Errorf("full %s: %d", test.path, code)
		}
	}
	w := httptest.NewRecorder()
	full.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/readyz", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Error(w.Code)
	}
}

func TestRun(t *testing.T) {
	a := newAdmin(t, AdminOptions{Addr: "127.0.0.1:0"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + a.Addr().String() + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || strings.TrimSpace(string(body)) != "ok" {
		t.Error(string(body), err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := client.Get("http://" + a.Addr().String() + "/livez"); err == nil {
		t.Error("answered after its end")
	}
}

func TestRunFails(t *testing.T) {
	a := newAdmin(t, AdminOptions{Addr: "127.0.0.1:0"})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil {
		t.Error("no error from a closed listener")
	}
	first := newAdmin(t, AdminOptions{Addr: "127.0.0.1:0"})
	defer first.Close()
	if _, err := NewAdmin(AdminOptions{Addr: first.Addr().String()}); err == nil || !strings.HasPrefix(err.Error(), "admin-addr: ") {
		t.Error("a taken address:", err)
	}
}

func TestNotListening(t *testing.T) {
	a := newAdmin(t, AdminOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err != nil || a.Addr() != nil || a.Close() != nil {
		t.Error(err)
	}
}

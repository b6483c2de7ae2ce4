package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestStatusPage(t *testing.T) {
	var failure error
	page := StatusPage(func(context.Context) (any, error) { return map[string]int{"users": 3}, failure })
	ask := func(method, target string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, nil))
		return w
	}
	for target, want := range map[string]string{
		"/": "text/html; charset=utf-8", "/status.js": "text/javascript; charset=utf-8", "/status.css": "text/css; charset=utf-8",
		"/status.json": "application/json", "/index.html": "", "/status/index.html": "", "/assets/style.css": "", "/parley.js": "",
	} {
		r := ask("GET", target).Result()
		if r.StatusCode != http.StatusOK && want != "" || r.StatusCode != http.StatusNotFound && want == "" {
			t.Errorf("%s: %s", target, r.Status)
		}
		if want != "" && r.Header.Get("Content-Type") != want {
			t.Errorf("%s is %s", target, r.Header.Get("Content-Type"))
		}
		if r.Header.Get("Content-Security-Policy") != contentSecurityPolicy {
			t.Errorf("%s has another policy", target)
		}
	}
	if r := ask("GET", "/status.json"); strings.TrimSpace(r.Body.String()) != `{"users":3}` || r.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the status is %q, %v", r.Body, r.Header())
	}
	if r := ask("POST", "/"); r.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", r.Code)
	}
	failure = errors.New("the hub ends")
	if r := ask("GET", "/status.json"); r.Code != http.StatusServiceUnavailable {
		t.Errorf("without a status: %d", r.Code)
	}
	for _, name := range []string{"index.html", "status.js"} {
		source, err := statusFiles.ReadFile("status/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if sink := htmlSinks.Find(source); sink != nil {
			t.Errorf("%s uses %s", name, sink)
		}
	}
	// Nothing of it is on the port that clients reach.
	if r := get(t, "GET", "/status.json", nil); r.StatusCode != http.StatusNotFound {
		t.Errorf("the clients' port has it: %s", r.Status)
	}
}

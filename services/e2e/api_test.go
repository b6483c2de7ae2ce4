package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// call asks the HTTP API, with a body as it is.
func call(t *testing.T, method, url, body string, header http.Header) (*http.Response, map[string]any) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for name, values := range header {
		request.Header[name] = values
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	_ = json.Unmarshal(raw, &object) // nil where it is none
	return answer, object
}

func TestAPI(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateways: 2, Gateway: func(o *gateway.Options) {
		o.AllowedOrigins = []string{"https://chat.example.com"}
	}})
	base := s.URLs[0]
	ann := `{"username":"ann","password":"correct horse"}`
	status := func(want int, path, body string, header http.Header) map[string]any {
		t.Helper()
		answer, object := call(t, http.MethodPost, base+path, body, header)
		if answer.StatusCode != want || object == nil {
			t.Fatalf("%s %.60s: %s %v, want %d", path, body, answer.Status, object, want)
		}
		if kind := answer.Header.Get("Content-Type"); kind != "application/json" || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %q, %q", path, kind, answer.Header.Get("Cache-Control"))
		}
		return object
	}
	signedIn := func(object map[string]any) (token, refresh string) {
		t.Helper()
		token, _ = object["token"].(string)
		refresh, _ = object["refreshToken"].(string)
		user, _ := object["user"].(map[string]any)
		in, _ := object["expiresIn"].(float64)
		roles, _ := user["roles"].([]any)
		if token == "" || refresh == "" || in < 60 || user["username"] != "ann" || user["id"] == "" || len(roles) != 1 || roles[0] != "user" || len(object) != 4 {
			t.Fatalf("signed in: %v", object)
		}
		c := client.Dial(t, s.URLs[1], client.Options{})
		if c.SignIn(token).User.Id != user["id"] {
			t.Error("the token is another user's")
		}
		c.Close()
		return token, refresh
	}
	refused := func(want int, code, field, path, body string) {
		t.Helper()
		e, _ := status(want, path, body, nil)["error"].(map[string]any)
		message, _ := e["message"].(string)
		got, _ := e["field"].(string)
		if e["code"] != code || got != field || message == "" || !strings.Contains(message, field) {
			t.Errorf("%s %.60s: %v, want %s of field %q", path, body, e, code, field)
		}
		if strings.Contains(message, "correct horse") {
			t.Errorf("a password is told: %s", message)
		}
	}

	signedIn(status(200, "/api/register", ann, nil))
	refused(409, "already-exists", "username", "/api/register", ann)
	token, refresh := signedIn(status(200, "/api/auth", ann, nil))
	refused(401, "unauthenticated", "", "/api/auth", `{"username":"ann","password":"wrong"}`)

	// A refresh token is good once.
	_, next := signedIn(status(200, "/api/refresh", `{"refreshToken":"`+refresh+`"}`, nil))
	if next == refresh {
		t.Error("the refresh token stays the same")
	}
	refused(401, "unauthenticated", "", "/api/refresh", `{"refreshToken":"nonsense"}`)
	refused(401, "unauthenticated", "", "/api/refresh", `{"refreshToken":"`+token+`"}`)

	// Signing out ends it, and a second time is no error.
	_, other := signedIn(status(200, "/api/auth", ann, nil))
	for range 2 {
		if object := status(200, "/api/logout", `{"refreshToken":"`+other+`"}`, nil); object["success"] != true {
			t.Errorf("signed out: %v", object)
		}
	}
	refused(401, "unauthenticated", "", "/api/refresh", `{"refreshToken":"`+other+`"}`)

	for _, path := range []string{"/api/register", "/api/auth"} {
		for _, row := range []struct{ body, code, field string }{
			{``, "invalid-argument", "username"},
			{`{}`, "invalid-argument", "username"},
			{`{"password":"x"}`, "invalid-argument", "username"},
			{`{"username":"","password":"x"}`, "invalid-argument", "username"},
			{`{"username":null,"password":"x"}`, "invalid-argument", "username"},
			{`{"username":"bob"}`, "invalid-argument", "password"},
			{`{"username":"bob","password":""}`, "invalid-argument", "password"},
			{`{"username":"` + strings.Repeat("x", 33) + `","password":"x"}`, "invalid-argument", "username"},
			{`{"username":"a\u0000b","password":"x"}`, "invalid-argument", "username"},
			{`{"username":"   ","password":"x"}`, "invalid-argument", "username"},
			{`{"username":7,"password":"x"}`, "bad-message", "username"},
			{`{"username":"bob","password":["x"]}`, "bad-message", "password"},
			{`[]`, "bad-message", ""},
			{`"x"`, "bad-message", ""},
			{`{"username"`, "bad-message", ""},
			{`username=bob&password=x`, "bad-message", ""},
			{strings.Repeat("[", 10_000), "bad-message", ""},
			{"{\"username\":\"bo\xff\",\"password\":\"x\"}", "bad-message", ""},
		} {
			refused(400, row.code, row.field, path, row.body)
		}
		refused(413, "too-large", "", path, `{"username":"bob","password":"`+strings.Repeat("x", 17<<10)+`"}`)
		answer, object := call(t, http.MethodGet, base+path, "", nil)
		e, _ := object["error"].(map[string]any)
		if answer.StatusCode != 405 || answer.Header.Get("Allow") != "POST" || e["code"] != "invalid-argument" || e["message"] == "" {
			t.Errorf("GET %s: %s %v", path, answer.Status, object)
		}
	}
	refused(400, "invalid-argument", "refreshToken", "/api/refresh", `{}`)
	refused(400, "invalid-argument", "refreshToken", "/api/logout", `{}`)
	refused(400, "bad-message", "refreshToken", "/api/refresh", `{"refreshToken":1}`)
	refused(401, "unauthenticated", "", "/api/logout", `{"refreshToken":"nonsense"}`)
	if e, _ := status(401, "/api/logout", "", http.Header{"Authorization": {"Bearer nonsense"}})["error"].(map[string]any); e["code"] != "unauthenticated" {
		t.Errorf("signing out with no token of ours: %v", e)
	}
	refused(404, "not-found", "", "/api/nothing", "{}")
	refused(404, "not-found", "", "/api/", "{}")

	// Pages of other origins.
	from := func(origin string) http.Header {
		return http.Header{"Origin": {origin}, "Sec-Fetch-Site": {"cross-site"}}
	}
	if answer, _ := call(t, http.MethodPost, base+"/api/auth", ann, from("https://evil.example.com")); answer.StatusCode != 403 ||
		answer.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign page: %s", answer.Status)
	}
	if answer, _ := call(t, http.MethodPost, base+"/api/auth", ann, from("https://chat.example.com")); answer.StatusCode != 200 ||
		answer.Header.Get("Access-Control-Allow-Origin") != "https://chat.example.com" {
		t.Errorf("an allowed page: %s", answer.Status)
	}
	// Too many wrong passwords: wait, and say for how long.
	limited := false
	for range 30 {
		answer, object := call(t, http.MethodPost, base+"/api/auth", `{"username":"ann","password":"guess"}`, nil)
		if answer.StatusCode == 429 {
			e, _ := object["error"].(map[string]any)
			limited = e["code"] == "rate-limited" && answer.Header.Get("Retry-After") != ""
			break
		}
	}
	if !limited {
		t.Error("passwords can be guessed without limit")
	}
}

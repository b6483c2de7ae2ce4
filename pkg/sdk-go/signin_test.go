package parley

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A token is asked for by password once, then by the refresh token, and by the
// password again when that is not good any more.
func TestSignIn(t *testing.T) {
	var asked []string
	life, refresh := 3600, http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q map[string]string
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Method != http.MethodPost {
			t.Error(r.Method, err)
		}
		asked = append(asked, r.URL.Path+" "+q["username"]+q["refreshToken"])
		n := len(asked)
		switch {
		case r.URL.Path == "/api/refresh" && refresh != http.StatusOK:
			w.WriteHeader(refresh)
			_, _ = w.Write([]byte(`{"error":{"code":"unauthenticated","message":"no"}}`))
		case q["password"] == "wrong":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":{"code":"unauthenticated","message":"wrong name or password"}}`))
		default:
			_, _ = fmt.Fprintf(w, `{"token":"t%d","refreshToken":"r%d","expiresIn":%d,"user":{"id":"u","username":"ada"}}`, n, n, life)
		}
	}))
	defer server.Close()
	s := &SignIn{URL: server.URL + "/", Username: "ada", Password: "right", HTTPClient: server.Client()}
	take := func(refused, want string) {
		t.Helper()
		got, err := s.Token(t.Context(), refused)
		if err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	take("", "t1")
	take("", "t1")
	take("t1", "t2")
	life = 30 // too short to be handed out again
	take("t2", "t3")
	take("", "t4")
	refresh = http.StatusUnauthorized
	take("", "t6")
	if got := fmt.Sprint(asked); got != "[/api/auth ada /api/refresh r1 /api/refresh r2 /api/refresh r3 /api/refresh r4 /api/auth ada]" {
		t.Error(got)
	}
	refresh = http.StatusServiceUnavailable
	if _, err := s.Token(t.Context(), "t6"); CodeOf(err) != codeUnavailable || errors.Is(err, ErrSignedOut) {
		t.Error(err)
	}
	wrong := &SignIn{URL: server.URL, Username: "ada", Password: "wrong", HTTPClient: server.Client()}
	if _, err := wrong.Token(t.Context(), ""); !errors.Is(err, ErrSignedOut) {
		t.Error(err)
	}
	server.CloseClientConnections()
}

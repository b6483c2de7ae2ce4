package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// TestStarting has a client connect before the gateway can check a token: told
// that its token is bad, or its session gone, it would do the wrong thing.
func TestStarting(t *testing.T) {
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	b, err := bus.Connect(t.Context(), bus.Options{InProcess: server, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	g, err := New(Options{
		Bus: b, Auth: authv1.NewAuthClient(nil), Registry: registryv1.NewRegistryClient(nil),
		History: historyv1.NewHistoryClient(nil), Presence: presencev1.NewPresenceClient(nil),
		JWTSecret: []byte("a secret that is long enough, for a test"), NoLobby: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.rooms.Close)
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ws", nil))
		return w
	}
	if w := ask(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("before the start: status %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}

	done := make(chan error, 1)
	go func() { done <- g.tokens.run(t.Context()) }()
	t.Cleanup(func() { <-done })
	for deadline := time.Now().Add(10 * time.Second); g.tokens.ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(g.tokens.ready())
		}
	}
	// No upgrade was asked for, so it is refused for that reason now.
	if w := ask(); w.Code != http.StatusUpgradeRequired && w.Code != http.StatusBadRequest {
		t.Errorf("after the start: status %d %s", w.Code, w.Body)
	}
}

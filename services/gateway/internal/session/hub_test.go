package session

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/parley-im/parley/services/gateway/internal/conn"
)

// TestPanicAtSignIn: net/http recovers a panic of what the upgrade's token brings.
// The client is told, and what its session held is given back, so that a drain does
// not wait for it.
func TestPanicAtSignIn(t *testing.T) {
	listener := conn.NewListener(conn.Options{})
	hub := NewHub(Options{
		Logger: slog.New(slog.DiscardHandler), Listener: listener, AuthTimeout: time.Hour,
		Authenticate: func(string) (*Identity, error) { panic("of a token's check") },
	})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := listener.Accept(w, r)
		if err != nil {
			t.Error(err)
			return
		}
		hub.Serve(c, "a token")
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	defer server.Close()
	client, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(client, "GET / HTTP/1.1\r\nHost: parley\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	said := make([]byte, 0, 4<<10)
	for !bytes.Contains(said, []byte("\x03\xf3internal error")) { // 1011
		n, err := client.Read(said[len(said):cap(said)])
		if said = said[:len(said)+n]; err != nil {
			t.Fatalf("after %q: %v", said, err)
		}
	}
	client.Close()
	drained := make(chan struct{})
	go func() {
		hub.Drain(context.Background(), 0, 0, 0)
		close(drained)
	}()
	select {
	case <-drained:
	case <-time.After(10 * time.Second):
		t.Fatal("a drain waits for the session")
	}
	if n, signedIn := listener.Count(), len(hub.directory.everyone()); n+signedIn > 0 {
		t.Errorf("%d connections and %d sessions are left", n, signedIn)
	}
}

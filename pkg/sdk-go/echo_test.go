package parley_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	status := m.Run()
	http.DefaultClient.CloseIdleConnections()
	gateway.Close()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// echoGateway serves the little of the protocol that the examples need: one user,
// and a room whose log is what they say.
func echoGateway() *httptest.Server {
	var mu sync.Mutex
	var entries []map[string]any
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/auth", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"token":"t","refreshToken":"r","expiresIn":3600}`))
	})
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"parley.v1.json"}})
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		say := func(frame map[string]any) {
			b, _ := json.Marshal(frame)
			_ = ws.Write(r.Context(), websocket.MessageText, b)
		}
		say(map[string]any{"type": "welcome"})
		ada := map[string]any{"id": "u-ada", "username": "ada"}
		for {
			_, b, err := ws.Read(r.Context())
			if err != nil {
				return
			}
			var q map[string]any
			if json.Unmarshal(b, &q) != nil {
				return
			}
			mu.Lock()
			seq := len(entries)
			switch q["type"] {
			case "auth":
				say(map[string]any{"type": "auth-success", "id": q["id"], "user": ada})
			case "join-room":
				say(map[string]any{"type": "room-joined", "id": q["id"], "roomId": q["roomId"], "seq": seq, "epoch": "e", "memberCount": 1})
				say(map[string]any{"type": "message-history", "id": q["id"], "roomId": q["roomId"], "messages": append([]map[string]any{}, entries...), "hasMore": false})
			case "get-history":
				say(map[string]any{"type": "message-history", "id": q["id"], "roomId": q["roomId"], "messages": append([]map[string]any{}, entries...), "hasMore": false})
			case "chat-message":
				e := map[string]any{"type": "chat-message", "id": q["id"], "roomId": q["roomId"], "seq": seq + 1, "prev": seq, "user": ada, "content": q["content"], "timestamp": "2026-01-02T03:04:05.000Z"}
				entries = append(entries, e)
				say(map[string]any{"type": "ack", "id": q["id"], "roomId": q["roomId"], "seq": seq + 1, "durability": "file", "timestamp": "2026-01-02T03:04:05.000Z"})
				say(e)
			}
			mu.Unlock()
		}
	})
	return httptest.NewServer(mux)
}

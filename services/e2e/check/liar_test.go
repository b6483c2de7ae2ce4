package check

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	neturl "net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// lie stands before a gateway and changes what it says: for every frame that
// comes, it gives those that are passed on.
func lie(t *testing.T, gateway string, change func(*wirev1.ServerFrame) []*wirev1.ServerFrame) (url string) {
	honest, err := neturl.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", httputil.NewSingleHostReverseProxy(honest))
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		encoding := frame.JSON
		if strings.Contains(r.Header.Get("Sec-WebSocket-Protocol"), frame.Proto.Subprotocol()) {
			encoding = frame.Proto
		}
		l, err := dial(ctx, gateway, encoding)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer l.cut()
		client, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{encoding.Subprotocol()}})
		if err != nil {
			return
		}
		defer client.CloseNow() //nolint:errcheck // it is over either way
		client.SetReadLimit(maxFrame)
		go func() { // ends with the connection to the client
			defer cancel()
			for {
				kind, b, err := client.Read(ctx)
				if err != nil || l.ws.Write(ctx, kind, b) != nil {
					return
				}
			}
		}()
		kind := websocket.MessageText
		if encoding == frame.Proto {
			kind = websocket.MessageBinary
		}
		for {
			f, err := l.read(ctx)
			if err != nil {
				return
			}
			for _, f := range change(f) {
				b, err := frame.AppendServer(nil, encoding, f)
				if err != nil || client.Write(ctx, kind, b) != nil {
					return
				}
			}
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// sometimes gives every nth live message to f, and passes the rest on.
func sometimes(n int64, f func(*wirev1.ServerFrame) []*wirev1.ServerFrame) func(*wirev1.ServerFrame) []*wirev1.ServerFrame {
	var count atomic.Int64
	return func(frame *wirev1.ServerFrame) []*wirev1.ServerFrame {
		if frame.GetChatMessage() == nil && frame.GetRoomMessage() == nil || count.Add(1)%n != 0 {
			return []*wirev1.ServerFrame{frame}
		}
		return f(frame)
	}
}

//go:build linux

package load

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// liar is a server of one room that does to deliveries what it is told.
type liar struct {
	lie func(member, message int, frame []byte) [][]byte

	mu      sync.Mutex
	members []*websocket.Conn
	said    int
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow() //nolint:errcheck // the client has gone
	for {
		_, b, err := ws.Read(r.Context())
		if err != nil {
			return
		}
		l.take(r.Context(), ws, b)
	}
}

func (l *liar) take(ctx context.Context, ws *websocket.Conn, b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.HasPrefix(b, []byte(`{"type":"join-room"`)) {
		l.members = append(l.members, ws)
		_ = ws.Write(ctx, websocket.MessageText, []byte(`{"type":"message-history"}`)) // a client that has gone is not missed
		return
	}
	for i, member := range l.members {
		for _, frame := range l.lie(i, l.said, b) {
			_ = member.Write(ctx, websocket.MessageText, frame) // as above
		}
	}
	l.said++
}

// What a server does wrong on its way to one member is found by the load.
func TestClientFindsLies(t *testing.T) {
	var held []byte
	for name, c := range map[string]struct {
		lie  func(member, message int, frame []byte) [][]byte
		want Faults
	}{
		"none": {func(_, _ int, frame []byte) [][]byte { return [][]byte{frame} }, Faults{}},
		"loss": {func(member, message int, frame []byte) [][]byte {
			if member == 2 && message == 5 {
				return nil
			}
			return [][]byte{frame}
		}, Faults{Lost: 1}},
		"repetition": {func(member, message int, frame []byte) [][]byte {
			if member == 2 && message == 5 {
				return [][]byte{frame, frame}
			}
			return [][]byte{frame}
		}, Faults{Duplicated: 1}},
		"order": {func(member, message int, frame []byte) [][]byte {
			switch {
			case member == 2 && message == 5:
				held = slices.Clone(frame)
				return nil
			case member == 2 && message == 6:
				return [][]byte{frame, held}
			}
			return [][]byte{frame}
		}, Faults{Reordered: 1}},
		"invention": {func(member, message int, frame []byte) [][]byte {
			if member == 2 && message == 5 {
				return [][]byte{bytes.Replace(frame, []byte("~00"), []byte("~77"), 1), frame}
			}
			return [][]byte{frame}
		}, Faults{Foreign: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(&liar{lie: c.lie})
			defer server.Close()
			client, err := New(Options{
				Gateways: []netip.AddrPort{netip.MustParseAddrPort(server.Listener.Addr().String())}, Name: "test", Rooms: 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := client.Connect(t.Context(), make([]int, 4), true); err != nil {
				t.Fatal(err)
			}
			client.Begin(Traffic{OnTheirWay: 3})
			if err := client.wait(t.Context(), 10*time.Second, "some messages", func() bool { return client.delivered > 100 }); err != nil {
				t.Fatal(err)
			}
			patience := 10 * time.Second
			if c.want.Lost > 0 {
				patience = 100 * time.Millisecond // what is lost does not come
			}
			if err := client.Settle(t.Context(), patience); err != nil {
				t.Fatal(err)
			}
			if got := client.Verdict(); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if counts := client.Take(); counts.Joined != 4 || counts.Sent < 25 || counts.Delivered < 100 || counts.Delays.P50 == 0 {
				t.Errorf("counted %+v", counts)
			}
		})
	}
}

package session

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
	"github.com/parley-im/parley/services/gateway/internal/fanout"
)

// crowd makes sessions of n connections whose clients throw away what they get.
func crowd(tb testing.TB, n int) []*Session {
	tb.Helper()
	listener := conn.NewListener(conn.Options{})
	accepted := make(chan *conn.Conn, n)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := listener.Accept(w, r)
		if err != nil {
			tb.Error(err)
			return
		}
		accepted <- c
	}))
	tb.Cleanup(server.Close)
	hub := new(Hub)
	var sessions []*Session
	for range n {
		client, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			tb.Fatal(err)
		}
		fmt.Fprintf(client, "GET / HTTP/1.1\r\nHost: parley\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		s := &Session{hub: hub, conn: <-accepted}
		s.mode.Store(new(mode))
		s.conn.Greet()
		read := make(chan struct{})
		go func() {
			defer close(read)
			buf := make([]byte, 64<<10)
			for {
				if _, err := client.Read(buf); err != nil {
					return
				}
			}
		}()
		tb.Cleanup(func() {
			client.Close()
			<-read
			s.conn.Drop()
		})
		sessions = append(sessions, s)
	}
	return sessions
}

// said is what one turn of a worker brings into a room.
func said(messages int) *fanout.Burst {
	burst := new(fanout.Burst)
	for i := range messages {
		burst.Frames = append(burst.Frames, fanout.NewOutgoing(&wirev1.ServerFrame{Event: &wirev1.ServerFrame_ChatMessage{
			ChatMessage: &wirev1.Message{RoomId: "general", Seq: int64(i + 1), Content: proto.String(strings.Repeat("m", 128))},
		}}))
	}
	return burst
}

// TestDeliveryAllocatesNothing: from the room to the socket, a member costs no
// allocation, whether one message comes or several.
func TestDeliveryAllocatesNothing(t *testing.T) {
	sessions := crowd(t, 20)
	for _, messages := range []int{1, 10} {
		burst := said(messages)
		var f conn.Flusher
		allocs := testing.AllocsPerRun(500, func() {
			for _, s := range sessions {
				s.Deliver(burst, &f)
			}
			f.Flush()
		})
		if allocs != 0 {
			t.Errorf("%g allocations for %d deliveries", allocs, messages*len(sessions))
		}
	}
	for _, s := range sessions {
		if _, out := s.conn.Bytes(); out == 0 {
			t.Error("nothing was written")
		}
	}
}

func BenchmarkDelivery(b *testing.B) {
	for _, members := range []int{10, 1000} {
		for _, messages := range []int{1, 32} {
			b.Run(fmt.Sprintf("members=%d/messages=%d", members, messages), func(b *testing.B) {
				sessions := crowd(b, members)
				burst := said(messages)
				var f conn.Flusher
				b.ReportAllocs()
				for b.Loop() {
					for _, s := range sessions {
						s.Deliver(burst, &f)
					}
					f.Flush()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members*messages), "ns/delivery")
			})
		}
	}
}

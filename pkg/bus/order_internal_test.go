package bus

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus/embedded"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// TestOrderAroundALeader: what is said while NATS learns where the log's leader
// is gets stored in the order in which it was said. Who answers here is not the
// log but a subscriber of its subject that refuses as often as it is told: with
// a real one it is chance which of the messages come before its leader.
func TestOrderAroundALeader(t *testing.T) {
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	b, err := Connect(t.Context(), Options{InProcess: server, Name: "test", PublishWindow: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	leader, err := Connect(t.Context(), Options{InProcess: server, Name: "leader"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(leader.Close)

	var mu sync.Mutex
	var refuse, asked int
	var stored []string
	sub, err := leader.nc.Subscribe(b.logSubject("general"), func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked <= refuse {
			_ = m.Respond(nil) // as a node does that knows no leader; who asked sees to it
			return
		}
		entry := new(busv1.LogEntry)
		if err := proto.Unmarshal(m.Data, entry); err != nil {
			t.Error(err)
		}
		stored = append(stored, entry.GetContent())
		_ = m.Respond(fmt.Appendf(nil, `{"stream":"X","seq":%d}`, len(stored)))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() }) // fails only when the connection is closed
	if err := leader.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}

	const n = 100
	said := 0
	say := func(t *testing.T, refused int) {
		mu.Lock()
		refuse, asked = refused, 0
		mu.Unlock()
		var wg sync.WaitGroup
		for range n {
			wg.Add(1)
			said++
			want := uint64(said)
			b.PublishAsync("general", "", &busv1.LogEntry{Content: proto.String(fmt.Sprint(said))}, func(ack Ack, err error) {
				defer wg.Done()
				if err != nil || ack.Seq != want {
					t.Errorf("%d is stored at %d: %v", want, ack.Seq, err)
				}
			})
		}
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(stored) != said || asked != n+refused {
			t.Errorf("%d of %d are stored, %d were sent, want %d", len(stored), said, asked, n+refused)
		}
	}
	reconnect := func(t *testing.T) {
		again := make(chan struct{}, 1)
		b.OnReconnect(func() {
			select {
			case again <- struct{}{}:
			default:
			}
		})
		if err := b.nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		<-again // the publisher listens too, and was told before
	}
	for _, c := range []struct {
		name    string
		before  func(*testing.T)
		refused int
	}{
		{"the first connection", func(*testing.T) {}, 3},
		{"proven", func(*testing.T) {}, 0},
		{"another connection", reconnect, 2},
		{"another that works", reconnect, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.before(t)
			say(t, c.refused)
		})
	}
}

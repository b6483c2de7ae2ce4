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

// scripted answers publishes in place of the log, with which it is chance what
// comes before its leader.
type scripted struct {
	mu     sync.Mutex
	asked  int
	stored []string
	seqs   map[string]int // by id
	// script is what the n-th to ask meets, from 1 on.
	script func(n int, m *nats.Msg, store func() []byte)
}

func (s *scripted) follow(script func(n int, m *nats.Msg, store func() []byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.script = 0, script
}

func (s *scripted) answer(m *nats.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	s.script(s.asked, m, func() []byte {
		id := m.Header.Get(headerMsgID)
		if s.seqs[id] == 0 {
			entry := new(busv1.LogEntry)
			if err := proto.Unmarshal(m.Data, entry); err != nil {
				panic(err)
			}
			s.stored = append(s.stored, entry.GetContent())
			s.seqs[id] = len(s.stored)
		}
		return fmt.Appendf(nil, `{"stream":"X","seq":%d}`, s.seqs[id])
	})
}

// The errors of Respond are seen by the one who waits for what it sends.

func answers(_ int, m *nats.Msg, store func() []byte) { _ = m.Respond(store()) }

// first has the first few answered otherwise, and not stored.
func first(few int, otherwise func(*nats.Msg)) func(int, *nats.Msg, func() []byte) {
	return func(n int, m *nats.Msg, store func() []byte) {
		if n <= few {
			otherwise(m)
			return
		}
		answers(n, m, store)
	}
}

// TestOrderAroundALeader: what is said while NATS learns where the log's leader
// is gets stored in the order in which it was said, and a log that answers late
// is not asked one by one.
func TestOrderAroundALeader(t *testing.T) {
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	const late = 4 * time.Second
	connect := func(name string) *Bus {
		b, err := Connect(t.Context(), Options{InProcess: server, Name: name, PublishWindow: time.Millisecond, PublishTimeout: 2*late - time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	b, leader := connect("test"), connect("leader")
	log := &scripted{seqs: make(map[string]int)}
	sub, err := leader.nc.Subscribe(b.logSubject("general"), log.answer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() }) // fails only when the connection is closed
	if err := leader.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := make(chan struct{}, 1)
	b.OnReconnect(func() { again <- struct{}{} }) // after the publisher, which listens too
	reconnect := func() {
		if err := b.nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		<-again
	}

	refuses := func(m *nats.Msg) { _ = m.Respond(nil) } // as a node does that knows no leader
	said := 0
	for _, c := range []struct {
		name   string
		before func()
		script func(int, *nats.Msg, func() []byte)
	}{
		{"the first connection", func() {}, first(3, refuses)},
		{"proven", func() {}, answers},
		{"another connection", reconnect, first(2, refuses)},
		{"another that works", reconnect, answers},
		{"is being stored", reconnect, first(1, func(m *nats.Msg) {
			_ = m.Respond([]byte(`{"error":{"code":409,"err_code":10158,"description":"in process"}}`))
		})},
		{"is lost", reconnect, first(1, func(*nats.Msg) {})},
		{"late", reconnect, func(_ int, m *nats.Msg, store func() []byte) {
			answer := store()
			time.AfterFunc(late, func() { _ = m.Respond(answer) })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.before()
			log.follow(c.script)
			var wg sync.WaitGroup
			for range 100 {
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
		})
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if len(log.stored) != said {
		t.Errorf("%d are stored of %d", len(log.stored), said)
	}
}

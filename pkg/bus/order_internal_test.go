package bus

import (
	"fmt"
	"sync"
	"sync/atomic"
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
	asked  map[string]int // how often, by id
	stored []string
	seqs   map[string]int // by id
	script script
}

// script is what a publish meets that is asked for the n-th time; store stores
// it, once, and gives the answer to that.
type script func(n int, m *nats.Msg, store func() []byte)

func (s *scripted) follow(script script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

func (s *scripted) answer(m *nats.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := m.Header.Get(headerMsgID)
	s.asked[id]++
	s.script(s.asked[id], m, func() []byte {
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

// refuses is how a node answers that knows no leader.
func refuses(m *nats.Msg) { _ = m.Respond(nil) }

// isStoring is how a leader answers that has the message and waits for its quorum.
func isStoring(m *nats.Msg) {
	_ = m.Respond([]byte(`{"error":{"code":409,"err_code":10158,"description":"in process"}}`))
}

// until has all answered otherwise until one was asked that often. So who sends
// many then has some of them refused, and those behind stored.
func until(often int, otherwise func(*nats.Msg)) script {
	over := false
	return func(n int, m *nats.Msg, store func() []byte) {
		if over {
			answers(n, m, store)
			return
		}
		otherwise(m)
		over = n == often
	}
}

// slow answers late, and meanwhile that the message is being stored.
func slow(late time.Duration) script {
	return func(n int, m *nats.Msg, store func() []byte) {
		answer := store()
		if n > 1 {
			isStoring(m)
			return
		}
		time.AfterFunc(late, func() { _ = m.Respond(answer) })
	}
}

// withScript gives a bus that publishes to room general of a scripted log.
func withScript(t *testing.T, timeout time.Duration) (*Bus, *scripted) {
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	connect := func(name string) *Bus {
		b, err := Connect(t.Context(), Options{InProcess: server, Name: name, PublishWindow: time.Millisecond, PublishTimeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	b, leader := connect("test"), connect("leader")
	log := &scripted{asked: make(map[string]int), seqs: make(map[string]int), script: answers}
	sub, err := leader.nc.Subscribe(b.logSubject("general"), log.answer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() }) // fails only when the connection is closed
	if err := leader.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b, log
}

// TestOrderAroundALeader: what is said while NATS learns where the log's leader
// is gets stored in the order in which it was said, and a log that answers late
// is not asked one by one.
func TestOrderAroundALeader(t *testing.T) {
	const late = 6 * time.Second
	b, log := withScript(t, 2*late-time.Second)
	said := 0
	var pending sync.WaitGroup
	say := func(t *testing.T) {
		for range 100 {
			pending.Add(1)
			said++
			want := uint64(said)
			b.PublishAsync("general", "", &busv1.LogEntry{Content: proto.String(fmt.Sprint(said))}, func(ack Ack, err error) {
				defer pending.Done()
				if err != nil || ack.Seq != want {
					t.Errorf("%d is stored at %d: %v", want, ack.Seq, err)
				}
			})
		}
	}
	again := make(chan struct{}, 1)
	b.OnReconnect(func() { // after the publisher, which listens too
		select {
		case again <- struct{}{}:
		default:
		}
	})
	none := func(*testing.T) {}
	reconnect := func(t *testing.T) {
		if err := b.nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		<-again
	}
	for _, c := range []struct {
		name      string
		before    func(*testing.T)
		script    script
		meanwhile func(*testing.T)
	}{
		{"the first connection", none, until(3, refuses), none},
		{"proven", none, answers, none},
		{"proven, and refused", none, until(3, refuses), none},
		{"another connection", reconnect, until(2, refuses), none},
		{"another that works", reconnect, answers, none},
		{"is lost", reconnect, until(1, func(*nats.Msg) {}), none},
		{"late", reconnect, slow(late), func(t *testing.T) {
			retried := b.publisher.retried.Load()
			for end := time.Now().Add(late); b.publisher.retried.Load() == retried; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("nothing is sent again")
				}
			}
			say(t)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.before(t)
			log.follow(c.script)
			say(t)
			c.meanwhile(t)
			pending.Wait()
		})
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if len(log.stored) != said {
		t.Errorf("%d are stored of %d", len(log.stored), said)
	}
}

// TestLateAfterOutage: a log that was away for as long as publishes wait, and is
// slow afterwards, takes messages again though there is always one near its
// deadline.
func TestLateAfterOutage(t *testing.T) {
	const patience, late = 2 * time.Second, 300 * time.Millisecond
	b, log := withScript(t, patience)
	var failed, stored atomic.Int64
	log.follow(func(_ int, m *nats.Msg, _ func() []byte) { refuses(m) })
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); stored.Load() == 0; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("none is stored, %d were given up", failed.Load())
		}
		b.PublishAsync("general", "", &busv1.LogEntry{}, func(_ Ack, err error) {
			switch {
			case err == nil:
				stored.Add(1)
			case failed.Add(1) == 1: // from now on
				log.follow(slow(late))
			}
		})
	}
}

package announce

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// observer is what presence hears of a gateway, folded as the contract of
// bus.proto says.
type observer struct {
	t *testing.T

	mu       sync.Mutex
	number   uint64
	deltas   int
	largest  int
	sessions map[string]string // the rooms of each, as text
	leased   map[string]int64
	at       map[uint64]string // the picture after each delta
	beats    []*busv1.GatewayBeat
	parts    []*busv1.PresenceSnapshot
}

func (o *observer) delta(d *busv1.PresenceDelta) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.number++; d.Number != o.number {
		o.t.Errorf("delta %d comes after %d", d.Number, o.number-1)
	}
	o.deltas++
	o.largest = max(o.largest, proto.Size(d))
	for _, c := range d.Changes {
		switch e := c.Change.(type) {
		case *busv1.PresenceChange_Online:
			o.sessions[c.SessionId] = fmt.Sprint(e.Online.Rooms)
			delete(o.leased, c.SessionId)
		case *busv1.PresenceChange_Offline:
			if o.leased[c.SessionId] = e.Offline.LeaseMs; e.Offline.LeaseMs == 0 {
				delete(o.sessions, c.SessionId)
				delete(o.leased, c.SessionId)
			}
		}
	}
	o.at[d.Number] = o.picture()
}

func (o *observer) picture() string {
	var text strings.Builder
	for _, id := range slices.Sorted(maps.Keys(o.sessions)) {
		text.WriteString(id + o.sessions[id] + " ")
	}
	return text.String()
}

func (o *observer) eventually(what string, ok func() bool) {
	o.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		o.mu.Lock()
		good := ok()
		o.mu.Unlock()
		if good {
			return
		}
	}
	o.t.Fatalf("never: %s", what)
}

type setup struct {
	*Announcer
	o   *observer
	ask func(string) error
	// stop ends the announcer.
	stop func()
}

func start(t *testing.T, lease time.Duration) *setup {
	t.Helper()
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	connect := func() *bus.Bus {
		b, err := bus.Connect(t.Context(), bus.Options{InProcess: server, Name: "test"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	o := &observer{t: t, sessions: map[string]string{}, leased: map[string]int64{}, at: map[uint64]string{}}
	presence := connect()
	if _, err := presence.SubscribeDeltas(o.delta); err != nil {
		t.Fatal(err)
	}
	if _, err := presence.SubscribeBeats(func(b *busv1.GatewayBeat) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.beats = append(o.beats, b)
	}); err != nil {
		t.Fatal(err)
	}
	ask, _, err := presence.SubscribeSnapshots(func(part *busv1.PresenceSnapshot) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.parts = append(o.parts, part)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := presence.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := New(connect(), "g_1", lease, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	o.eventually("a beat", func() bool { return len(o.beats) > 0 })
	return &setup{a, o, ask, stop}
}

func user(n int) *wirev1.User {
	return &wirev1.User{Id: fmt.Sprint("u", n), Username: fmt.Sprint("user ", n)}
}

// TestStorm: many at once make few deltas, numbered without a hole; whoever
// waits for the delta that Seen names has seen all of it; and a snapshot in the
// middle is the state after the delta that it names.
func TestStorm(t *testing.T) {
	s := start(t, time.Minute)
	const n = 10_000
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				id := fmt.Sprint("s", i)
				s.Online(id, user(i), time.Now(), []string{"a", "b"})
				switch i % 10 {
				case 0:
					s.Offline(id, false)
				case 1:
					s.Offline(id, true)
				}
				if i%500 == 3 {
					_, seen := s.Seen()
					s.o.eventually("the delta that was named", func() bool { return s.o.number >= seen })
					s.o.mu.Lock()
					if s.o.sessions[id] == "" {
						t.Errorf("%s is not there after delta %d", id, seen)
					}
					s.o.mu.Unlock()
				}
				if i == n/2 {
					if err := s.ask(""); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	s.o.eventually("all sessions", func() bool { return len(s.o.sessions) == n-n/10 && len(s.o.leased) == n/10 })
	s.o.eventually("the snapshot", func() bool { return len(s.o.parts) > 0 && s.o.parts[len(s.o.parts)-1].Last })
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	t.Logf("%d deltas of at most %d bytes", s.o.deltas, s.o.largest)
	snapshot := &observer{sessions: map[string]string{}}
	for i, part := range s.o.parts {
		if part.Number != s.o.parts[0].Number || int(part.Part) != i || part.Last != (i == len(s.o.parts)-1) {
			t.Errorf("part %d: number %d, part %d, last %t", i, part.Number, part.Part, part.Last)
		}
		for _, e := range part.Sessions {
			snapshot.sessions[e.SessionId] = fmt.Sprint(e.Online.Rooms)
		}
	}
	if got, want := snapshot.picture(), s.o.at[s.o.parts[0].Number]; got != want {
		t.Errorf("the snapshot has %d sessions and is not the state after its delta", len(snapshot.sessions))
	}
}

// TestCoalescing: what is announced while a delta is on its way goes into the
// next one together.
func TestCoalescing(t *testing.T) {
	s := start(t, time.Minute)
	s.mu.Lock() // as a flush that takes its time
	for i := range deltaSize + 1 {
		s.add(&busv1.PresenceChange{SessionId: fmt.Sprint(i), Change: &busv1.PresenceChange_Joined{Joined: "a"}})
	}
	s.mu.Unlock()
	if _, seen := s.Seen(); seen > 2 {
		t.Errorf("seen %d, want at most 2", seen)
	}
	s.o.eventually("two deltas", func() bool { return s.o.number == 2 })
}

// TestManyRooms: sessions in very many rooms still fit into NATS's messages.
func TestManyRooms(t *testing.T) {
	s := start(t, time.Minute)
	var rooms []string
	for i := range 1000 {
		rooms = append(rooms, fmt.Sprintf("a-room-with-a-name-as-long-as-they-may-become-at-all-which-%04d", i))
	}
	for i := range 100 {
		s.Online(fmt.Sprint("s", i), user(i), time.Now(), rooms)
	}
	s.o.eventually("all sessions", func() bool { return len(s.o.sessions) == 100 })
	if err := s.ask("g_1"); err != nil {
		t.Fatal(err)
	}
	s.o.eventually("the snapshot", func() bool {
		n := 0
		for _, part := range s.o.parts {
			n += len(part.Sessions)
		}
		return n == 100 && s.o.parts[len(s.o.parts)-1].Last
	})
}

// TestResumeHere: a client that comes back to this gateway before its old
// connection was found dead stays, whatever becomes of that.
func TestResumeHere(t *testing.T) {
	s := start(t, 50*time.Millisecond)
	s.Online("s", user(1), time.Now(), []string{"a"})
	s.Status("s", "away", "lunch")
	s.Online("s", user(1), time.Now(), []string{"a", "b"}) // resumed
	s.Offline("s", true)                                   // the old connection
	s.Joined("s", "c")
	time.Sleep(100 * time.Millisecond) // the lease, had there been one
	s.expire(time.Now())
	_, seen := s.Seen()
	s.o.eventually("the last delta", func() bool { return s.o.number >= seen })
	s.o.mu.Lock()
	if s.o.sessions["s"] != "[a b]" || len(s.o.leased) > 0 {
		t.Errorf("sessions %v, leased %v", s.o.sessions, s.o.leased)
	}
	s.o.mu.Unlock()
	if err := s.ask(""); err != nil {
		t.Fatal(err)
	}
	s.o.eventually("the snapshot", func() bool { return len(s.o.parts) == 1 })
	if e := s.o.parts[0].Sessions; len(e) != 1 || fmt.Sprint(e[0].Online.Rooms) != "[a b c]" || e[0].Online.Status.GetStatus() != "away" {
		t.Errorf("snapshot %v", e)
	}
	s.Offline("s", false)
	s.o.eventually("gone", func() bool { return len(s.o.sessions) == 0 })
}

// TestLease: a lost session stays for its lease, is not changed meanwhile, and
// comes back if it resumes here.
func TestLease(t *testing.T) {
	s := start(t, 100*time.Millisecond)
	s.Online("back", user(1), time.Now(), nil)
	s.Online("lost", user(2), time.Now(), nil)
	s.Offline("back", true)
	s.Offline("lost", true)
	s.Joined("lost", "a")
	s.Offline("lost", false) // nothing twice
	s.o.eventually("both leased", func() bool { return s.o.leased["back"] == 100 && s.o.leased["lost"] == 100 })
	s.Online("back", user(1), time.Now(), []string{"a"})
	s.o.eventually("the lost is gone", func() bool { return fmt.Sprint(s.o.sessions) == "map[back:[a]]" })
	if len(s.sessionsNow()) != 1 {
		t.Errorf("it still knows %v", s.sessionsNow())
	}
	for _, unknown := range []func(){
		func() { s.Joined("nobody", "a") }, func() { s.Left("nobody", "a") },
		func() { s.Status("nobody", "away", "") }, func() { s.Offline("nobody", true) },
	} {
		unknown()
	}
	if _, seen := s.Seen(); seen != s.numberNow() {
		t.Error("something was announced of nobody")
	}
}

func (a *Announcer) sessionsNow() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.sessions))
}

func (a *Announcer) numberNow() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.number
}

// TestLeaving: a gateway that ends says so with its last beat, behind its last
// delta.
func TestLeaving(t *testing.T) {
	s := start(t, time.Minute)
	for i := range 100 {
		s.Online(fmt.Sprint("s", i), user(i), time.Now(), nil)
	}
	s.stop()
	s.o.eventually("the last beat", func() bool { return s.o.beats[len(s.o.beats)-1].Leaving })
	s.o.eventually("all sessions", func() bool { return len(s.o.sessions) == 100 })
	if last := s.o.beats[len(s.o.beats)-1]; last.Delta != s.o.number || last.GatewayId != "g_1" {
		t.Errorf("the last beat is %v, the last delta %d", last, s.o.number)
	}
}

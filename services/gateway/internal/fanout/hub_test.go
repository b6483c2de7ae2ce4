package fanout

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/bustest"
	"github.com/parley-im/parley/pkg/bus/embedded"
	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
	"google.golang.org/protobuf/proto"
)

func connect(t testing.TB, server *embedded.Server) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(context.Background(), bus.Options{InProcess: server, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func embed(t testing.TB) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	return server
}

func hub(t testing.TB, o Options) *Hub {
	t.Helper()
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func message(text string) *busv1.LogEntry {
	return &busv1.LogEntry{Kind: busv1.LogEntry_KIND_CHAT_MESSAGE, Content: proto.String(text), TimeMs: time.Now().UnixMilli()}
}

// put stores n messages and gives their seqs.
func put(t testing.TB, b *bus.Bus, room string, n int) (seqs []uint64) {
	t.Helper()
	for i := range n {
		ack, err := b.Publish(context.Background(), room, "", message(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, ack.Seq)
	}
	return seqs
}

func eventually(t testing.TB, what string, within time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// seqs gives what a visitor got of the past and live.
func (v *visit) seqs() (past, live []uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, f := range v.frames {
		for _, m := range f.GetMessageHistory().GetMessages() {
			past = append(past, seqOf(m))
		}
		if seq := seqOf(f); seq > 0 {
			live = append(live, seq)
		}
	}
	return past, live
}

func enter(t testing.TB, h *Hub, r Request) (*visit, Place) {
	t.Helper()
	v := &visit{request: r}
	r.Member = v
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	place, err := h.Join(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	return v, place
}

// TestJoin is the table of what a joiner is told, on a real log.
func TestJoin(t *testing.T) {
	b := connect(t, embed(t))
	if err := b.EnsureLog(t.Context(), bus.LogConfig{Retention: 100}); err != nil {
		t.Fatal(err)
	}
	long, short, empty := put(t, b, "long", 250), put(t, b, "short", 10), []uint64(nil)
	erased := put(t, b, "erased", 10)
	if _, err := b.Erase(t.Context(), "erased"); err != nil {
		t.Fatal(err)
	}
	h := hub(t, Options{Bus: b})
	old := "another life"
	at := func(seq uint64) *uint64 { return &seq }
	for _, c := range []struct {
		name, room string
		after      *uint64
		epoch      *string
		history    int
		want       []uint64
		recovered  bool
	}{
		{"newest", "long", nil, nil, 50, long[200:], false},
		{"more than memory has", "long", nil, nil, 80, long[170:], false},
		{"more than there is", "long", nil, nil, 1000, long[150:], false},
		{"none", "long", nil, nil, 0, nil, false},
		{"after the last", "long", at(long[249]), nil, 50, nil, true},
		{"after, in memory", "long", at(long[239]), nil, 50, long[240:], true},
		{"after, in the log", "long", at(long[160]), nil, 5, long[161:], true},
		{"after the oldest", "long", at(long[150]), nil, 5, long[151:], true},
		{"after what was just dropped", "long", at(long[149]), nil, 5, long[245:], false},
		{"after what is long dropped", "long", at(long[3]), nil, 200, long[150:], false},
		{"from the beginning of a long log", "long", at(0), nil, 10, long[240:], false},
		{"after what is not stored yet", "long", at(1 << 40), nil, 10, long[240:], false},
		{"after, of another life", "long", at(long[239]), &old, 10, long[240:], false},
		{"after, without history", "long", at(long[3]), nil, 0, nil, false},
		{"all of a short log", "short", at(0), nil, 50, short, true},
		{"newest of a short log", "short", nil, nil, 50, short, false},
		{"after, of a short log of another life", "short", at(short[0]), &old, 3, short[7:], false},
		{"empty", "empty", nil, nil, 50, empty, false},
		{"all of nothing", "empty", at(0), nil, 50, empty, true},
		{"after, in an empty log", "empty", at(7), nil, 50, empty, false},
		{"after, in an erased log", "erased", at(erased[4]), nil, 50, empty, false},
	} {
		for _, first := range []bool{true, false} { // who comes alone, and who joins another
			name := c.name
			var host Place
			if !first {
				name += ", not alone"
				_, host = enter(t, h, Request{Room: c.room, Silent: true})
			}
			v, place := enter(t, h, Request{Room: c.room, After: c.after, ClientEpoch: c.epoch, History: c.history})
			past, live := v.seqs()
			if fmt.Sprint(past) != fmt.Sprint(c.want) || place.Recovered != c.recovered || len(live) > 0 {
				t.Errorf("%s: recovered %t, got %v, want %t, %v", name, place.Recovered, past, c.recovered, c.want)
			}
			h.Leave(t.Context(), place.Membership)
			if host.Membership != nil {
				h.Leave(t.Context(), host.Membership)
			}
		}
	}
	if n := h.Rooms(); n != 0 {
		t.Errorf("%d rooms are open when all have left", n)
	}
}

// TestHubThroughRestarts: members in all rooms get everything in order and
// once while NATS is stopped and started under publishers.
func TestHubThroughRestarts(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	d := bustest.Single(t)
	b := d.Connect(t, bus.Options{})
	if err := b.EnsureLog(t.Context(), bus.LogConfig{Retention: 100_000}); err != nil {
		t.Fatal(err)
	}
	h := hub(t, Options{Bus: d.Connect(t, bus.Options{}), CompareEvery: 500 * time.Millisecond})
	var rooms []string
	visits := map[string][]*visit{}
	for i := range 10 {
		room := fmt.Sprint("r", i)
		rooms = append(rooms, room)
		for range 3 {
			v, _ := enter(t, h, Request{Room: room, Silent: true})
			visits[room] = append(visits[room], v)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	stored := map[string][]uint64{}
	for _, room := range rooms {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ack, err := b.Publish(context.Background(), room, "", message("x"))
				if err != nil {
					continue
				}
				mu.Lock()
				stored[room] = append(stored[room], ack.Seq)
				mu.Unlock()
			}
		})
	}
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		start := d.Stop(0)
		time.Sleep(100 * time.Millisecond)
		start()
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	wg.Wait()
	for _, room := range rooms {
		if len(stored[room]) == 0 {
			t.Fatalf("nothing was stored in %s", room)
		}
		for _, v := range visits[room] {
			var live []uint64
			last := stored[room][len(stored[room])-1]
			eventually(t, "the last message of "+room, 20*time.Second, func() bool {
				_, live = v.seqs()
				return len(live) > 0 && live[len(live)-1] >= last
			})
			got := map[uint64]bool{}
			for i, seq := range live {
				if i > 0 && seq <= live[i-1] {
					t.Fatalf("%s: %d comes after %d", room, seq, live[i-1])
				}
				got[seq] = true
			}
			for _, seq := range stored[room] {
				if !got[seq] {
					t.Fatalf("%s: %d was acknowledged and never delivered", room, seq)
				}
			}
		}
	}
	t.Logf("%d holes, %d filled, %d repeats, %d deliveries", h.holes.Load(), h.filled.Load(), h.repeats.Load(), h.Deliveries())
}

// TestDeleted: a deleted room tells its members and is closed; a late word of
// an earlier life does nothing.
func TestDeleted(t *testing.T) {
	b := connect(t, embed(t))
	if err := b.EnsureLog(t.Context(), bus.LogConfig{}); err != nil {
		t.Fatal(err)
	}
	h := hub(t, Options{Bus: b})
	gone := func(epoch string) {
		t.Helper()
		if err := b.PublishLive("a", &busv1.LiveEvent{Event: &busv1.LiveEvent_Gone{Gone: &busv1.RoomGone{Epoch: epoch}}}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, b, "a", 5)
	v, _ := enter(t, h, Request{Room: "a", Epoch: "x-2", Silent: true})
	gone("x-1")
	seq := put(t, b, "a", 1)[0]
	eventually(t, "a message", 10*time.Second, func() bool { _, live := v.seqs(); return len(live) == 1 && live[0] == seq })
	if v.isGone() {
		t.Error("a word of an earlier life ended the room")
	}
	gone("x-2")
	eventually(t, "the end", 10*time.Second, func() bool { return v.isGone() && h.Rooms() == 0 })

	// The word is lost: whoever comes with a newer life ends the old one.
	v, _ = enter(t, h, Request{Room: "a", Epoch: "x-z", Silent: true})
	next, _ := enter(t, h, Request{Room: "a", Epoch: "x-10", Silent: true})
	if !v.isGone() || next.isGone() || h.Rooms() != 1 {
		t.Errorf("old gone %t, new gone %t, %d rooms", v.isGone(), next.isGone(), h.Rooms())
	}
	if _, err := h.Join(t.Context(), Request{Room: "a", Epoch: "x-z", Silent: true, Member: v}); errs.CodeOf(err) != errs.NotFound {
		t.Errorf("a join of the earlier life: %v", err)
	}
}

// TestNoLogThenLog: joins that give up leave nothing behind while the log is
// out of reach, and one that waits gets in when it comes.
func TestNoLogThenLog(t *testing.T) {
	b := connect(t, embed(t)) // without streams
	h := hub(t, Options{Bus: b})
	for i := range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		v := new(visit)
		if _, err := h.Join(ctx, Request{Room: fmt.Sprint(i), Member: v}); errs.CodeOf(err) != errs.Unavailable {
			t.Errorf("a join without a log: %v", err)
		}
		cancel()
	}
	eventually(t, "the rooms are closed", 10*time.Second, func() bool { return h.Rooms() == 0 })
	done := make(chan error, 1)
	go func() {
		_, err := h.Join(context.Background(), Request{Room: "late", Member: new(visit)})
		done <- err
	}()
	eventually(t, "the room is open", 10*time.Second, func() bool { return h.Rooms() == 1 })
	if err := b.EnsureLog(t.Context(), bus.LogConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// slow is a member that reads nothing for a while, as no member may.
type slow struct {
	*visit
	begin chan struct{}
}

func (s slow) Deliver(burst *Burst, f *conn.Flusher) {
	<-s.begin
	s.visit.Deliver(burst, f)
}

// overflow is more messages than the queues between NATS and a worker hold.
const overflow = 20_000

// flood says n messages in room "a", and gives the last one's seq.
func flood(t testing.TB, server *embedded.Server, n int) uint64 {
	t.Helper()
	// A slow machine is not what is tested.
	b, err := bus.Connect(context.Background(), bus.Options{InProcess: server, Name: "flood", PublishTimeout: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	var said sync.WaitGroup
	slots := make(chan struct{}, 1000)
	var last atomic.Uint64
	for range n {
		said.Add(1)
		slots <- struct{}{}
		b.PublishAsync("a", "", message("x"), func(ack bus.Ack, err error) {
			if err != nil {
				t.Error(err)
			}
			last.Store(max(last.Load(), ack.Seq))
			<-slots
			said.Done()
		})
	}
	said.Wait()
	return last.Load()
}

// TestDrops: what NATS's client drops because a worker is held up is read from
// the log, in order.
func TestDrops(t *testing.T) {
	server := embed(t)
	b := connect(t, server)
	if err := b.EnsureLog(t.Context(), bus.LogConfig{Retention: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	h := hub(t, Options{Bus: connect(t, server), Workers: 1})
	s := slow{new(visit), make(chan struct{})}
	if _, err := h.Join(t.Context(), Request{Room: "a", Member: s, Silent: true}); err != nil {
		t.Fatal(err)
	}
	last := flood(t, server, overflow)
	close(s.begin)
	// However slow the machine is: each page that is read from the log is a step
	// forward, and to be still before the last message is to have lost it.
	for got, moved := 0, time.Now(); got < overflow; time.Sleep(20 * time.Millisecond) {
		s.mu.Lock()
		now := len(s.frames)
		s.mu.Unlock()
		switch {
		case now > got:
			got, moved = now, time.Now()
		case time.Since(moved) > 30*time.Second:
			t.Fatalf("%d of %d were delivered, and then no more", got, overflow)
		}
	}
	_, live := s.seqs()
	for i, seq := range live {
		if seq != live[0]+uint64(i) { // there is no other room
			t.Fatalf("%d comes after %d", seq, live[i-1])
		}
	}
	if len(live) != overflow || live[len(live)-1] != last || h.filled.Load() == 0 {
		t.Errorf("%d of %d were delivered, %d of them read from the log", len(live), overflow, h.filled.Load())
	}
}

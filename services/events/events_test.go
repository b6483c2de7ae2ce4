package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/bustest"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const patience = 60 * time.Second

// deploy connects to a deployment whose log is made.
func deploy(t *testing.T, d *bustest.Deployment, keep bus.LogConfig) *bus.Bus {
	t.Helper()
	b := d.Connect(t, bus.Options{Shards: 2, PublishTimeout: 30 * time.Second})
	eventually(t, "the log is made", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return b.EnsureLog(ctx, keep)
	})
	return b
}

// begin makes the streams and the position of every source, as the first start
// of the service does.
func begin(t *testing.T, d *bustest.Deployment) {
	t.Helper()
	b := d.Connect(t, bus.Options{})
	s := serve(t, b, Options{SaveEvery: 10 * time.Millisecond})
	eventually(t, "events are made", func() error {
		kv, err := b.Bucket(t.Context(), bus.Events)
		if err != nil {
			return err
		}
		known, err := load(t.Context(), b, kv, discard())
		if err != nil {
			return err
		}
		for shard := range b.Deployment().Shards {
			if _, ok := known.source(logName(shard)); !ok {
				return fmt.Errorf("not of shard %d yet", shard)
			}
		}
		return nil
	})
	s.stop()
}

type running struct {
	*Service
	cancel context.CancelFunc
	done   chan struct{}
}

func (r *running) stop() {
	r.cancel()
	<-r.done
}

// serve runs a replica until the test ends or stop is called.
func serve(t *testing.T, b *bus.Bus, o Options) *running {
	t.Helper()
	o.Bus, o.Logger = b, slog.New(slog.NewTextHandler(t.Output(), nil))
	if o.LeaseTimeout == 0 {
		o.LeaseTimeout = 400 * time.Millisecond
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{s, cancel, make(chan struct{})}
	go func() {
		defer close(r.done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(r.stop)
	return r
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func chat(text string) *busv1.LogEntry {
	return &busv1.LogEntry{
		Kind: busv1.LogEntry_KIND_CHAT_MESSAGE, User: &wirev1.User{Id: "alice"}, Content: proto.String(text),
		TimeMs: time.Now().UnixMilli(),
	}
}

func publish(t *testing.T, b *bus.Bus, room string, entry *busv1.LogEntry) uint64 {
	t.Helper()
	ack, err := b.Publish(context.Background(), room, "", entry)
	if err != nil {
		t.Fatal(err)
	}
	return ack.Seq
}

// all reads every event that is stored.
func all(t *testing.T, b *bus.Bus) []*eventsv1.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, newest, _, err := b.EventsState(ctx)
	if err != nil {
		return nil // not made yet
	}
	reader := b.ReadEvents(0, nil)
	defer reader.Close()
	var events []*eventsv1.Event
	for at := uint64(0); at < newest; {
		e, read, err := reader.Next(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		at = read.Seq
		events = append(events, e)
	}
	return events
}

func kinds(events []*eventsv1.Event) (list []string) {
	for _, e := range events {
		list = append(list, bus.EventKind(e))
	}
	return list
}

// The service dies at random moments, without a word, and several replicas
// disagree about who makes events: every acknowledged message is told once, in
// the order of its room.
func TestEveryMessageOnceThroughCrashes(t *testing.T) {
	d := bustest.Single(t)
	b := deploy(t, d, bus.LogConfig{Retention: 1 << 20})
	begin(t, d)
	crash(t, d, b, nil)
}

// The same while each node of a cluster is stopped in turn.
func TestEveryMessageOnceThroughElections(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	d := bustest.Cluster(t)
	b := deploy(t, d, bus.LogConfig{Retention: 1 << 20})
	begin(t, d)
	crash(t, d, b, func() {
		for node := range d.Nodes {
			start := d.Stop(node)
			time.Sleep(time.Second) // how long the node is away
			start()
			time.Sleep(2 * time.Second)
		}
	})
}

func crash(t *testing.T, d *bustest.Deployment, b *bus.Bus, faults func()) {
	t.Helper()
	const rooms = 7
	rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	var mu sync.Mutex
	acked := make(map[string][]uint64)
	var writers sync.WaitGroup
	for i := range rooms {
		room := fmt.Sprint("room-", i)
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				ack, err := b.Publish(context.Background(), room, fmt.Sprint(room, n), chat(fmt.Sprint(n)))
				if err != nil {
					t.Errorf("publishing: %v", err)
					return
				}
				mu.Lock()
				acked[room] = append(acked[room], ack.Seq)
				mu.Unlock()
				time.Sleep(time.Millisecond) // a load, not a flood
			}
		})
	}
	deadline := time.Now().Add(6 * time.Second)
	faulty := make(chan struct{})
	go func() {
		defer close(faulty)
		if faults != nil {
			faults()
		}
	}()
	var survivors []*running
	for lives := 0; ; lives++ {
		done := false
		select {
		case <-faulty:
			done = time.Now().After(deadline)
		default:
		}
		if done {
			t.Logf("%d lives", lives)
			break
		}
		own := d.Connect(t, bus.Options{})
		// A lease of a few milliseconds is lost all the time.
		r := serve(t, own, Options{SaveEvery: 20 * time.Millisecond, LeaseTimeout: time.Duration(4+rng.IntN(60)) * time.Millisecond})
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
		if rng.IntN(4) > 0 {
			own.Close() // nothing can be written down any more
			r.stop()
		} else { // it goes on beside the next
			survivors = append(survivors, r)
		}
	}
	stop()
	writers.Wait()
	// With leases that are shorter than a batch takes they could go on for ever
	// to take it away from one another.
	for _, r := range survivors {
		r.stop()
	}
	serve(t, d.Connect(t, bus.Options{}), Options{LeaseTimeout: 4 * time.Second})
	var events []*eventsv1.Event
	total := 0
	for _, seqs := range acked {
		total += len(seqs)
	}
	eventually(t, "all is told", func() error {
		if events = all(t, b); len(events) < total {
			return fmt.Errorf("%d of %d; %s", len(events), total, missing(events, acked))
		}
		return nil
	})
	told := make(map[string][]uint64)
	ids := make(map[string]bool)
	for _, e := range events {
		m := e.GetMessageStored().GetMessage()
		if m == nil {
			t.Fatalf("an event that nobody expects: %v", e)
		}
		if ids[e.Id] {
			t.Errorf("%s twice", e.Id)
		}
		ids[e.Id] = true
		told[m.RoomId] = append(told[m.RoomId], m.Seq)
	}
	for room, seqs := range acked {
		if fmt.Sprint(told[room]) != fmt.Sprint(seqs) {
			t.Errorf("%s: told %d, acknowledged %d: differ", room, len(told[room]), len(seqs))
		}
	}
	t.Logf("%d messages", total)
}

// missing says what was acknowledged and not told, and where a gap was.
func missing(events []*eventsv1.Event, acked map[string][]uint64) string {
	told := make(map[string]bool)
	var text strings.Builder
	for _, e := range events {
		if m := e.GetMessageStored().GetMessage(); m != nil {
			told[fmt.Sprint(m.RoomId, m.Seq)] = true
		}
		if gap := e.GetGap(); gap != nil {
			fmt.Fprintf(&text, "at %d gap %v; ", e.Position, gap)
		}
	}
	for room, seqs := range acked {
		for i, seq := range seqs {
			if !told[fmt.Sprint(room, seq)] {
				fmt.Fprintf(&text, "%s %d (no. %d of %d); ", room, seq, i, len(seqs))
			}
		}
	}
	return text.String()
}

// What is erased while it is on its way to the service keeps nothing back that
// was said before it.
func TestErasingKeepsNothingBack(t *testing.T) {
	d := bustest.Single(t)
	b := d.Connect(t, bus.Options{Shards: 1})
	eventually(t, "the log is made", func() error { return b.EnsureLog(t.Context(), bus.LogConfig{}) })
	begin(t, d)
	serve(t, d.Connect(t, bus.Options{}), Options{})
	const kept, gone = "kept", "gone"
	for round := range 20 {
		var said sync.WaitGroup
		text := fmt.Sprint("round ", round)
		said.Go(func() {
			if _, err := b.Publish(context.Background(), kept, "", chat(text)); err != nil {
				t.Error(err)
			}
		})
		for range 30 {
			said.Go(func() {
				if _, err := b.Publish(context.Background(), gone, "", chat("to be erased")); err != nil {
					t.Error(err)
				}
			})
		}
		said.Go(func() {
			for range 10 {
				if _, err := b.Erase(context.Background(), gone); err != nil {
					t.Error(err)
				}
			}
		})
		said.Wait()
		if _, err := b.Erase(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		eventually(t, text+" is told", func() error {
			for _, e := range all(t, b) {
				if e.GetMessageStored().GetMessage().GetContent() == text {
					return nil
				}
			}
			return errors.New("not yet")
		})
	}
}

// What the log drops before it is read is told as a gap, and nothing else is.
func TestGapWhereTheLogHasDroppedEntries(t *testing.T) {
	d := bustest.Single(t)
	b := deploy(t, d, bus.LogConfig{Retention: 10})
	begin(t, d)
	for i := range 35 {
		publish(t, b, "busy", chat(fmt.Sprint(i)))
	}
	serve(t, d.Connect(t, bus.Options{}), Options{})
	var events []*eventsv1.Event
	eventually(t, "11 events", func() error {
		if events = all(t, b); len(events) != 11 {
			return fmt.Errorf("%v", kinds(events))
		}
		return nil
	})
	gap := events[0].GetGap()
	if gap.GetFrom() != 1 || gap.GetTo() != 25 || gap.GetSource() == "" {
		t.Errorf("the gap is %v", gap)
	}
	for i, e := range events[1:] {
		if seq := e.GetMessageStored().GetMessage().GetSeq(); seq != uint64(26+i) {
			t.Errorf("event %d tells of %d", i, seq)
		}
	}
}

// Entries that were erased before they were read are no gap.
func TestNoGapWhereEntriesWereErased(t *testing.T) {
	d := bustest.Single(t)
	b := deploy(t, d, bus.LogConfig{Retention: 100})
	begin(t, d)
	first := publish(t, b, "room", chat("a secret"))
	publish(t, b, "room", chat("stays"))
	if err := b.EraseEntry(context.Background(), "room", first); err != nil {
		t.Fatal(err)
	}
	serve(t, d.Connect(t, bus.Options{}), Options{})
	eventually(t, "one event", func() error {
		if got := fmt.Sprint(kinds(all(t, b))); got != "[message.stored]" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
}

// The contents of a deleted message are nowhere in the stream, whether it was
// told before or is read together with its deletion.
func TestDeletedMessagesAreErased(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprint("told=", told), func(t *testing.T) {
			d := bustest.Single(t)
			b := deploy(t, d, bus.LogConfig{})
			begin(t, d)
			start := func() { serve(t, d.Connect(t, bus.Options{}), Options{}) }
			want := func(list string) {
				t.Helper()
				eventually(t, list, func() error {
					if got := fmt.Sprint(kinds(all(t, b))); got != list {
						return fmt.Errorf("%s", got)
					}
					return nil
				})
			}
			if told {
				start()
			}
			publish(t, b, "room", chat("before"))
			target := publish(t, b, "room", chat("a secret"))
			publish(t, b, "room", &busv1.LogEntry{Kind: busv1.LogEntry_KIND_EDIT, Target: target, Content: proto.String("a new secret")})
			other := publish(t, b, "room", chat("after"))
			publish(t, b, "room", &busv1.LogEntry{Kind: busv1.LogEntry_KIND_EDIT, Target: other, Content: proto.String("after, edited")})
			if told {
				want("[message.stored message.stored message.edited message.stored message.edited]")
			}
			publish(t, b, "room", &busv1.LogEntry{Kind: busv1.LogEntry_KIND_DELETION, Target: target})
			if told {
				want("[message.stored message.stored message.edited message.deleted]")
			} else {
				start()
				want("[message.stored message.stored message.edited message.stored message.edited message.deleted]")
			}
			for _, e := range all(t, b) {
				for _, about := range []*eventsv1.MessageEvent{e.GetMessageStored(), e.GetMessageEdited()} {
					m := about.GetMessage()
					if m != nil && (m.Seq == target || m.Target == target) && m.Content != nil {
						t.Errorf("still there: %v", e)
					}
					if m != nil && m.Seq != target && m.Target != target && m.Content == nil {
						t.Errorf("went as well: %v", e)
					}
				}
			}
		})
	}
}

// A deployment that had messages before it had events is told where they begin.
func TestEventsBeginWithAGap(t *testing.T) {
	d := bustest.Single(t)
	b := deploy(t, d, bus.LogConfig{})
	publish(t, b, "room", chat("before"))
	serve(t, d.Connect(t, bus.Options{}), Options{})
	eventually(t, "the gap", func() error {
		if got := fmt.Sprint(kinds(all(t, b))); got != "[gap]" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	publish(t, b, "room", chat("after"))
	eventually(t, "the message", func() error {
		if got := fmt.Sprint(kinds(all(t, b))); got != "[gap message.stored]" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func noMeter() metric.Meter { return noop.Meter{} }

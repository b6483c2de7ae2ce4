package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/bustest"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// What is written down beside the events: it can be old, torn or of another
// stream, and no event is lost or told twice for it.

func bucket(t *testing.T, b *bus.Bus) *bus.KV {
	t.Helper()
	kv, err := b.Bucket(t.Context(), bus.Events)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func loaded(t *testing.T, b *bus.Bus) *state {
	t.Helper()
	s, err := load(t.Context(), b, bucket(t, b), discard())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A replica that makes events no more, and goes on as if it did, cannot put what
// it knew beside what its successor has written.
func TestOnlyOneWritesDown(t *testing.T) {
	b := deploy(t, bustest.Single(t), bus.LogConfig{})
	if err := b.EnsureEvents(t.Context(), bus.EventsConfig{}); err != nil {
		t.Fatal(err)
	}
	kv := bucket(t, b)
	online := func(s *state, user string, online bool) {
		event := &eventsv1.Event{Event: &eventsv1.Event_UserOffline{UserOffline: &eventsv1.UserEvent{User: &wirev1.User{Id: user}}}}
		if online {
			event.Event = &eventsv1.Event_UserOnline{UserOnline: &eventsv1.UserEvent{User: &wirev1.User{Id: user}}}
		}
		s.event++
		if err := b.AppendEvents(t.Context(), s.event-1, fmt.Sprint(s.event), []*eventsv1.Event{event}); err != nil {
			t.Fatal(err)
		}
		event.Position = s.event
		s.apply(event)
	}
	old := loaded(t, b)
	online(old, "alice", true)
	if err := old.save(t.Context(), kv); err != nil {
		t.Fatal(err)
	}
	online(old, "alice", false) // and it stops here for a while

	next := loaded(t, b)
	online(next, "alice", true)
	if err := next.save(t.Context(), kv); err != nil {
		t.Fatal(err)
	}
	if err := old.save(t.Context(), kv); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("the one before wrote: %v", err)
	}
	if there, _ := loaded(t, b).whereabouts("alice"); !there {
		t.Error("alice was last told to be online, and is known to be not")
	}
	// Its successor goes on, also where a part becomes empty and full again.
	for i := range 3 {
		online(next, "alice", i%2 == 1)
		if err := next.save(t.Context(), kv); err != nil {
			t.Fatal(err)
		}
	}
	if there, _ := loaded(t, b).whereabouts("alice"); there {
		t.Error("alice was last told to be offline, and is known to be not")
	}
}

// From the first moment on at which the service reads a log nothing that is
// said in it is missed, though the service ends at once, without a word.
func TestNothingIsMissedFromTheBeginning(t *testing.T) {
	d := bustest.Single(t)
	b := deploy(t, d, bus.LogConfig{})
	own := d.Connect(t, bus.Options{})
	s := serve(t, own, Options{SaveEvery: time.Hour})
	eventually(t, "its beginning is written down", func() error {
		if err := b.EnsureEvents(t.Context(), bus.EventsConfig{}); err != nil {
			return err
		}
		known := loaded(t, b)
		for shard := range b.Deployment().Shards {
			if _, ok := known.source(logName(shard)); !ok {
				return fmt.Errorf("not of shard %d", shard)
			}
		}
		return nil
	})
	own.Close()
	s.stop()
	publish(t, b, "room", chat("said while nobody listened"))
	serve(t, d.Connect(t, bus.Options{}), Options{})
	wantKinds(t, b, "message.stored")
}

// Where a stream has lost its end, or was restored from an older copy, events go
// on, and of what cannot be known a gap is told.
func TestStreamsThatWereRestored(t *testing.T) {
	d := bustest.Single(t)
	b := deploy(t, d, bus.LogConfig{})
	begin(t, d)
	at := publish(t, b, "room", chat("first"))
	s := serve(t, d.Connect(t, bus.Options{}), Options{})
	wantKinds(t, b, "message.stored")
	s.stop()
	written := func(change func(*busv1.EventsPosition)) {
		t.Helper()
		kv := bucket(t, b)
		held, err := kv.Get(t.Context(), keyPosition)
		if err != nil {
			t.Fatal(err)
		}
		record := new(busv1.EventsPosition)
		if err := proto.Unmarshal(held.Value, record); err != nil {
			t.Fatal(err)
		}
		change(record)
		value, err := proto.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Update(t.Context(), keyPosition, value, held.Revision); err != nil {
			t.Fatal(err)
		}
	}
	shard := ""
	for _, e := range all(t, b) {
		shard = e.Source.Name
	}
	written(func(p *busv1.EventsPosition) { p.Event, p.Sources[shard].Seq = p.Event+100, at+100 })
	publish(t, b, "room", chat("second"))
	s = serve(t, d.Connect(t, bus.Options{}), Options{})
	wantKinds(t, b, "message.stored", "message.stored")
	s.stop()
	written(func(p *busv1.EventsPosition) { p.Sources[shard].Seq += 100 })
	serve(t, d.Connect(t, bus.Options{}), Options{})
	events := wantKinds(t, b, "message.stored", "message.stored", "gap")
	if gap := events[2].GetGap(); gap.From != at+2 || gap.To != at+101 || gap.Source != shard {
		t.Errorf("the gap is %v", gap)
	}
	publish(t, b, "room", chat("third"))
	wantKinds(t, b, "message.stored", "message.stored", "gap", "message.stored")
}

// What has fallen to its age is told as a gap though nothing comes behind it.
func TestGapAtTheEndOfTheLog(t *testing.T) {
	d := bustest.Single(t)
	b := deploy(t, d, bus.LogConfig{MaxAge: time.Second, Window: time.Second})
	begin(t, d)
	seq := publish(t, b, "room", chat("unheard"))
	eventually(t, "it has gone", func() error {
		for shard := range b.Deployment().Shards {
			if first, last, err := b.ShardBounds(t.Context(), shard); err != nil || last > 0 && first <= last {
				return fmt.Errorf("%d to %d, %v", first, last, err)
			}
		}
		return nil
	})
	serve(t, d.Connect(t, bus.Options{}), Options{})
	if gap := wantKinds(t, b, "gap")[0].GetGap(); gap.From != seq || gap.To != seq {
		t.Errorf("the gap is %v", gap)
	}
}

// What is said in the next life of a room stays told, though the end of the one
// before is read later than it was said.
func TestTheNextLifeOfARoomStays(t *testing.T) {
	d := bustest.Single(t)
	b := deploy(t, d, bus.LogConfig{})
	begin(t, d)
	s := serve(t, d.Connect(t, bus.Options{}), Options{})
	r := recordsOf(t, b)
	m := &maker{s: s.Service}
	erase := func(want ...string) {
		t.Helper()
		if err := m.eraseRoom(context.Background(), "room", time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, e := range all(t, b) {
			if stored := e.GetMessageStored(); stored != nil {
				left = append(left, stored.Message.GetContent())
			}
		}
		slices.Sort(left) // two rooms may be told of in either order
		if !slices.Equal(left, want) {
			t.Errorf("told are %q, want %q", left, want)
		}
	}
	publish(t, b, "room", chat("of the first life"))
	wantKinds(t, b, "message.stored")
	if _, err := b.Erase(t.Context(), "room"); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "other", chat("elsewhere"))
	r.put(roomKey("room"), &registryv1.Room{Name: "Room"}, 0)
	publish(t, b, "room", chat("of the second life"))
	eventually(t, "all is told", func() error {
		if n := len(all(t, b)); n != 4 {
			return fmt.Errorf("%d events", n)
		}
		return nil
	})
	erase("elsewhere", "of the second life")
	held, err := r.kv.Get(t.Context(), roomKey("room"))
	if err != nil {
		t.Fatal(err)
	}
	r.remove(roomKey("room"), &registryv1.Room{Name: "Room"}, held.Revision)
	eventually(t, "the second life is over", func() error {
		if got := kinds(all(t, b)); got[len(got)-1] != "room.deleted" {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	erase("elsewhere")
}

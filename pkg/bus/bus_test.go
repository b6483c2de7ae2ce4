package bus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

func start(t testing.TB) (*embedded.Server, *bus.Bus) {
	t.Helper()
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	return server, connect(t, server, bus.Options{})
}

func connect(t testing.TB, server *embedded.Server, opts bus.Options) *bus.Bus {
	t.Helper()
	opts.InProcess = server
	b, err := bus.Connect(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func entry(text string) *busv1.LogEntry {
	return &busv1.LogEntry{Kind: busv1.LogEntry_KIND_CHAT_MESSAGE, Content: proto.String(text)}
}

func publish(t testing.TB, b *bus.Bus, room, id, text string) bus.Ack {
	t.Helper()
	ack, err := b.Publish(context.Background(), room, id, entry(text))
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

func TestPublishIsStoredOnceAndRepublished(t *testing.T) {
	_, b := start(t)
	ctx := t.Context()
	if err := b.EnsureLog(ctx, bus.LogConfig{}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []bus.Stored
	feed := b.NewFeed(2, func(_ int, batch []bus.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		for _, d := range batch {
			if d.Stored != nil {
				got = append(got, *d.Stored)
			}
		}
	})
	defer feed.Close()
	sub, err := feed.Subscribe("general")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Stop()
	id := ids.Message("general", "u", "1")
	first := publish(t, b, "general", id, "one")
	publish(t, b, "other", "", "elsewhere")
	second := publish(t, b, "general", "", "two")
	again := publish(t, b, "general", id, "one")
	if first.Duplicate || !again.Duplicate || again.Seq != first.Seq {
		t.Errorf("acks %+v and %+v, want the second to be a duplicate of the first", first, again)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		mu.Lock()
		n := len(got)
		mu.Unlock()
		if n == 2 || time.Now().After(deadline) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 2 || got[0].Seq != first.Seq || got[0].Prev != 0 || got[1].Seq != second.Seq || got[1].Prev != first.Seq ||
		got[1].Entry.GetContent() != "two" || got[0].Room != "general" {
		t.Errorf("republished: %+v", got)
	}
}

func TestReading(t *testing.T) {
	_, b := start(t)
	ctx := t.Context()
	const retention = 300
	if err := b.EnsureLog(ctx, bus.LogConfig{Retention: retention}); err != nil {
		t.Fatal(err)
	}
	// Rooms of very different rates, so that sequences are spread unevenly.
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[string][]uint64{}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := range 3000 {
		room := "busy"
		switch {
		case i < 40 || i > 2900:
			room = "edges"
		case rng.IntN(5) == 0:
			room = "some"
		case rng.IntN(200) == 0:
			room = "rare"
		}
		wg.Add(1)
		b.PublishAsync(room, "", entry(fmt.Sprint(i)), func(ack bus.Ack, err error) {
			defer wg.Done()
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			want[room] = append(want[room], ack.Seq)
			mu.Unlock()
		})
	}
	wg.Wait()
	for room, seqs := range want {
		if len(seqs) > retention {
			seqs = seqs[len(seqs)-retention:]
		}
		tail, err := b.Tail(ctx, room)
		if err != nil || tail != seqs[len(seqs)-1] {
			t.Fatalf("%s: tail %d, %v", room, tail, err)
		}
		if first, err := b.First(ctx, room); err != nil || first != seqs[0] {
			t.Fatalf("%s: first %d, %v", room, first, err)
		}
		for range 40 {
			limit := 1 + rng.IntN(len(seqs)+20)
			at := rng.IntN(len(seqs))
			check := func(what string, page bus.Page, err error, want []uint64, more bool) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				var got []uint64
				for _, s := range page.Entries {
					got = append(got, s.Seq)
				}
				if fmt.Sprint(got) != fmt.Sprint(want) || page.More != more {
					t.Fatalf("%s of %s: got %v more %v, want %v more %v", what, room, got, page.More, want, more)
				}
			}
			page, err := b.ReadAfter(ctx, room, seqs[at], limit, 0)
			end := min(at+1+limit, len(seqs))
			check("after", page, err, seqs[at+1:end], end < len(seqs))
			page, err = b.ReadNewest(ctx, room, seqs[at], limit, 0)
			begin := max(0, at-limit)
			check("before", page, err, seqs[begin:at], begin > 0 && at > begin)
			page, err = b.ReadNewest(ctx, room, 0, limit, 0)
			begin = max(0, len(seqs)-limit)
			check("newest", page, err, seqs[begin:], begin > 0)
		}
	}
	if page, err := b.ReadNewest(ctx, "nobody", 0, 10, 0); err != nil || len(page.Entries) != 0 || page.More {
		t.Errorf("an empty room gave %+v, %v", page, err)
	}
	n, err := b.Erase(ctx, "busy")
	if err != nil || n != retention {
		t.Errorf("erased %d, %v", n, err)
	}
	if tail, err := b.Tail(ctx, "busy"); err != nil || tail != 0 {
		t.Errorf("tail of an erased room %d, %v", tail, err)
	}
}

func TestPublishWithoutAStreamIsUnavailable(t *testing.T) {
	server, _ := start(t)
	b := connect(t, server, bus.Options{PublishTimeout: 300 * time.Millisecond})
	_, err := b.Publish(t.Context(), "general", "", entry("x"))
	if e := errs.From(err); e == nil || e.Code != errs.Unavailable || e.RetryAfter == 0 {
		t.Errorf("got %v, want unavailable with a time to try again", err)
	}
}

func TestPublishWaitsForTheStream(t *testing.T) {
	_, b := start(t)
	type result struct {
		n   int
		ack bus.Ack
		err error
	}
	results := make(chan result, 20)
	for i := range 20 {
		b.PublishAsync("general", "", entry(fmt.Sprint(i)), func(ack bus.Ack, err error) { results <- result{i, ack, err} })
	}
	if err := b.EnsureLog(t.Context(), bus.LogConfig{}); err != nil {
		t.Fatal(err)
	}
	seqs := map[int]uint64{}
	for range 20 {
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		seqs[r.n] = r.ack.Seq
	}
	for i := 1; i < 20; i++ {
		if seqs[i] <= seqs[i-1] {
			t.Fatalf("publish %d got seq %d, the one before it %d", i, seqs[i], seqs[i-1])
		}
	}
}

func TestInFlightIsBounded(t *testing.T) {
	server, _ := start(t)
	b := connect(t, server, bus.Options{MaxInFlight: 3})
	var refused int
	for range 5 { // no stream answers yet
		b.PublishAsync("general", "", entry("x"), func(_ bus.Ack, err error) {
			if errs.CodeOf(err) == errs.Unavailable {
				refused++ // called before PublishAsync returns
			}
		})
	}
	if refused != 2 {
		t.Errorf("%d of 5 were refused, want 2", refused)
	}
	if err := b.EnsureLog(t.Context(), bus.LogConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Drained(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestDeployment(t *testing.T) {
	server, b := start(t)
	if b.Deployment().Shards != 1 || b.Deployment().Incarnation == "" {
		t.Errorf("new deployment: %+v", b.Deployment())
	}
	other := connect(t, server, bus.Options{})
	if other.Deployment() != b.Deployment() {
		t.Errorf("two processes see %+v and %+v", b.Deployment(), other.Deployment())
	}
	if _, err := bus.Connect(t.Context(), bus.Options{InProcess: server, Shards: 7}); err == nil {
		t.Error("another number of shards was taken")
	} else {
		t.Log(err)
	}
	if b.Epoch(5) == b.Epoch(6) {
		t.Error("two lives of a room share an epoch")
	}
}

func TestKV(t *testing.T) {
	_, b := start(t)
	ctx := t.Context()
	kv, err := b.Bucket(ctx, bus.Rooms)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(ctx, "r.a"); err != bus.ErrNotFound {
		t.Errorf("Get of nothing: %v", err)
	}
	rev, err := kv.Create(ctx, "r.a", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(ctx, "r.a", nil); err != bus.ErrExists {
		t.Errorf("second Create: %v", err)
	}
	watch, err := kv.Watch(ctx, "r.>")
	if err != nil {
		t.Fatal(err)
	}
	next := func() bus.Entry {
		t.Helper()
		select {
		case e := <-watch:
			return e
		case <-time.After(5 * time.Second):
			t.Fatal("the watch is silent")
			return bus.Entry{}
		}
	}
	if e := next(); e.Key != "r.a" || string(e.Value) != "1" || e.Revision != rev {
		t.Errorf("watch began with %+v", e)
	}
	if e := next(); e.Key != "" {
		t.Errorf("want the end of the beginning, got %+v", e)
	}
	rev2, err := kv.Update(ctx, "r.a", []byte("2"), rev)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(ctx, "r.a", []byte("3"), rev); err != bus.ErrConflict {
		t.Errorf("Update of an old revision: %v", err)
	}
	if e := next(); string(e.Value) != "2" || e.Revision != rev2 {
		t.Errorf("watch went on with %+v", e)
	}
	if keys, err := kv.Keys(ctx, "r.*"); err != nil || fmt.Sprint(keys) != "[r.a]" {
		t.Errorf("keys %v, %v", keys, err)
	}
	if err := kv.Delete(ctx, "r.a", rev); err != bus.ErrConflict {
		t.Errorf("Delete of an old revision: %v", err)
	}
	if err := kv.Delete(ctx, "r.a", rev2); err != nil {
		t.Fatal(err)
	}
	if e := next(); !e.Deleted {
		t.Errorf("watch ended with %+v", e)
	}
	if _, err := kv.Get(ctx, "r.a"); err != bus.ErrNotFound {
		t.Errorf("Get of what was deleted: %v", err)
	}
	if _, err := kv.Create(ctx, "r.a", []byte("4")); err != nil {
		t.Errorf("Create of what was deleted: %v", err)
	}
}

package bus_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
)

// TestCloseUnderPublishers: every publish ends once, and none after Close.
func TestCloseUnderPublishers(t *testing.T) {
	for range 20 {
		server, b := start(t)
		if err := b.EnsureLog(t.Context(), bus.LogConfig{}); err != nil {
			t.Fatal(err)
		}
		other, err := bus.Connect(t.Context(), bus.Options{InProcess: server})
		if err != nil {
			t.Fatal(err)
		}
		var begun, ended, late atomic.Int64
		var closed atomic.Bool
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for !closed.Load() {
					begun.Add(1)
					other.PublishAsync("general", "", entry("x"), func(_ bus.Ack, err error) {
						if closed.Load() && err == nil {
							late.Add(1)
						}
						if err != nil && errs.CodeOf(err) != errs.Unavailable {
							t.Error(err)
						}
						ended.Add(1)
					})
				}
			})
		}
		for ended.Load() < 100 {
			time.Sleep(time.Millisecond)
		}
		other.Close()
		closed.Store(true)
		wg.Wait()
		if late.Load() > 0 || begun.Load() != ended.Load() {
			t.Fatalf("%d began, %d ended, %d after Close", begun.Load(), ended.Load(), late.Load())
		}
	}
}

// TestRefusedAtOnce: what is refused is told before PublishAsync returns, and
// whoever publishes from there does not block.
func TestRefusedAtOnce(t *testing.T) {
	server, _ := start(t) // no stream answers
	b := connect(t, server, bus.Options{MaxInFlight: 1, PublishTimeout: 100 * time.Millisecond})
	done := make(chan error, 2)
	b.PublishAsync("general", "", entry("x"), func(_ bus.Ack, err error) {
		// Called by the bus: publishing here must not wait for it.
		b.PublishAsync("general", "", entry("y"), func(_ bus.Ack, err error) { done <- err })
		done <- err
	})
	for range 2 {
		select {
		case err := <-done:
			if errs.CodeOf(err) != errs.Unavailable {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a publish does not end")
		}
	}
}

// TestMarkersExpire: what says that a key was deleted is itself forgotten, also
// in a bucket that was made before that could be set.
func TestMarkersExpire(t *testing.T) {
	server, b := start(t)
	nc, err := nats.Connect("", nats.InProcessServer(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: string(bus.Rooms)}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []bus.Bucket{bus.Rooms, bus.Users, bus.Sessions} {
		kv, err := b.Bucket(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(ctx, "a.b", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := kv.Delete(ctx, "a.b", 0); err != nil {
			t.Fatal(err)
		}
		stream, err := js.Stream(ctx, "KV_"+string(name))
		if err != nil {
			t.Fatal(err)
		}
		marker, err := stream.GetLastMsgForSubject(ctx, "$KV."+string(name)+".a.b")
		if err != nil {
			t.Fatal(err)
		}
		if ttl := marker.Header.Get(jetstream.MsgTTLHeader); ttl != "24h0m0s" {
			t.Errorf("%s: the marker lasts %q", name, ttl)
		}
		if _, err := kv.Create(ctx, "a.b", nil); err != nil {
			t.Errorf("%s: creating what was deleted: %v", name, err)
		}
	}
}

package auth

import (
	"log/slog"
	"testing"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
)

// Replicas that all found no key keep the one whose record came first.
func TestFirstKeyStays(t *testing.T) {
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	b, err := bus.Connect(t.Context(), bus.Options{InProcess: server})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	kv, err := b.Bucket(t.Context(), bus.Keys)
	if err != nil {
		t.Fatal(err)
	}
	k := &keyring{bus: b, log: slog.New(slog.DiscardHandler)}
	var first string
	for range 3 {
		if err := k.first(t.Context(), kv); err != nil {
			t.Fatal(err)
		}
		e, err := kv.Get(t.Context(), keyCurrent)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(e.Value)
		}
		if string(e.Value) != first {
			t.Fatalf("the key changed from %s to %s", first, e.Value)
		}
	}
	keys, err := kv.Keys(t.Context(), ">")
	if err != nil || len(keys) != 3 {
		t.Errorf("the bucket has %v, %v", keys, err)
	}
	entry, err := kv.Get(t.Context(), keyPrivate+first)
	if err != nil {
		t.Fatal(err)
	}
	r := &ring{entries: map[string]bus.Entry{entry.Key: entry}}
	if err := k.load(r, first); err != nil || k.current.Load().KeyID() != first {
		t.Errorf("loading it: %v", err)
	}
}

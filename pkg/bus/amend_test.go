package bus_test

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

func TestGetAndEraseOneEntry(t *testing.T) {
	_, b := start(t)
	ctx := t.Context()
	if err := b.EnsureLog(ctx, bus.LogConfig{}); err != nil {
		t.Fatal(err)
	}
	first := publish(t, b, "general", "", "one")
	other := publish(t, b, "other", "", "not yours")
	second := publish(t, b, "general", "", "two")

	got, err := b.Get(ctx, "general", first.Seq)
	if err != nil || got.Room != "general" || got.Seq != first.Seq || got.Entry.GetContent() != "one" {
		t.Errorf("Get: %+v, %v", got, err)
	}
	for _, seq := range []uint64{0, other.Seq, second.Seq + 1} {
		if got, err := b.Get(ctx, "general", seq); !errors.Is(err, bus.ErrNotFound) {
			t.Errorf("Get of %d, which the room has not: %+v, %v", seq, got, err)
		}
		if err := b.EraseEntry(ctx, "general", seq); err != nil {
			t.Errorf("EraseEntry of %d, which the room has not: %v", seq, err)
		}
	}
	if _, err := b.Get(ctx, "other", other.Seq); err != nil {
		t.Errorf("erasing in one room took from another: %v", err)
	}
	for range 2 {
		if err := b.EraseEntry(ctx, "general", first.Seq); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Get(ctx, "general", first.Seq); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("Get of what was erased: %v", err)
	}
	page, err := b.ReadAfter(ctx, "general", 0, 10, 0)
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Seq != second.Seq {
		t.Errorf("after erasing the log has %+v, %v", page, err)
	}
}

func TestCountAfter(t *testing.T) {
	_, b := start(t)
	ctx := t.Context()
	if err := b.EnsureLog(ctx, bus.LogConfig{}); err != nil {
		t.Fatal(err)
	}
	var seqs []uint64
	for i := range 5 {
		publish(t, b, "noise", "", "x")
		seqs = append(seqs, publish(t, b, "general", "", fmt.Sprint(i)).Seq)
	}
	for i, seq := range seqs {
		if n, err := b.CountAfter(ctx, "general", seq); err != nil || n != uint64(4-i) {
			t.Errorf("after %d: %d, %v, want %d", seq, n, err, 4-i)
		}
	}
	if n, err := b.CountAfter(ctx, "general", 0); err != nil || n != 5 {
		t.Errorf("after 0: %d, %v", n, err)
	}
	if n, err := b.CountAfter(ctx, "nobody", 0); err != nil || n != 0 {
		t.Errorf("of an empty room: %d, %v", n, err)
	}
}

func TestWithoutDeleted(t *testing.T) {
	at := func(seq uint64, kind busv1.LogEntry_Kind, target uint64) bus.Stored {
		return bus.Stored{Seq: seq, Entry: &busv1.LogEntry{Kind: kind, Target: target, Content: proto.String("x")}}
	}
	const message, edit, deletion = busv1.LogEntry_KIND_CHAT_MESSAGE, busv1.LogEntry_KIND_EDIT, busv1.LogEntry_KIND_DELETION
	entries := []bus.Stored{
		at(1, message, 0), at(2, message, 0), at(3, edit, 1), at(4, edit, 2), at(5, deletion, 1), at(6, edit, 1), at(7, message, 0),
	}
	kept, deleted := bus.WithoutDeleted(entries)
	var seqs []uint64
	for _, s := range kept {
		seqs = append(seqs, s.Seq)
	}
	if fmt.Sprint(seqs, deleted) != "[2 4 5 7] [1 3 6]" {
		t.Errorf("kept %v, deleted %v", seqs, deleted)
	}
	for i, s := range entries {
		if s.Seq != uint64(i+1) {
			t.Fatal("the list itself was changed")
		}
	}
	if kept, deleted := bus.WithoutDeleted(entries[:4]); len(kept) != 4 || deleted != nil {
		t.Errorf("without a deletion: kept %d, deleted %v", len(kept), deleted)
	}
}

func TestDurability(t *testing.T) {
	server, b := start(t)
	synced := connect(t, server, bus.Options{Synced: true})
	if d := b.Durability(); d != (bus.Durability{}) {
		t.Errorf("before anything is known: %+v", d)
	}
	if err := b.EnsureLog(t.Context(), bus.LogConfig{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		b    *bus.Bus
		want bus.Durability
	}{{b, bus.Durability{Kept: "file"}}, {synced, bus.Durability{Kept: "file", Synced: true}}} {
		if _, err := c.b.LogLimits(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if d := c.b.Durability(); d != c.want {
			t.Errorf("got %+v, want %+v", d, c.want)
		}
	}
}

func TestKVClear(t *testing.T) {
	_, b := start(t)
	ctx := t.Context()
	kv, err := b.Bucket(ctx, bus.Reads)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a.x", "a.y", "ab.x"} {
		if _, err := kv.Put(ctx, key, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := kv.Clear(ctx, "a.*"); err != nil {
			t.Fatal(err)
		}
	}
	if keys, err := kv.Keys(ctx, ">"); err != nil || fmt.Sprint(keys) != "[ab.x]" {
		t.Errorf("left %v, %v", keys, err)
	}
	if _, err := kv.Create(ctx, "a.x", []byte("2")); err != nil {
		t.Errorf("creating what was cleared: %v", err)
	}
}

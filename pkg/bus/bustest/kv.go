package bustest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/bus"
)

// testKV: a key's writers see one another, and nothing else.
func testKV(t *testing.T, d *Deployment) {
	b, other := d.Connect(t, bus.Options{}), d.Connect(t, bus.Options{})
	ctx := t.Context()
	open := func(b *bus.Bus) *bus.KV {
		kv, err := b.Bucket(ctx, bus.Rooms)
		if err != nil {
			t.Fatal(err)
		}
		return kv
	}
	one, two := open(b), open(other)
	for i := range 100 {
		key := fmt.Sprint("r.", i)
		rev, err := one.Create(ctx, key, []byte("a"))
		if err != nil {
			t.Fatal(err)
		}
		if e, err := two.Get(ctx, key); err != nil || string(e.Value) != "a" || e.Revision != rev {
			t.Fatalf("what was just created is read as %+v, %v", e, err)
		}
		if _, err := two.Create(ctx, key, nil); !errors.Is(err, bus.ErrExists) {
			t.Fatalf("second create: %v", err)
		}
		next, err := two.Update(ctx, key, []byte("b"), rev)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := one.Update(ctx, key, nil, rev); !errors.Is(err, bus.ErrConflict) {
			t.Fatalf("update of an old revision: %v", err)
		}
		if err := one.Delete(ctx, key, rev); !errors.Is(err, bus.ErrConflict) {
			t.Fatalf("deletion of an old revision: %v", err)
		}
		if err := one.Delete(ctx, key, next); err != nil {
			t.Fatal(err)
		}
		if _, err := two.Get(ctx, key); !errors.Is(err, bus.ErrNotFound) {
			t.Fatalf("what was just deleted: %v", err)
		}
	}
	if err := one.Delete(ctx, "r.never", 0); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
	if _, err := one.Create(ctx, "r.1", nil); err != nil {
		t.Errorf("creating what was deleted: %v", err)
	}
	eventually(t, "the keys are [r.1]", 10*time.Second, func() bool {
		keys, err := two.Keys(ctx, "r.*")
		return err == nil && fmt.Sprint(keys) == "[r.1]"
	})
	// Each right behind the acknowledgement of the one before.
	rev, err := one.Create(ctx, "r.chain", nil)
	for i := range 500 {
		if err != nil {
			t.Fatalf("write %d of a key that nobody else writes: %v", i, err)
		}
		kv := one
		if i%2 == 1 {
			kv = two
		}
		rev, err = kv.Update(ctx, "r.chain", fmt.Append(nil, i), rev)
	}
	if err := one.Delete(ctx, "r.chain", rev); err != nil {
		t.Fatal(err)
	}
	// Many at once: the newest of each that has a value, each as Get gives it.
	keys := []string{"r.never", "r.2", "r.1", "r.1"}
	for i := range 600 {
		keys = append(keys, fmt.Sprint("m.", i))
		if i%3 != 0 {
			continue
		}
		for _, value := range []string{"old", "new"} {
			if _, err := one.Put(ctx, keys[len(keys)-1], []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "201 of many keys are found", 10*time.Second, func() bool {
		found, err := two.GetMany(ctx, keys)
		if err != nil {
			t.Fatal(err)
		}
		newest := 0
		for key, e := range found {
			if string(e.Value) == "new" || key == "r.1" && len(e.Value) == 0 {
				newest++
			}
		}
		return len(found) == 201 && newest == 201
	})
	found, err := two.GetMany(ctx, []string{"m.0"})
	if single, getErr := two.Get(ctx, "m.0"); err != nil || getErr != nil || !reflect.DeepEqual(found["m.0"], single) {
		t.Errorf("among many it is %+v, %v, by itself %+v, %v", found["m.0"], err, single, getErr)
	}
	if found, err := two.GetMany(ctx, nil); len(found) != 0 || err != nil {
		t.Errorf("of no keys: %v, %v", found, err)
	}
	// One winner among many.
	var won sync.Map
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			kv := one
			if i%2 == 1 {
				kv = two
			}
			if _, err := kv.Create(ctx, "r.race", fmt.Append(nil, i)); err == nil {
				won.Store(i, true)
			} else if !errors.Is(err, bus.ErrExists) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	winners := 0
	won.Range(func(any, any) bool { winners++; return true })
	if winners != 1 {
		t.Errorf("%d of 8 created a key", winners)
	}
}

// testWatch: a watch shows every key's newest value in the end, whatever
// happens to the nodes.
func testWatch(t *testing.T, d *Deployment) {
	b, other := d.Connect(t, bus.Options{}), d.Connect(t, bus.Options{})
	kv, err := b.Bucket(t.Context(), bus.Rooms)
	if err != nil {
		t.Fatal(err)
	}
	write := func(key, value string) {
		t.Helper()
		eventually(t, "writing "+key, 30*time.Second, func() bool {
			_, err := kv.Put(t.Context(), key, []byte(value))
			return err == nil
		})
	}
	write("r.a", "1")
	watched, err := other.Bucket(t.Context(), bus.Rooms)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	entries, err := watched.Watch(ctx, "r.>")
	if err != nil {
		t.Fatal(err)
	}
	picture := map[string]string{}
	complete := false
	sees := func(want map[string]string) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for fmt.Sprint(picture) != fmt.Sprint(want) || !complete {
			select {
			case e, ok := <-entries:
				switch {
				case !ok:
					t.Fatal("the watch ended")
				case e.Key == "":
					complete = true
				case e.Deleted:
					delete(picture, e.Key)
				default:
					picture[e.Key] = string(e.Value)
				}
			case <-deadline:
				t.Fatalf("the watch shows %v, want %v", picture, want)
			}
		}
	}
	sees(map[string]string{"r.a": "1"})
	want := map[string]string{}
	for node := range d.Nodes {
		start := d.Stop(node)
		if d.Nodes > 1 {
			write("r.a", fmt.Sprint("without ", node))
		}
		start()
		want["r.a"] = fmt.Sprint("with ", node)
		write("r.a", want["r.a"])
		gone := fmt.Sprint("r.gone-", node)
		write(gone, "x")
		eventually(t, "deleting", 30*time.Second, func() bool { return kv.Delete(t.Context(), gone, 0) == nil })
		sees(want)
	}
	cancel()
	for range entries { // ends
	}
}

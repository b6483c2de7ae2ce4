package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/run"
)

const (
	keyPublic = "public."
	keySecret = "secret."
)

// WatchKeys calls f with the public signing keys by kid, as they are written
// in the Keys bucket: once when all are known, and again after every change,
// one call after the other. The map is f's own. It returns nil when ctx ends;
// what is out of reach before is tried again.
func (b *Bus) WatchKeys(ctx context.Context, f func(map[string][]byte)) error {
	keys, complete := make(map[string][]byte), false
	begin := func() {
		clear(keys)
		complete = false
	}
	b.follow(ctx, Keys, keyPublic+">", begin, func(e Entry) {
		kid := strings.TrimPrefix(e.Key, keyPublic)
		switch {
		case e.Key == "":
			complete = true
		case e.Deleted:
			delete(keys, kid)
		default:
			keys[kid] = e.Value
		}
		if complete {
			f(maps.Clone(keys))
		}
	})
	return nil
}

// follow hears the entries of a bucket that match pattern, the present ones
// and, after one with an empty Key, every change, until ctx ends. A watch that
// breaks is opened anew, and begin is called before each one's first entry.
func (b *Bus) follow(ctx context.Context, name Bucket, pattern string, begin func(), each func(Entry)) {
	const pause = 500 * time.Millisecond
	for {
		err := b.followOnce(ctx, name, pattern, begin, each)
		if ctx.Err() != nil {
			return
		}
		b.log.Warn("opening a watch anew", "bucket", name, "pattern", pattern, "error", err)
		if !run.Sleep(ctx, pause) {
			return
		}
	}
}

func (b *Bus) followOnce(ctx context.Context, name Bucket, pattern string, begin func(), each func(Entry)) error {
	kv, err := b.Bucket(ctx, name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	entries, err := kv.Watch(ctx, pattern)
	if err != nil {
		cancel()
		return err
	}
	defer func() {
		cancel()
		for range entries { // until its goroutine has ended
		}
	}()
	begin()
	for e := range entries {
		each(e)
	}
	return fmt.Errorf("watching %s/%s: %w", name, pattern, errors.New("the watch ended"))
}

// Secret gives a secret that all processes of the deployment share, of 32
// random bytes; the first who asks for a name makes it.
func (b *Bus) Secret(ctx context.Context, name string) ([]byte, error) {
	kv, err := b.Bucket(ctx, Keys)
	if err != nil {
		return nil, err
	}
	fresh := make([]byte, 32)
	rand.Read(fresh) // never fails, crypto/rand
	key := keySecret + name
	if _, err := kv.Create(ctx, key, fresh); err != nil && !errors.Is(err, ErrExists) {
		return nil, fmt.Errorf("making secret %s: %w", name, err)
	}
	entry, err := kv.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", name, err)
	}
	return entry.Value, nil
}

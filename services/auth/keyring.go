package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/token"
)

// Keys of the bucket Keys. keyCurrent holds the kid of the key to sign with.
const (
	keyCurrent = "current"
	keyPrivate = "private."
	keyPublic  = "public."
)

// keyring holds the key to sign with, which all replicas agree on: it is the
// one that the record "current" names. The first replica of a deployment makes
// it; where several do at the same time, one creates the record and the others
// take its key.
//
// A key is in the bucket, its public half too, before "current" names it, so
// that who checks tokens knows it before the first token comes.
type keyring struct {
	bus     *bus.Bus
	log     *slog.Logger
	current atomic.Pointer[token.Signer]
}

// run follows the record until ctx ends.
func (k *keyring) run(ctx context.Context) {
	for {
		err := k.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		k.log.Warn("reading the signing key again", "error", err)
		if !pause(ctx) {
			return
		}
	}
}

func (k *keyring) follow(ctx context.Context) error {
	kv, err := k.bus.Bucket(ctx, bus.Keys)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	entries, err := kv.Watch(ctx, keyCurrent)
	if err != nil {
		return err
	}
	defer func() {
		cancel()
		for range entries { // until its goroutine has ended
		}
	}()
	for e := range entries {
		switch {
		case e.Key == "" && k.current.Load() == nil:
			err = k.first(ctx, kv) // the record comes back through the watch
		case e.Key != "" && !e.Deleted:
			err = k.load(ctx, kv, string(e.Value))
		}
		if err != nil {
			return err
		}
	}
	return errors.New("the watch ended")
}

// load takes the key of this kid for signing.
func (k *keyring) load(ctx context.Context, kv *bus.KV, kid string) error {
	e, err := kv.Get(ctx, keyPrivate+kid)
	if err != nil {
		return fmt.Errorf("reading signing key %s: %w", kid, err)
	}
	key, err := token.ParsePrivateKey(e.Value)
	if err != nil {
		return err
	}
	k.current.Store(token.NewSigner(key))
	k.log.Info("signing with", "kid", kid)
	return nil
}

// first makes the deployment's first key, unless another replica is faster.
func (k *keyring) first(ctx context.Context, kv *bus.KV) error {
	key := token.GenerateKey()
	if _, err := kv.Create(ctx, keyPrivate+key.ID(), key.Marshal()); err != nil {
		return err
	}
	if _, err := kv.Create(ctx, keyPublic+key.ID(), key.Public().Marshal()); err != nil {
		return err
	}
	_, err := kv.Create(ctx, keyCurrent, []byte(key.ID()))
	if !errors.Is(err, bus.ErrExists) {
		return err
	}
	// Nothing was signed with this one.
	return errors.Join(kv.Delete(ctx, keyPublic+key.ID(), 0), kv.Delete(ctx, keyPrivate+key.ID(), 0))
}

package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/pkg/token"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

// Keys of the bucket Keys. keyCurrent holds the kid of the key to sign with;
// keyNext, while a rotation waits, which key follows it and when; keyUntil,
// for a key that has signed, milliseconds since 1970 from when on no token of
// its is left.
const (
	keyCurrent = "current"
	keyNext    = "next"
	keyPrivate = "private."
	keyPublic  = "public."
	keyUntil   = "until."
)

const (
	// defaultLead is longer than gateways let others keep the published keys
	// (Cache-Control of /.well-known/jwks.json, 60 s).
	defaultLead    = 90 * time.Second
	minLead        = time.Second
	maxLead        = time.Hour
	retireAfter    = bus.SessionTTL + token.Leeway + time.Minute // no token of ours lives longer than the first
	keyringPatrols = time.Minute                                 // how often it looks even where nothing is due
)

// keyring holds the key to sign with, which all replicas agree on: it is the
// one that the record "current" names. The first replica of a deployment makes
// it; where several do at the same time, one creates the record and the others
// take its key.
//
// A key is in the bucket, its public half too, before "current" names it, so
// that who checks tokens knows it before the first token comes. Rotation gives
// them time for it: "next" names the new key and when it is to be current.
// Every replica follows the records and does what is due, each step compared
// with what was read, so it does not matter which of them is up, nor how often
// a step is taken:
//
//	publish    private.K2, public.K2, then next = K2 at T
//	at T       until.K1 = T + an hour, then current = K2; next and private.K1 go
//	until.K1   public.K1 goes
//
// A process that ends between publishing a key and naming it leaves a key that
// signs nothing.
type keyring struct {
	bus     *bus.Bus
	log     *slog.Logger
	current atomic.Pointer[token.Signer]
}

// nextKey is the record keyNext.
type nextKey struct {
	KID  string `json:"kid"`
	AtMs int64  `json:"atMs"`
}

// ring is a picture of the bucket.
type ring struct {
	entries map[string]bus.Entry // without what was deleted
}

func (r *ring) text(key string) string { return string(r.entries[key].Value) }

func (r *ring) next() (n nextKey, ok bool) {
	e, ok := r.entries[keyNext]
	return n, ok && json.Unmarshal(e.Value, &n) == nil
}

// run follows the records until ctx ends.
func (k *keyring) run(ctx context.Context) {
	for {
		err := k.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		k.log.Warn("reading the signing keys again", "error", err)
		if !run.Sleep(ctx, retryPause) {
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
	entries, err := kv.Watch(ctx, ">")
	if err != nil {
		return err
	}
	defer func() {
		cancel()
		for range entries { // until its goroutine has ended
		}
	}()
	r := &ring{entries: make(map[string]bus.Entry)}
	due := time.NewTimer(keyringPatrols)
	defer due.Stop()
	for complete := false; ; {
		select {
		case e, ok := <-entries:
			switch {
			case !ok:
				return errors.New("the watch ended")
			case e.Key == "":
				complete = true
			case e.Deleted:
				delete(r.entries, e.Key)
			default:
				r.entries[e.Key] = e
			}
		case <-due.C:
		}
		if !complete {
			continue
		}
		wait, err := k.act(ctx, kv, r, time.Now())
		if err != nil {
			return err
		}
		due.Reset(min(wait, keyringPatrols))
	}
}

// act does what is due, and tells in how long there is more. What it writes
// comes back through the watch; what would be done twice until then is noted
// here at once.
func (k *keyring) act(ctx context.Context, kv *bus.KV, r *ring, now time.Time) (wait time.Duration, err error) {
	current := r.text(keyCurrent)
	if current == "" {
		// What is seen here may be behind what this replica has written itself.
		if _, err = kv.Get(ctx, keyCurrent); errors.Is(err, bus.ErrNotFound) {
			err = k.first(ctx, kv)
		}
		return keyringPatrols, err
	}
	if signer := k.current.Load(); signer == nil || signer.KeyID() != current {
		if err := k.load(r, current); err != nil {
			return 0, err
		}
	}
	wait = keyringPatrols
	if next, ok := r.next(); ok {
		left := time.UnixMilli(next.AtMs).Sub(now)
		switch {
		case next.KID == current:
			err = kv.Delete(ctx, keyNext, r.entries[keyNext].Revision)
		case left > 0:
			wait = min(wait, left)
		default:
			err = k.turn(ctx, kv, r, next.KID, now)
		}
		if err = passOver(err); err != nil {
			return 0, fmt.Errorf("rotating keys: %w", err)
		}
	}
	for key, e := range r.entries {
		kid, ok := strings.CutPrefix(key, keyUntil)
		if !ok || kid == current {
			continue
		}
		ms, _ := strconv.ParseInt(string(e.Value), 10, 64) // what is not ours is over
		if left := time.UnixMilli(ms).Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		k.log.Info("the last token of an old key has expired", "kid", kid)
		if err := k.remove(ctx, kv, kid); err != nil {
			return 0, err
		}
		delete(r.entries, key)
	}
	return wait, nil
}

// load takes the key of this kid for signing.
func (k *keyring) load(r *ring, kid string) error {
	key, err := token.ParsePrivateKey(r.entries[keyPrivate+kid].Value)
	if err != nil {
		return fmt.Errorf("reading signing key %s: %w", kid, err)
	}
	k.current.Store(token.NewSigner(key))
	k.log.Info("signing with", "kid", kid)
	return nil
}

// turn makes the next key the current one. Of several replicas one does.
func (k *keyring) turn(ctx context.Context, kv *bus.KV, r *ring, kid string, now time.Time) error {
	if _, ok := r.entries[keyPrivate+kid]; !ok || r.text(keyPublic+kid) == "" {
		k.log.Error("the next signing key is not there, the current one stays", "kid", kid)
		return kv.Delete(ctx, keyNext, r.entries[keyNext].Revision)
	}
	old := r.text(keyCurrent)
	until := strconv.FormatInt(now.Add(retireAfter).UnixMilli(), 10)
	if _, err := kv.Put(ctx, keyUntil+old, []byte(until)); err != nil {
		return err
	}
	revision, err := kv.Update(ctx, keyCurrent, []byte(kid), r.entries[keyCurrent].Revision)
	if err != nil {
		return err
	}
	r.entries[keyCurrent] = bus.Entry{Key: keyCurrent, Value: []byte(kid), Revision: revision}
	// Nobody signs with it any more but a replica that hears of it this moment.
	return kv.Delete(ctx, keyPrivate+old, 0)
}

// remove takes away all there is of a key.
func (k *keyring) remove(ctx context.Context, kv *bus.KV, kid string) error {
	for _, key := range []string{keyPrivate, keyPublic, keyUntil} {
		if err := kv.Delete(ctx, key+kid, 0); err != nil {
			return err
		}
	}
	return nil
}

// first makes the deployment's first key, unless another replica is faster.
func (k *keyring) first(ctx context.Context, kv *bus.KV) error {
	kid, err := k.publish(ctx, kv)
	if err != nil {
		return err
	}
	_, err = kv.Create(ctx, keyCurrent, []byte(kid))
	if !errors.Is(err, bus.ErrExists) {
		return err
	}
	return k.remove(ctx, kv, kid) // nothing was signed with this one
}

// publish makes a key and puts it into the bucket.
func (k *keyring) publish(ctx context.Context, kv *bus.KV) (kid string, err error) {
	key := token.GenerateKey()
	if _, err := kv.Create(ctx, keyPrivate+key.ID(), key.Marshal()); err != nil {
		return "", err
	}
	_, err = kv.Create(ctx, keyPublic+key.ID(), key.Public().Marshal())
	return key.ID(), err
}

// rotate begins a rotation, or gives the one that is under way.
func (k *keyring) rotate(ctx context.Context, lead time.Duration) (next nextKey, old string, err error) {
	kv, err := k.bus.Bucket(ctx, bus.Keys)
	if err != nil {
		return nextKey{}, "", err
	}
	current, err := kv.Get(ctx, keyCurrent)
	if err != nil {
		return nextKey{}, "", err
	}
	for range conflicts {
		e, err := kv.Get(ctx, keyNext)
		if err == nil {
			if err := json.Unmarshal(e.Value, &next); err != nil {
				return nextKey{}, "", fmt.Errorf("decoding record %s: %w", keyNext, err)
			}
			return next, string(current.Value), nil
		}
		if !errors.Is(err, bus.ErrNotFound) {
			return nextKey{}, "", err
		}
		kid, err := k.publish(ctx, kv)
		if err != nil {
			return nextKey{}, "", err
		}
		next = nextKey{KID: kid, AtMs: time.Now().Add(lead).UnixMilli()}
		value, err := json.Marshal(next)
		if err == nil {
			_, err = kv.Create(ctx, keyNext, value)
		}
		if err == nil {
			k.log.Info("a new signing key is published", "kid", kid, "signs_in", lead)
			return next, string(current.Value), nil
		}
		if !errors.Is(err, bus.ErrExists) {
			return nextKey{}, "", err
		}
		if err := k.remove(ctx, kv, kid); err != nil { // somebody was faster
			return nextKey{}, "", err
		}
	}
	return nextKey{}, "", bus.ErrConflict
}

// passOver takes an error that says that another replica was faster for none.
func passOver(err error) error {
	if errors.Is(err, bus.ErrConflict) {
		return nil
	}
	return err
}

func (s *Service) rotateKeys(ctx context.Context, _ *store, q *authv1.RotateKeysRequest) (*authv1.RotateKeysResponse, error) {
	lead := defaultLead
	if q.Lead != nil {
		lead = q.Lead.AsDuration()
	}
	if lead < minLead || lead > maxLead {
		return nil, errs.Invalid("lead", "is not between %s and %s", minLead, maxLead)
	}
	next, old, err := s.keys.rotate(ctx, lead)
	if err != nil {
		return nil, errs.Missing("the signing keys", err)
	}
	return &authv1.RotateKeysResponse{
		Kid: next.KID, SignsAt: timestamppb.New(time.UnixMilli(next.AtMs)), OldKid: old,
	}, nil
}

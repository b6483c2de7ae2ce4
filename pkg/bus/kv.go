package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parley-im/parley/pkg/run"
)

// What can come back from a KV bucket beside a failure to reach it.
var (
	// ErrNotFound: the key has no value.
	ErrNotFound = errors.New("no such key")
	// ErrExists: the key was to be created and has a value already.
	ErrExists = errors.New("the key exists")
	// ErrConflict: the key has another revision than the caller expected.
	ErrConflict = errors.New("the key was changed by someone else")
)

// Entry is one key's value at one revision. Revisions are those of the whole
// bucket: a later change of any key has a greater one.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	// Deleted entries have no value. In a watch they also stand for keys that
	// have expired.
	Deleted bool
	// Stored is when NATS stored this revision.
	Stored time.Time
}

// KV is one bucket of records. Get asks the leader, so that it sees every write
// that was acknowledged before.
type KV struct {
	b      *Bus
	bucket Bucket
	kv     jetstream.KeyValue
}

// markerTTL is how long a bucket remembers that a key was deleted or has
// expired. A watch that is cut off for longer would not hear of it; one that
// is kept for ever would let a bucket grow with every key that ever was.
const markerTTL = 24 * time.Hour

// Bucket opens a bucket, and makes it when the deployment has none yet.
func (b *Bus) Bucket(ctx context.Context, name Bucket) (*KV, error) {
	config := jetstream.KeyValueConfig{
		Bucket:         string(name),
		History:        1,
		Replicas:       b.opts.Replicas,
		Storage:        jetstream.FileStorage,
		LimitMarkerTTL: markerTTL,
	}
	if name == Sessions {
		config.TTL = SessionTTL
		// Watchers see a key expire.
		config.LimitMarkerTTL = time.Minute
	}
	var kv jetstream.KeyValue
	err := making(ctx, func(ctx context.Context) (err error) {
		kv, err = b.openBucket(ctx, config)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening bucket %s: %w", name, err)
	}
	return &KV{b: b, bucket: name, kv: kv}, nil
}

func (b *Bus) openBucket(ctx context.Context, config jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	kv, err := b.js.KeyValue(ctx, config.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = b.js.CreateKeyValue(ctx, config)
	}
	// Another process may have been faster.
	if errors.Is(err, jetstream.ErrBucketExists) {
		kv, err = b.js.KeyValue(ctx, config.Bucket)
	}
	if err != nil {
		return nil, err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, err
	}
	if status.LimitMarkerTTL() != 0 {
		return kv, nil
	}
	// An older version has made it, without a limit for markers.
	config.Replicas = status.Config().Replicas
	return b.js.UpdateKeyValue(ctx, config)
}

// Get reads a key. Errors: ErrNotFound.
func (k *KV) Get(ctx context.Context, key string) (Entry, error) {
	// jetstream.KeyValue.Get reads from any replica, which may lag behind what
	// this very process has written; the stream's own API asks the leader.
	request, err := json.Marshal(map[string]string{"last_by_subj": k.subject(key)})
	if err != nil {
		return Entry{}, err
	}
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	msg, err := k.b.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET.KV_"+string(k.bucket), request)
	if err != nil {
		return Entry{}, fmt.Errorf("reading %s/%s: %w", k.bucket, key, err)
	}
	var answer struct {
		Error *struct {
			Code        int    `json:"code"`
			Description string `json:"description"`
		} `json:"error"`
		Message struct {
			Seq  uint64    `json:"seq"`
			Hdrs []byte    `json:"hdrs"`
			Data []byte    `json:"data"`
			Time time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return Entry{}, fmt.Errorf("reading %s/%s: %w", k.bucket, key, err)
	}
	if answer.Error != nil {
		if answer.Error.Code == 404 {
			return Entry{}, ErrNotFound
		}
		return Entry{}, fmt.Errorf("reading %s/%s: %s", k.bucket, key, answer.Error.Description)
	}
	if isTombstone(answer.Message.Hdrs) {
		return Entry{}, ErrNotFound
	}
	return Entry{Key: key, Value: answer.Message.Data, Revision: answer.Message.Seq, Stored: answer.Message.Time}, nil
}

// Put writes a key whatever it holds, and gives the new revision.
func (k *KV) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	revision, err := k.kv.Put(ctx, key, value)
	return revision, k.wrap("writing", key, err)
}

// Create writes a key that must not have a value. Errors: ErrExists.
func (k *KV) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	var revision uint64
	err := behind(ctx, func() (err error) {
		revision, err = k.kv.Create(ctx, key, value)
		return err
	})
	return revision, k.wrap("creating", key, err)
}

// Update writes a key that must still have this revision. Errors: ErrConflict.
func (k *KV) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	var next uint64
	err := behind(ctx, func() (err error) {
		next, err = k.kv.Update(ctx, key, value, revision)
		return err
	})
	return next, k.wrap("updating", key, err)
}

// CreateFor is Create for a key that goes by itself after a time, at least 1 s,
// unless it is written again.
func (k *KV) CreateFor(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	var revision uint64
	err := behind(ctx, func() (err error) {
		revision, err = k.kv.Create(ctx, key, value, jetstream.KeyTTL(ttl))
		return err
	})
	return revision, k.wrap("creating", key, err)
}

// Delete takes a key's value away; a revision that is not 0 must still be the
// key's. Deleting what is not there is no error. Errors: ErrConflict.
func (k *KV) Delete(ctx context.Context, key string, revision uint64) error {
	return k.Remove(ctx, key, revision, nil)
}

// Remove is Delete, and says why: note is in the revision that marks the
// deletion. A Get and a Watch do not have it, ReadChanges has.
func (k *KV) Remove(ctx context.Context, key string, revision uint64, note []byte) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	// jetstream.KeyValue.Purge also rolls the key up. That does nothing to a
	// bucket that keeps one revision of each key, and would take the earlier
	// ones out of a stream that copies this one.
	msg := &nats.Msg{Subject: k.subject(key), Data: note, Header: nats.Header{"KV-Operation": []string{"PURGE"}}}
	options := []jetstream.PublishOpt{jetstream.WithMsgTTL(markerTTL)}
	if revision != 0 {
		options = append(options, jetstream.WithExpectLastSequencePerSubject(revision))
	}
	err := behind(ctx, func() error {
		_, err := k.b.js.PublishMsg(ctx, msg, options...)
		return err
	})
	var refused *jetstream.APIError
	if errors.As(err, &refused) {
		switch refused.ErrorCode {
		case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
			return ErrConflict
		}
	}
	return k.wrap("deleting", key, err)
}

// Keys lists the keys that match a pattern of NATS subjects ("s.*.*", "r.>")
// and have a value. It may be behind by the moment that a replica lags.
func (k *KV) Keys(ctx context.Context, pattern string) ([]string, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	lister, err := k.kv.ListKeysFiltered(ctx, pattern)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s/%s: %w", k.bucket, pattern, err)
	}
	var keys []string
	for key := range lister.Keys() {
		keys = append(keys, key)
	}
	return keys, nil
}

func (k *KV) wrap(doing, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyExists) && doing == "creating":
		return ErrExists
	case errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return ErrConflict
	}
	return fmt.Errorf("%s %s/%s: %w", doing, k.bucket, key, err)
}

// behind has a write that expects a revision come behind another of the same key
// that is under way. Of a replicated bucket the server refuses it with 10164 until
// it has cleared the other away, which it does a moment after that was
// acknowledged (nats-server 2.15, processJetStreamMsg): whoever writes right
// behind an acknowledgement would lose against itself. Nothing of a refused write
// is stored, so it is tried again, and then is right or told which revision is
// there.
func behind(ctx context.Context, write func() error) error {
	for pause := time.Millisecond; ; pause *= 2 {
		err := write()
		var api *jetstream.APIError
		if !errors.As(err, &api) || api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequenceConstant || pause > maxBehind || !run.Sleep(ctx, pause) {
			return err
		}
	}
}

// maxBehind is the longest pause between two tries; all of them take twice that.
const maxBehind = 128 * time.Millisecond

// withTimeout gives a call that has no deadline one, so that a NATS that hangs
// does not hold up its caller for ever.
func withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, 5*time.Second)
}

// isTombstone says whether the headers of a stored entry mark a deletion, an
// expiry or a purge (NATS ADR-8, ADR-43).
func isTombstone(headers []byte) bool {
	for line := range bytes.Lines(headers) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); string(name) {
		case "KV-Operation":
			return string(value) == "DEL" || string(value) == "PURGE"
		case "Nats-Marker-Reason":
			return true
		}
	}
	return false
}

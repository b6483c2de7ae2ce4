package bus

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
)

// newestBatch is how many subjects one request asks for; the server answers at
// most 1024.
const newestBatch = 256

// newest reads the newest message of each of some different subjects of a
// stream that has any, with one request for a few hundred of them, and hands it
// to take, which gives its seq. A replica that lags may answer.
func (b *Bus) newest(ctx context.Context, stream string, subjects []string, take func(*nats.Msg) (uint64, error)) error {
	for some := range slices.Chunk(subjects, newestBatch) {
		for seq := uint64(1); ; {
			request := batchRequest{Seq: seq, MultiLast: some, MaxBytes: maxBatchBytes}
			pending, last, err := b.direct(ctx, stream, request, take)
			if err != nil {
				return err
			}
			if pending == 0 || last == 0 {
				break
			}
			seq = last + 1 // the server ends an answer early when it has many bytes
		}
	}
	return nil
}

// GetMany reads those of some keys that have a value, with one request for a few
// hundred of them. Unlike Get it may be answered by a replica that lags: what was
// written a moment ago may be missing.
func (k *KV) GetMany(ctx context.Context, keys []string) (map[string]Entry, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	subjects := make([]string, len(keys))
	for i, key := range keys {
		subjects[i] = k.subject(key)
	}
	slices.Sort(subjects)
	found := make(map[string]Entry)
	err := k.b.newest(ctx, "KV_"+string(k.bucket), slices.Compact(subjects), func(msg *nats.Msg) (uint64, error) {
		e, err := k.entry(msg)
		if err == nil && !e.Deleted {
			found[e.Key] = e
		}
		return e.Revision, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading %d keys of %s: %w", len(keys), k.bucket, err)
	}
	return found, nil
}

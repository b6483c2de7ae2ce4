package bus

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// getBatch is how many keys one request of GetMany asks for; the server answers
// at most 1024 subjects.
const getBatch = 256

// GetMany reads those of some keys that have a value, with one request for a few
// hundred of them. Unlike Get it may be answered by a replica that lags: what was
// written a moment ago may be missing.
func (k *KV) GetMany(ctx context.Context, keys []string) (map[string]Entry, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	found := make(map[string]Entry)
	for batch := range slices.Chunk(keys, getBatch) {
		subjects := make([]string, len(batch))
		for i, key := range batch {
			subjects[i] = k.subject(key)
		}
		slices.Sort(subjects)
		if err := k.getMany(ctx, slices.Compact(subjects), found); err != nil {
			return nil, fmt.Errorf("reading %d keys of %s: %w", len(batch), k.bucket, err)
		}
	}
	return found, nil
}

func (k *KV) getMany(ctx context.Context, subjects []string, found map[string]Entry) error {
	for seq := uint64(1); ; {
		request := batchRequest{Seq: seq, MultiLast: subjects, MaxBytes: maxBatchBytes}
		pending, last, err := k.b.direct(ctx, "KV_"+string(k.bucket), request, func(msg *nats.Msg) (uint64, error) {
			revision, err := strconv.ParseUint(msg.Header.Get(headerSequence), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("a record without its revision: %w", err)
			}
			if isMarker(msg.Header) {
				return revision, nil
			}
			stored, err := time.Parse(time.RFC3339Nano, msg.Header.Get("Nats-Time-Stamp"))
			if err != nil {
				return 0, fmt.Errorf("a record without its time: %w", err)
			}
			key := strings.TrimPrefix(msg.Header.Get("Nats-Subject"), k.subject(""))
			found[key] = Entry{Key: key, Value: msg.Data, Revision: revision, Stored: stored}
			return revision, nil
		})
		if err != nil || pending == 0 || last == 0 {
			return err
		}
		seq = last + 1 // the server ends an answer early when it has many bytes
	}
}

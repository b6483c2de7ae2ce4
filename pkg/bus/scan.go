package bus

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Scan reads the entries that match a pattern and were written after a
// revision, in the order in which they were written, at most limit (1 to
// MaxPage) of them. next is where to go on, 0 at the end. What is written while
// somebody scans comes at the end, so nothing is missed, and what is changed
// comes again. A replica that lags by a moment may answer.
//
// Buckets cannot be read in the order of their keys; what this costs depends on
// limit and not on the bucket.
func (k *KV) Scan(ctx context.Context, pattern string, after uint64, limit int) (entries []Entry, next uint64, err error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	request := batchRequest{Seq: after + 1, Next: k.subject(pattern), Batch: limit, MaxBytes: maxBatchBytes}
	pending, last, err := k.b.direct(ctx, "KV_"+string(k.bucket), request, func(msg *nats.Msg) (uint64, error) {
		e, err := k.entry(msg)
		if err == nil && !e.Deleted {
			entries = append(entries, e)
		}
		return e.Revision, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("scanning %s/%s: %w", k.bucket, pattern, err)
	}
	if pending > 0 {
		next = last
	}
	return entries, next, nil
}

// entry reads an entry from a message that a direct read has given.
func (k *KV) entry(msg *nats.Msg) (Entry, error) {
	revision, err := strconv.ParseUint(msg.Header.Get(headerSequence), 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("a record without its revision: %w", err)
	}
	stored, err := time.Parse(time.RFC3339Nano, msg.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		return Entry{}, fmt.Errorf("a record without its time: %w", err)
	}
	e := Entry{
		Key: strings.TrimPrefix(msg.Header.Get("Nats-Subject"), k.subject("")), Revision: revision,
		Stored: stored, Deleted: isMarker(msg.Header),
	}
	if !e.Deleted {
		e.Value = msg.Data
	}
	return e, nil
}

// Written lists the keys that match a pattern and were ever written, some of
// which may have no value any more. Unlike Keys it asks the leader, so that it
// sees every write that was acknowledged before.
func (k *KV) Written(ctx context.Context, pattern string) ([]string, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	stream, err := k.b.js.Stream(ctx, "KV_"+string(k.bucket))
	var info *jetstream.StreamInfo
	if err == nil {
		info, err = stream.Info(ctx, jetstream.WithSubjectFilter(k.subject(pattern)))
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s/%s: %w", k.bucket, pattern, err)
	}
	var keys []string
	for subject := range info.State.Subjects {
		keys = append(keys, strings.TrimPrefix(subject, k.subject("")))
	}
	return keys, nil
}

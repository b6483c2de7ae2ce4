package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/parley-im/parley/pkg/errs"
)

// tailsBatch is how many rooms one request of Tails asks for; the server
// answers at most 1024 subjects.
const tailsBatch = 256

// Tails gives the seq of the newest entry of each of some rooms that has any,
// with one request for a few hundred of them. It may be answered by a replica
// that lags, so a tail is what the log has at least. Errors: unavailable.
//
// It costs the server a look-up for each room, and the network the newest
// entry of each: JetStream has no such read without the payload.
func (b *Bus) Tails(ctx context.Context, rooms []string) (map[string]uint64, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	byShard := make(map[int][]string)
	for _, room := range rooms {
		shard := shardOf(room, b.deployment.Shards)
		byShard[shard] = append(byShard[shard], b.logSubject(room))
	}
	tails := make(map[string]uint64, len(rooms))
	for shard, subjects := range byShard {
		for len(subjects) > 0 {
			n := min(len(subjects), tailsBatch)
			if err := b.tails(ctx, streamLog(shard), subjects[:n], tails); err != nil {
				return nil, errs.Missing("the log", fmt.Errorf("reading the tails of %d rooms: %w", n, err))
			}
			subjects = subjects[n:]
		}
	}
	return tails, nil
}

func (b *Bus) tails(ctx context.Context, stream string, subjects []string, tails map[string]uint64) error {
	for seq := uint64(1); ; {
		request := batchRequest{Seq: seq, MultiLast: subjects, MaxBytes: maxBatchBytes}
		pending, last, err := b.direct(ctx, stream, request, func(msg *nats.Msg) (uint64, error) {
			s, err := decodePlace(msg, msg.Header.Get("Nats-Subject"))
			if err == nil {
				tails[s.Room] = s.Seq
			}
			return s.Seq, err
		})
		if err != nil || pending == 0 || last == 0 {
			return err
		}
		seq = last + 1 // the server ends an answer early when it has many bytes
	}
}

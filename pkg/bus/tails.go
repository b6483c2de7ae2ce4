package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/parley-im/parley/pkg/errs"
)

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
		err := b.newest(ctx, streamLog(shard), subjects, func(msg *nats.Msg) (uint64, error) {
			s, err := decodePlace(msg, msg.Header.Get("Nats-Subject"))
			if err == nil {
				tails[s.Room] = s.Seq
			}
			return s.Seq, err
		})
		if err != nil {
			return nil, errs.Missing("the log", fmt.Errorf("reading the tails of %d rooms: %w", len(subjects), err))
		}
	}
	return tails, nil
}

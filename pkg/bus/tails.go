package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

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
	request, err := json.Marshal(struct {
		Subjects []string `json:"multi_last"`
	}{subjects})
	if err != nil {
		return err
	}
	inbox := b.nc.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer sub.Unsubscribe() //nolint:errcheck // fails only when the connection is closed
	if err := b.nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, request); err != nil {
		return err
	}
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		switch status := msg.Header.Get("Status"); status {
		case "":
			room, err := roomOf(msg.Header.Get("Nats-Subject"))
			if err != nil {
				return err
			}
			seq, err := strconv.ParseUint(msg.Header.Get(headerSequence), 10, 64)
			if err != nil {
				return fmt.Errorf("header %s: %w", headerSequence, err)
			}
			tails[room] = seq
		case "204", "404": // the end; nothing there
			return nil
		case "503":
			return nats.ErrNoResponders
		default:
			return fmt.Errorf("the log answered %s %s", status, msg.Header.Get("Description"))
		}
	}
}

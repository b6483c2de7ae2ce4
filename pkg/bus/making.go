package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parley-im/parley/pkg/run"
)

const (
	// makingTimeout is how long NATS may take to answer one who makes a stream;
	// it takes some 10 ms. makingPause is between two tries.
	makingTimeout = time.Second
	makingPause   = 20 * time.Millisecond
)

// making makes a stream or a bucket, which is f's, and asks again when nothing
// answers soon. Replicas of a service start together and make the same: nodes of
// NATS that are asked twice for one stream while they make it may answer neither
// (2.15.2: jsClusteredStreamRequest proposes a second assignment in place of the
// first, and with it whom to answer).
func making(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, makingTimeout)
		err := f(attempt)
		// Not to be found is what another has just made.
		again := attempt.Err() != nil || errors.Is(err, jetstream.ErrStreamNotFound)
		done()
		if err == nil || !again || !run.Sleep(ctx, makingPause) {
			return err
		}
	}
}

// makeStream makes a stream, or brings the one that is there to the
// configuration.
func (b *Bus) makeStream(ctx context.Context, config jetstream.StreamConfig) error {
	err := making(ctx, func(ctx context.Context) error {
		_, err := b.js.CreateOrUpdateStream(ctx, config)
		return err
	})
	if err != nil {
		return fmt.Errorf("making stream %s: %w", config.Name, err)
	}
	return nil
}

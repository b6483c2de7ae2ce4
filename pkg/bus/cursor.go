package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parley-im/parley/pkg/run"
)

// cursor reads a stream in its order, from a sequence on and without an end:
// over one ordered consumer, which is made anew where it was when it is lost.
// One goroutine has it.
type cursor struct {
	b        *Bus
	stream   string
	subjects []string // nil for all
	last     uint64   // sequence that was given last

	messages jetstream.MessagesContext // nil until it is opened
}

// cursorBatch is how many messages the server sends ahead.
const cursorBatch = 500

// ErrQuiet: nothing came in the time that was given.
var ErrQuiet = errors.New("nothing has come")

// next gives the next message; it waits for it until ctx ends. With a patience
// it waits no longer than that, and then fails with ErrQuiet.
func (c *cursor) next(ctx context.Context, patience time.Duration) (jetstream.Msg, *jetstream.MsgMetadata, error) {
	waiting := ctx
	if patience > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	for {
		if c.messages == nil {
			if err := c.open(ctx); err != nil {
				c.b.log.Debug("reading a stream, trying again", "stream", c.stream, "error", err)
				if !run.Sleep(waiting, watchPause) {
					return nil, nil, c.ended(ctx)
				}
				continue
			}
		}
		msg, err := c.messages.Next(jetstream.NextContext(waiting))
		switch {
		case waiting.Err() != nil && err != nil:
			return nil, nil, c.ended(ctx)
		case err != nil:
			c.b.log.Info("reading a stream anew", "stream", c.stream, "after", c.last, "error", err)
			c.close()
			continue
		}
		meta, err := msg.Metadata()
		if err != nil || meta.Sequence.Stream <= c.last {
			continue // cannot be, and was given
		}
		c.last = meta.Sequence.Stream
		return msg, meta, nil
	}
}

func (c *cursor) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrQuiet
}

func (c *cursor) open(ctx context.Context) error {
	opening, cancel := context.WithTimeout(ctx, reopenTimeout)
	defer cancel()
	consumer, err := c.b.js.OrderedConsumer(opening, c.stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: c.subjects,
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy, OptStartSeq: c.last + 1,
		InactiveThreshold: watchForgotten,
		MaxResetAttempts:  watchResets,
	})
	if err != nil {
		return err
	}
	c.messages, err = consumer.Messages(jetstream.PullMaxMessages(cursorBatch),
		jetstream.PullHeartbeat(watchHeartbeat), jetstream.PullExpiry(10*time.Second))
	return err
}

// close ends the reading; next would begin it again.
func (c *cursor) close() {
	if c.messages != nil {
		c.messages.Stop()
		c.messages = nil
	}
}

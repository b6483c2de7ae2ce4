package events

import (
	"context"
	"errors"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/run"
)

// lease is who makes events: a record that its holder writes again and again.
// Whoever has seen it unchanged for the timeout, by its own clock, may take it.
//
// It only keeps replicas from doing the same work: that no event is stored twice
// is the stream's doing.
type lease struct {
	kv       *bus.KV
	id       string
	timeout  time.Duration
	revision uint64 // as this replica wrote it last
}

const keyLease = "lease"

// take waits until this replica has the lease.
func (l *lease) take(ctx context.Context) error {
	var seen uint64
	var since time.Time
	for {
		held, err := l.kv.Get(ctx, keyLease)
		switch {
		case errors.Is(err, bus.ErrNotFound):
			l.revision, err = l.kv.Create(ctx, keyLease, []byte(l.id))
		case err != nil:
			return err
		case held.Revision != seen && len(held.Value) > 0:
			seen, since = held.Revision, time.Now()
			err = bus.ErrExists
		case len(held.Value) == 0 || time.Since(since) >= l.timeout:
			l.revision, err = l.kv.Update(ctx, keyLease, []byte(l.id), held.Revision)
		default:
			err = bus.ErrExists
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, bus.ErrExists) && !errors.Is(err, bus.ErrConflict) {
			return err
		}
		if !run.Sleep(ctx, l.timeout/8) {
			return ctx.Err()
		}
	}
}

// hold renews the lease until ctx ends or it is lost.
func (l *lease) hold(ctx context.Context) error {
	renewed := time.Now()
	for run.Sleep(ctx, l.timeout/4) {
		// Half of it: a slow answer is none the worse, and after a lost one there
		// is time to ask again.
		attempt, cancel := context.WithTimeout(ctx, l.timeout/2)
		revision, err := l.kv.Update(attempt, keyLease, []byte(l.id), l.revision)
		cancel()
		switch {
		case err == nil:
			l.revision, renewed = revision, time.Now()
		case ctx.Err() != nil:
		case errors.Is(err, bus.ErrConflict):
			// Maybe this replica's own, whose answer was lost.
			held, getErr := l.kv.Get(ctx, keyLease)
			if getErr == nil && string(held.Value) == l.id {
				l.revision, renewed = held.Revision, time.Now()
				continue
			}
			if getErr == nil {
				return errors.New("the lease was taken by another replica")
			}
		case time.Since(renewed) > l.timeout:
			return err
		}
	}
	return ctx.Err()
}

// release lets another replica take the lease at once.
func (l *lease) release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = l.kv.Update(ctx, keyLease, nil, l.revision) // else it ends by itself
}

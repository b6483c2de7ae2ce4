package session

import (
	"context"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const defaultBatchInterval = 100 // milliseconds

var configureCommand = &command{
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		c := f.GetConfigure()
		if b := c.Batch; b != nil {
			if b.MaxMessages < 0 || b.MaxMessages > 1000 {
				return errs.Invalid("batch.maxMessages", "is not between 0 and 1000")
			}
			if b.IntervalMs < 0 || b.IntervalMs > 10_000 {
				return errs.Invalid("batch.intervalMs", "is not between 1 and 10000")
			}
		}
		if c.Compression != nil && *c.Compression != "gzip" && *c.Compression != "none" {
			return errs.Invalid("compression", `is neither "gzip" nor "none"`)
		}
		return nil
	},
	run: func(_ context.Context, s *Session, f *wirev1.ClientFrame) error {
		c := f.GetConfigure()
		old := s.mode.Load()
		next := *old
		if c.Compression != nil {
			next.gzip = *c.Compression == "gzip"
		}
		if b := c.Batch; b != nil {
			next.batch = nil
			if b.MaxMessages > 0 {
				interval := b.IntervalMs
				if interval == 0 {
					interval = defaultBatchInterval
				}
				next.batch = newBatch(s, int(b.MaxMessages), time.Duration(interval)*time.Millisecond)
			}
		}
		if next.batch != old.batch {
			old.stop() // what is pending goes out before anything new
		}
		s.mode.Store(&next)
		answer := &wirev1.Configured{Compression: "none"}
		if next.gzip {
			answer.Compression = "gzip"
		}
		if b := next.batch; b != nil {
			answer.Batch = &wirev1.Batch{MaxMessages: int32(b.maxMessages), IntervalMs: int32(b.interval.Milliseconds())}
		}
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_Configured{Configured: answer}})
		return nil
	},
}

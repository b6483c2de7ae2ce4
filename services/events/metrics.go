package events

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"
)

// counters are what is counted as it happens.
type counters struct {
	stored, gaps, erased, sent metric.Int64Counter
}

func (s *Service) observe(meter metric.Meter) error {
	var all [7]error
	c := &s.metrics
	c.stored, all[0] = meter.Int64Counter("parley.events.stored", metric.WithUnit("{event}"), metric.WithDescription("Events stored."))
	c.gaps, all[1] = meter.Int64Counter("parley.events.gaps",
		metric.WithUnit("{gap}"), metric.WithDescription("Times that what events are made of was not kept until it could be read."))
	c.erased, all[2] = meter.Int64Counter("parley.events.erased", metric.WithUnit("{event}"), metric.WithDescription("Events erased with the messages they told of."))
	c.sent, all[3] = meter.Int64Counter("parley.events.sent", metric.WithUnit("{event}"), metric.WithDescription("Events sent to subscribers."))
	gauge := func(name, unit, help string, read func() int64) error {
		_, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(read())
				return nil
			}))
		return err
	}
	all[4] = gauge("parley.events.making", "", "Whether this replica makes the events (1) or not (0).", func() int64 {
		if s.making.Load() {
			return 1
		}
		return 0
	})
	all[5] = gauge("parley.events.subscribers", "{stream}", "Subscribe streams now.", s.subscribers.Load)
	all[6] = gauge("parley.events.lag", "{message}", "Messages in the log, of the shard read last, of which no event is made yet.", s.lag.Load)
	return errors.Join(all[:]...)
}

// noteLag notes how much of a shard is still to be read.
func (s *Service) noteLag(_ int, pending uint64) { s.lag.Store(int64(pending)) }

package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// observe records the bus's metrics. All but the round trips are read when
// somebody asks and cost nothing before.
func (b *Bus) observe(meter metric.Meter) error {
	var all []error
	made := func(name string, err error) {
		if err != nil {
			all = append(all, fmt.Errorf("making metric %s: %w", name, err))
		}
	}
	read := func(f func() int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(f())
			return nil
		}
	}
	counter := func(name, unit, help string, f func() int64) {
		_, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(help), metric.WithInt64Callback(read(f)))
		made(name, err)
	}
	gauge := func(name, unit, help string, f func() int64) {
		_, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help), metric.WithInt64Callback(read(f)))
		made(name, err)
	}
	gauge("parley.bus.connected", "", "Whether the connection to NATS stands (1) or not (0).", func() int64 {
		if b.Connected() {
			return 1
		}
		return 0
	})
	counter("parley.bus.reconnects", "{reconnect}", "Reconnects to NATS.", func() int64 { return int64(b.nc.Stats().Reconnects) })
	counter("parley.bus.dropped", "{drop}", "Times that a full queue of ours made the NATS client drop messages: we were a slow consumer.", func() int64 { return int64(b.dropped.Load()) })
	counter("parley.bus.foreign", "{message}", "Messages and records that are not ours and were passed over, each time they are met.", func() int64 { return b.foreign.Load() })
	counter("parley.bus.publishes", "{message}", "Messages that the log has acknowledged.", func() int64 { return b.publisher.acked.Load() })
	counter("parley.bus.publish.retries", "{message}", "Publishes that were sent again.", func() int64 { return b.publisher.retried.Load() })
	counter("parley.bus.publish.failures", "{message}", "Publishes that were given up.", func() int64 { return b.publisher.failed.Load() })
	gauge("parley.bus.publish.in_flight", "{message}", "Publishes that wait for their acknowledgement.", func() int64 { return b.publisher.inFlight.Load() })
	gauge("parley.bus.publish.limit", "{message}", "Publishes that may wait for their acknowledgement; more are refused.", func() int64 { return int64(b.opts.MaxInFlight) })
	gauge("parley.bus.feed.queue", "{message}", "Messages from NATS that wait for the workers of the rooms.", b.fed)

	in, out := metric.WithAttributes(attribute.String("direction", "in")), metric.WithAttributes(attribute.String("direction", "out"))
	both := func(name, unit, help string, f func() (in, out uint64)) {
		_, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(help),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				i, n := f()
				o.Observe(int64(i), in)
				o.Observe(int64(n), out)
				return nil
			}))
		made(name, err)
	}
	both("parley.bus.messages", "{message}", "Messages over the connection to NATS.", func() (uint64, uint64) {
		s := b.nc.Stats()
		return s.InMsgs, s.OutMsgs
	})
	both("parley.bus.io", "By", "Bytes of messages over the connection to NATS.", func() (uint64, uint64) {
		s := b.nc.Stats()
		return s.InBytes, s.OutBytes
	})
	_, err := meter.Float64ObservableGauge("parley.bus.clock.offset", metric.WithUnit("s"),
		metric.WithDescription("How far this process's clock is ahead of that of the NATS node which leads the log, read every 10 s."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(time.Duration(b.clock.Load()).Seconds())
			return nil
		}))
	made("parley.bus.clock.offset", err)
	b.roundTrip, err = meter.Float64Histogram("parley.bus.round_trip.duration", metric.WithUnit("s"),
		metric.WithDescription("From asking the NATS server for a sign of life to its answer, tried every 10 s."))
	made("parley.bus.round_trip.duration", err)
	return errors.Join(all...)
}

// fed is how much waits in the queues of all feeds.
func (b *Bus) fed() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for f := range b.hearing {
		for _, w := range f.workers {
			n += len(w.msgs)
		}
	}
	return int64(n)
}

// roundTripEvery is how often the way to NATS and back is measured.
const roundTripEvery = 10 * time.Second

// measure measures it until ctx ends. What does not come back is no round trip:
// that the connection is lost is told elsewhere.
func (b *Bus) measure(ctx context.Context) {
	tick := time.NewTicker(roundTripEvery)
	defer tick.Stop()
	for {
		began := time.Now()
		if b.Flush(ctx) == nil {
			b.roundTrip.Record(ctx, time.Since(began).Seconds())
			b.look(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

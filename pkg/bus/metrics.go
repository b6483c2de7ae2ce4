package bus

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

// observe records the bus's metrics. They are read when somebody asks and
// cost nothing before.
func (b *Bus) observe(meter metric.Meter) error {
	var first error
	counter := func(name, help string, read func() int64) {
		_, err := meter.Int64ObservableCounter(name, metric.WithDescription(help),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(read())
				return nil
			}))
		if err != nil && first == nil {
			first = fmt.Errorf("making metric %s: %w", name, err)
		}
	}
	gauge := func(name, help string, read func() int64) {
		_, err := meter.Int64ObservableGauge(name, metric.WithDescription(help),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(read())
				return nil
			}))
		if err != nil && first == nil {
			first = fmt.Errorf("making metric %s: %w", name, err)
		}
	}
	gauge("parley.bus.connected", "Whether the connection to NATS stands (1) or not (0).", func() int64 {
		if b.Connected() {
			return 1
		}
		return 0
	})
	counter("parley.bus.reconnects", "Reconnects to NATS.", func() int64 { return int64(b.nc.Stats().Reconnects) })
	counter("parley.bus.dropped", "Times that a full queue of ours made the NATS client drop messages.", func() int64 { return int64(b.dropped.Load()) })
	counter("parley.bus.publishes", "Messages that the log has acknowledged.", func() int64 { return b.publisher.acked.Load() })
	counter("parley.bus.publish.retries", "Publishes that were sent again.", func() int64 { return b.publisher.retried.Load() })
	counter("parley.bus.publish.failures", "Publishes that were given up.", func() int64 { return b.publisher.failed.Load() })
	gauge("parley.bus.publish.in_flight", "Publishes that wait for their acknowledgement.", func() int64 { return b.publisher.inFlight.Load() })
	return first
}

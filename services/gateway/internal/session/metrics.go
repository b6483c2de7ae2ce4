package session

import (
	"context"
	"errors"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Observe records the metrics of all sessions. They are read when somebody
// asks and cost nothing before.
func (h *Hub) Observe(meter metric.Meter) error {
	var all []error
	gauge := func(name, help string, read func(Stats) int64) {
		_, err := meter.Int64ObservableGauge(name, metric.WithDescription(help),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(read(h.Stats()))
				return nil
			}))
		all = append(all, err)
	}
	counter := func(name, help string, observe metric.Int64Callback) {
		_, err := meter.Int64ObservableCounter(name, metric.WithDescription(help), metric.WithInt64Callback(observe))
		all = append(all, err)
	}
	count := func(name, help string, read func(Stats) int64) {
		counter(name, help, func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(read(h.Stats()))
			return nil
		})
	}
	gauge("parley.gateway.connections", "Connections open now.", func(s Stats) int64 { return int64(s.Active) })
	gauge("parley.gateway.connections.peak", "Most connections open at once since the start.", func(s Stats) int64 { return s.Peak })
	gauge("parley.gateway.users", "Users signed in on this gateway.", func(s Stats) int64 { return int64(s.Users) })
	gauge("parley.gateway.guests", "Connections of guests.", func(Stats) int64 { return h.guests.Load() })
	count("parley.gateway.connections.opened", "Connections opened since the start.", func(s Stats) int64 { return s.Total })
	count("parley.gateway.messages.received", "Messages from clients.", func(s Stats) int64 { return s.Received })
	count("parley.gateway.messages.sent", "Messages to clients.", func(s Stats) int64 { return s.Sent })
	count("parley.gateway.publishes", "Messages given to the log.", func(s Stats) int64 { return s.Publishes })
	count("parley.gateway.publishes.failed", "Messages that the log did not take.", func(s Stats) int64 { return s.PublishFailures })
	counter("parley.gateway.publishes.throttled", "Messages that waited because their session had too many on their way.", func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(h.throttled.Load())
		return nil
	})
	counter("parley.gateway.joins.counts", "Questions to presence how many are in the rooms that are joined; many at once are one.", func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(h.joinCounts.Batches())
		return nil
	})
	counter("parley.gateway.errors", "Error frames, by code.", func(_ context.Context, o metric.Int64Observer) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		for code, n := range h.errs {
			o.Observe(n, metric.WithAttributes(attribute.String("code", string(code))))
		}
		return nil
	})
	counter("parley.gateway.closes", "Connections ended, by close code (0: one that is not ours).", func(_ context.Context, o metric.Int64Observer) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		for code, n := range h.codes {
			o.Observe(n, metric.WithAttributes(attribute.String("code", strconv.Itoa(int(code)))))
		}
		return nil
	})
	_, err := meter.Int64ObservableGauge("parley.gateway.queue.bytes", metric.WithUnit("By"),
		metric.WithDescription("Bytes that wait to be written to clients."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			queued, _, _ := h.opts.Listener.Stats()
			o.Observe(queued)
			return nil
		}))
	all = append(all, err)
	_, err = meter.Int64ObservableGauge("parley.gateway.queue.history", metric.WithUnit("By"),
		metric.WithDescription("Bytes of them that are history which clients have asked for."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(h.opts.Listener.HistoryBytes())
			return nil
		}))
	all = append(all, err)
	counter("parley.gateway.queue.dropped", "Ephemeral messages dropped for slow clients.", func(_ context.Context, o metric.Int64Observer) error {
		_, dropped, _ := h.opts.Listener.Stats()
		o.Observe(dropped)
		return nil
	})
	counter("parley.gateway.queue.overflows", "Clients closed because their queue was full.", func(_ context.Context, o metric.Int64Observer) error {
		_, _, overflows := h.opts.Listener.Stats()
		o.Observe(overflows)
		return nil
	})
	return errors.Join(all...)
}

package session

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Observe records the metrics of all sessions; it is called before the first of
// them. All but the histograms are read when somebody asks and cost nothing before.
func (h *Hub) Observe(meter metric.Meter) error {
	var all []error
	gauge := func(name, unit, help string, read func(Stats) int64) {
		_, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(read(h.Stats()))
				return nil
			}))
		all = append(all, err)
	}
	counter := func(name, unit, help string, observe metric.Int64Callback) {
		_, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(help), metric.WithInt64Callback(observe))
		all = append(all, err)
	}
	count := func(name, unit, help string, read func(Stats) int64) {
		counter(name, unit, help, func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(read(h.Stats()))
			return nil
		})
	}
	gauge("parley.gateway.connections", "{connection}", "Connections open now.", func(s Stats) int64 { return int64(s.Active) })
	gauge("parley.gateway.connections.peak", "{connection}", "Most connections open at once since the start.", func(s Stats) int64 { return s.Peak })
	gauge("parley.gateway.users", "{user}", "Users signed in on this gateway.", func(s Stats) int64 { return int64(s.Users) })
	gauge("parley.gateway.guests", "{connection}", "Connections of guests.", func(Stats) int64 { return h.guests.Load() })
	gauge("parley.gateway.strangers", "{connection}", "Connections that have not signed in.", func(Stats) int64 { return int64(h.strangers.len()) })
	count("parley.gateway.connections.opened", "{connection}", "Connections opened since the start.", func(s Stats) int64 { return s.Total })
	count("parley.gateway.messages.received", "{message}", "Messages from clients.", func(s Stats) int64 { return s.Received })
	count("parley.gateway.messages.sent", "{message}", "Messages to clients.", func(s Stats) int64 { return s.Sent })
	count("parley.gateway.publishes", "{message}", "Messages given to the log.", func(s Stats) int64 { return s.Publishes })
	count("parley.gateway.publishes.failed", "{message}", "Messages that the log did not take.", func(s Stats) int64 { return s.PublishFailures })
	counter("parley.gateway.publishes.throttled", "{message}", "Messages that waited because their session had too many on their way.", func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(h.throttled.Load())
		return nil
	})
	counter("parley.gateway.joins.counts", "{question}", "Questions to presence how many are in the rooms that are joined; many at once are one.", func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(h.joinCounts.Batches())
		return nil
	})
	counter("parley.gateway.joins.admissions", "{question}", "Questions to the registry whether somebody may join; many at once are one.", func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(h.admissions.Batches())
		return nil
	})
	counter("parley.gateway.connections.shed", "{connection}", "Clients asked to reconnect because this gateway had clearly more than the others.", func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(h.shed.Load())
		return nil
	})
	counter("parley.gateway.errors", "{error}", "Error frames, by code.", func(_ context.Context, o metric.Int64Observer) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		for code, n := range h.errs {
			o.Observe(n, metric.WithAttributes(attribute.String("code", string(code))))
		}
		return nil
	})
	counter("parley.gateway.closes", "{connection}", "Connections ended, by close code (0: one that is not ours).", func(_ context.Context, o metric.Int64Observer) error {
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
	counter("parley.gateway.input.held", "{pause}", "Pauses that were made before reading on from clients that send faster than they may.", func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(h.opts.Listener.HeldUp())
		return nil
	})
	counter("parley.gateway.queue.dropped", "{message}", "Ephemeral messages dropped for slow clients.", func(_ context.Context, o metric.Int64Observer) error {
		_, dropped, _ := h.opts.Listener.Stats()
		o.Observe(dropped)
		return nil
	})
	counter("parley.gateway.queue.overflows", "{connection}", "Clients closed because their queue was full.", func(_ context.Context, o metric.Int64Observer) error {
		_, _, overflows := h.opts.Listener.Stats()
		o.Observe(overflows)
		return nil
	})
	var err1, err2, err3 error
	h.measured.publish, err1 = meter.Float64Histogram("parley.gateway.publish.latency", metric.WithUnit("s"),
		metric.WithDescription("From taking a message in to its acknowledgement by the log."))
	h.measured.join, err2 = meter.Float64Histogram("parley.gateway.join.duration", metric.WithUnit("s"),
		metric.WithDescription("From carrying a join out to the room's history being on its way; failed ones too."))
	h.measured.wait, err3 = meter.Float64Histogram("parley.gateway.queue.wait", metric.WithUnit("s"),
		metric.WithDescription("How long something had to wait, by queue: requests behind slow ones of the same client, outgoing bytes until a socket that was full has taken all. What need not wait is not counted."))
	return errors.Join(append(all, err1, err2, err3)...)
}

// measured are the histograms of what sessions do; each is nil where nobody
// observes.
type measured struct{ publish, join, wait metric.Float64Histogram }

var (
	requestsQueue = metric.WithAttributeSet(attribute.NewSet(attribute.String("queue", "requests")))
	outgoingQueue = metric.WithAttributeSet(attribute.NewSet(attribute.String("queue", "outgoing")))
)

// waited notes how long requests waited in a session's lane.
func (h *Hub) waited(d time.Duration) { measure(h.measured.wait, d, requestsQueue) }

// Written notes how long a full socket took to take all that waited for it.
func (h *Hub) Written(d time.Duration) { measure(h.measured.wait, d, outgoingQueue) }

func measure(to metric.Float64Histogram, d time.Duration, options ...metric.RecordOption) {
	if to != nil {
		to.Record(context.Background(), d.Seconds(), options...)
	}
}

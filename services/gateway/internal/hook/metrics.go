package hook

import (
	"context"
	"errors"

	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type counters struct{ questions metric.Int64Counter }

func (h *Hook) observe(meter metric.Meter) error {
	var err1, err2, err3 error
	h.metrics.questions, err1 = meter.Int64Counter("parley.gateway.hook.questions",
		metric.WithDescription("Questions to the hook, by event and outcome."))
	_, err2 = meter.Int64ObservableGauge("parley.gateway.hook.asking", metric.WithDescription("Questions that the hook is being asked now."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(len(h.slots)))
			return nil
		}))
	_, err3 = meter.Int64ObservableGauge("parley.gateway.hook.open", metric.WithDescription("Whether the hook is left alone (1) or asked (0)."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			open := int64(0)
			if h.breaker.State() == gobreaker.StateOpen {
				open = 1
			}
			o.Observe(open)
			return nil
		}))
	return errors.Join(err1, err2, err3)
}

func (h *Hook) count(event Event, outcome string) {
	h.metrics.questions.Add(context.Background(), 1, metric.WithAttributes(
		attribute.String("event", event.String()), attribute.String("outcome", outcome)))
}

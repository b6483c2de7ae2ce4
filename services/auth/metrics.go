package auth

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/parley-im/parley/pkg/errs"
)

// metrics is what the service counts.
type metrics struct {
	signIns, registrations, failures metric.Int64Counter
}

func newMetrics(m metric.Meter, h *hasher) (*metrics, error) {
	var failed error
	counter := func(name, help string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithDescription(help))
		if err != nil && failed == nil {
			failed = fmt.Errorf("making metric %s: %w", name, err)
		}
		return c
	}
	made := &metrics{
		signIns:       counter("parley.auth.sign_ins", "Tokens given out, by what for: register, login, refresh."),
		registrations: counter("parley.auth.registrations", "Accounts made."),
		failures:      counter("parley.auth.failures", "Calls that were refused or failed, by method and error code."),
	}
	_, err := m.Int64ObservableGauge("parley.auth.hash.queue",
		metric.WithDescription("Passwords that are being hashed or wait for it."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(h.inside.Load())
			return nil
		}))
	if err != nil && failed == nil {
		failed = fmt.Errorf("making metric parley.auth.hash.queue: %w", err)
	}
	return made, failed
}

func (m *metrics) signedIn(ctx context.Context, method string) {
	m.signIns.Add(ctx, 1, metric.WithAttributes(attribute.String("method", method)))
}

func (m *metrics) failed(ctx context.Context, method string, err error) {
	m.failures.Add(ctx, 1, metric.WithAttributes(
		attribute.String("method", method), attribute.String("code", string(errs.CodeOf(err)))))
}

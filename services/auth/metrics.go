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

func newMetrics(m metric.Meter, h *hasher, g *guesses) (*metrics, error) {
	var failed error
	counter := func(name, unit, help string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(help))
		if err != nil && failed == nil {
			failed = fmt.Errorf("making metric %s: %w", name, err)
		}
		return c
	}
	made := &metrics{
		signIns:       counter("parley.auth.sign_ins", "{token}", "Tokens given out, by what for: register, login, refresh."),
		registrations: counter("parley.auth.registrations", "{account}", "Accounts made."),
		failures:      counter("parley.auth.failures", "{call}", "Calls that were refused or failed, by method and error code."),
	}
	gauge := func(name, unit, help string, read func() int64) {
		_, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(read())
				return nil
			}))
		if err != nil && failed == nil {
			failed = fmt.Errorf("making metric %s: %w", name, err)
		}
	}
	gauge("parley.auth.hash.queue", "{password}", "Passwords that are being hashed or wait for it.", h.inside.Load)
	gauge("parley.auth.guesses", "{count}", "Counts of wrong passwords that are remembered.", func() int64 { return int64(g.len()) })
	return made, failed
}

func (m *metrics) signedIn(ctx context.Context, method string) {
	m.signIns.Add(ctx, 1, metric.WithAttributes(attribute.String("method", method)))
}

func (m *metrics) failed(ctx context.Context, method string, err error) {
	m.failures.Add(ctx, 1, metric.WithAttributes(
		attribute.String("method", method), attribute.String("code", string(errs.CodeOf(err)))))
}

package gateway

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// refusal is why a connection was not taken.
type refusal int

const (
	fullUp   refusal = iota // the limit is reached
	draining                // the gateway is ending
	starting                // it cannot check tokens yet
	unfit                   // a foreign origin, or no WebSocket upgrade
	address                 // its address has as many as it may have
	tooFast                 // its address opens them faster than it may
	header                  // of the PROXY protocol: missing or malformed
	crowded                 // it is no WebSocket yet, and too many others neither
	causes
)

func (r refusal) String() string {
	return [causes]string{"full", "draining", "starting", "unfit", "address", "rate", "proxy", "crowded"}[r]
}

// refusals are counted by cause.
type refusals [causes]atomic.Int64

// observe records what no part of the gateway does by itself.
func (g *Gateway) observe(meter metric.Meter) error {
	_, err1 := meter.Int64ObservableCounter("parley.gateway.connections.refused", metric.WithUnit("{connection}"),
		metric.WithDescription("Connections that were not taken, by cause."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for cause := range g.refused {
				o.Observe(g.refused[cause].Load(), metric.WithAttributes(attribute.String("cause", refusal(cause).String())))
			}
			return nil
		}))
	_, err2 := meter.Int64ObservableGauge("parley.gateway.connections.limit", metric.WithUnit("{connection}"),
		metric.WithDescription("Connections that may be open at once."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(g.opts.MaxConnections))
			return nil
		}))
	_, err3 := meter.Float64ObservableGauge("parley.gateway.drain.duration", metric.WithUnit("s"),
		metric.WithDescription("How long the gateway has been draining; 0 while it is not."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(g.drainedFor().Seconds())
			return nil
		}))
	_, err4 := meter.Float64ObservableGauge("parley.gateway.drain.limit", metric.WithUnit("s"),
		metric.WithDescription("How long a drain may take by its settings: drain-delay and drain-timeout."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe((g.opts.DrainDelay + g.opts.DrainTimeout).Seconds())
			return nil
		}))
	_, err5 := meter.Int64ObservableGauge("parley.gateway.sockets.waiting", metric.WithUnit("{socket}"),
		metric.WithDescription("Sockets of clients that have not become WebSockets: requests, and those that say nothing."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			if g.door != nil {
				o.Observe(int64(g.door.Waiting()))
			}
			return nil
		}))
	_, err6 := meter.Int64ObservableGauge("parley.gateway.addresses", metric.WithUnit("{address}"),
		metric.WithDescription("Addresses with connections that count against max-per-address."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(g.addresses.count()))
			return nil
		}))
	return errors.Join(err1, err2, err3, err4, err5, err6)
}

// drainedFor is how long the gateway has been draining, 0 while it is not.
func (g *Gateway) drainedFor() time.Duration {
	since := g.drained.Load()
	if since == 0 {
		return 0
	}
	return time.Since(time.Unix(0, since))
}

package obs

import (
	"context"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// LatencyBuckets are the boundaries, in seconds, of every histogram that does not bring its own: 100 µs, what a
// delivery within one process takes, to 10 s, where every deadline has passed.
//
// A histogram of anything but latencies (sizes, counts, the life of a connection) must set its own, with
// metric.WithExplicitBucketBoundaries.
var LatencyBuckets = []float64{
	0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
}

// Metrics are the metrics of one program: OpenTelemetry instruments, and those of the Go runtime and the process, shown
// in the format of Prometheus. Instrument names use dots; "parley.gateway.connections" is shown as
// parley_gateway_connections, with the suffixes of Prometheus (_total for counters, the unit: _seconds, _bytes).
//
// A nil *Metrics measures nothing.
type Metrics struct {
	registry *prometheus.Registry
	provider *sdk.MeterProvider
}

// NewMetrics makes the metrics of the named program. The name appears in the metric target_info.
func NewMetrics(service string) (*Metrics, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry),
		otelprometheus.WithoutScopeInfo(), // a label on every series that tells nothing its name does not
		otelprometheus.WithAggregationSelector(aggregation),
	)
	if err != nil {
		return nil, fmt.Errorf("make metrics exporter: %w", err)
	}
	provider := sdk.NewMeterProvider(
		sdk.WithReader(exporter),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", service))),
	)
	return &Metrics{registry, provider}, nil
}

// aggregation sets the default buckets. Unlike a view, which would override it, it yields to what an instrument says.
func aggregation(kind sdk.InstrumentKind) sdk.Aggregation {
	if kind == sdk.InstrumentKindHistogram {
		return sdk.AggregationExplicitBucketHistogram{Boundaries: LatencyBuckets, NoMinMax: true}
	}
	return sdk.DefaultAggregationSelector(kind)
}

// Meter returns the meter for the named part of the program.
func (m *Metrics) Meter(name string) metric.Meter {
	if m == nil {
		return Noop()
	}
	return m.provider.Meter(name)
}

// Noop returns a meter whose instruments measure nothing.
func Noop() metric.Meter { return noop.NewMeterProvider().Meter("") }

// Handler serves the metrics in the text formats of Prometheus and OpenMetrics.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: 4, // a scrape costs more than the rest of the admin port
	})
}

// Shutdown ends the measuring. Instruments stay usable and do nothing.
func (m *Metrics) Shutdown(ctx context.Context) error {
	if m == nil {
		return nil
	}
	if err := m.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("shut down metrics: %w", err)
	}
	return nil
}

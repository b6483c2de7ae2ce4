package obs

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
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
//
// Where the variables OTEL_* ask for it they are sent by OTLP as well (otlp.go).
type Metrics struct {
	gathered prometheus.Gatherers
	provider *sdk.MeterProvider
}

// NewMetrics makes the metrics of a program, whose identity appears in the metric target_info. The logger gets what
// cannot be sent.
func NewMetrics(ctx context.Context, program Identity, log *slog.Logger) (*Metrics, error) {
	registry, process := prometheus.NewRegistry(), prometheus.NewRegistry()
	process.MustRegister(
		// The scheduler's latencies beside the usual: what waits for a processor is late in every other histogram too.
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	exporter, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry),
		otelprometheus.WithoutScopeInfo(), // a label on every series that tells nothing its name does not
		otelprometheus.WithAggregationSelector(aggregation),
	)
	if err != nil {
		return nil, fmt.Errorf("make metrics exporter: %w", err)
	}
	found, err := program.resource(ctx)
	if err != nil {
		return nil, err
	}
	options := []sdk.Option{sdk.WithReader(exporter), sdk.WithResource(found)}
	sender, err := newSender(ctx, process, log)
	if err != nil {
		return nil, err
	}
	if sender != nil {
		options = append(options, sdk.WithReader(sender))
	}
	return &Metrics{prometheus.Gatherers{registry, process}, sdk.NewMeterProvider(options...)}, nil
}

// newSender makes what sends metrics by OTLP, every minute unless OTEL_METRIC_EXPORT_INTERVAL says otherwise; nil where
// nothing is sent. Those of the Go runtime and the process are bridged, for they are not OpenTelemetry's.
func newSender(ctx context.Context, process prometheus.Gatherer, log *slog.Logger) (sdk.Reader, error) {
	protocol, err := otlp("METRICS")
	if protocol == "" || err != nil {
		return nil, err
	}
	var exporter sdk.Exporter
	if protocol == protocolGRPC {
		exporter, err = otlpmetricgrpc.New(ctx)
	} else {
		exporter, err = otlpmetrichttp.New(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("make metrics exporter: %w", err)
	}
	bridged := bridge.NewMetricProducer(bridge.WithGatherer(process))
	return sdk.NewPeriodicReader(loggedMetrics{exporter, log}, sdk.WithProducer(bridged)), nil
}

// loggedMetrics logs what fails, as loggedSpans does, and has the same buckets as Prometheus gets.
type loggedMetrics struct {
	sdk.Exporter
	log *slog.Logger
}

func (l loggedMetrics) Aggregation(kind sdk.InstrumentKind) sdk.Aggregation { return aggregation(kind) }

func (l loggedMetrics) Export(ctx context.Context, metrics *metricdata.ResourceMetrics) error {
	if err := l.Exporter.Export(ctx, metrics); err != nil {
		l.log.Warn("sending metrics", "error", err)
	}
	return nil
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
	return promhttp.HandlerFor(m.gathered, promhttp.HandlerOpts{
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

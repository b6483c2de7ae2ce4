package obs

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/protobuf/proto"
)

func scrape(m *Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	noTelemetry(t)
	m, err := NewMetrics(t.Context(), Identity{Service: "gateway"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	meter := m.Meter("fanout")
	messages, err := meter.Int64Counter("parley.gateway.messages", metric.WithUnit("{message}"))
	if err != nil {
		t.Fatal(err)
	}
	messages.Add(ctx, 3)
	latency, err := meter.Float64Histogram("parley.gateway.delivery", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	latency.Record(ctx, 0.0002)
	life, err := meter.Float64Histogram("parley.gateway.connection.life", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(1, 60, 3600))
	if err != nil {
		t.Fatal(err)
	}
	life.Record(ctx, 100)

	got := scrape(m)
	for _, want := range []string{
		"\nparley_gateway_messages_total 3\n",
		"\nparley_gateway_delivery_seconds_bucket{le=\"0.0001\"} 0\n",
		"\nparley_gateway_delivery_seconds_bucket{le=\"0.00025\"} 1\n",
		"\nparley_gateway_delivery_seconds_bucket{le=\"10\"} 1\n",
		"\nparley_gateway_connection_life_seconds_bucket{le=\"60\"} 0\n",
		"\nparley_gateway_connection_life_seconds_bucket{le=\"3600\"} 1\n",
		"\ngo_goroutines ", "\nprocess_start_time_seconds ", `service_name="gateway"`, "\ngo_sched_latencies_seconds_bucket{",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(got, `connection_life_seconds_bucket{le="0.0001"}`) {
		t.Error("the instrument's own buckets were replaced")
	}
	if t.Failed() {
		t.Log(got)
	}
	if err := m.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	messages.Add(ctx, 1)
}

// Programs in one process, as in tests, have metrics of their own.
func TestMetricsAreNotGlobal(t *testing.T) {
	for _, name := range []string{"a", "b"} {
		m, err := NewMetrics(t.Context(), Identity{Service: name}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		c, err := m.Meter("x").Int64Counter("same")
		if err != nil {
			t.Fatal(err)
		}
		c.Add(t.Context(), 1)
		if got := scrape(m); !strings.Contains(got, "\nsame_total 1\n") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestNoMetrics(t *testing.T) {
	var m *Metrics
	for _, meter := range []metric.Meter{m.Meter("x"), Noop()} {
		c, err := meter.Int64Counter("c")
		if err != nil {
			t.Fatal(err)
		}
		c.Add(t.Context(), 1)
	}
	if err := m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// A collector gets the same metrics as Prometheus, those of the runtime too.
func TestMetricsAreSent(t *testing.T) {
	noTelemetry(t)
	got := make(chan *collector.ExportMetricsServiceRequest, 4)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		request := new(collector.ExportMetricsServiceRequest)
		if err := proto.Unmarshal(body, request); err != nil || r.URL.Path != "/v1/metrics" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		got <- request
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", server.URL+"/v1/metrics")
	m, err := NewMetrics(t.Context(), Identity{Service: "gateway"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	latency, err := m.Meter("fanout").Float64Histogram("parley.gateway.delivery", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	latency.Record(t.Context(), 0.0002)
	if err := m.Shutdown(t.Context()); err != nil { // sends what there is
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, scope := range (<-got).ResourceMetrics[0].ScopeMetrics {
		for _, sent := range scope.Metrics {
			found[sent.Name] = true
			if sent.Name == "parley.gateway.delivery" && len(sent.GetHistogram().DataPoints[0].ExplicitBounds) != len(LatencyBuckets) {
				t.Error("other buckets than Prometheus gets")
			}
		}
	}
	for _, name := range []string{"parley.gateway.delivery", "go_goroutines"} {
		if !found[name] {
			t.Errorf("%s is not sent", name)
		}
	}
}

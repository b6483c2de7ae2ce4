package obs

import (
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric"
)

func scrape(m *Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	m, err := NewMetrics("gateway")
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
		"\ngo_goroutines ", "\nprocess_start_time_seconds ", "target_info{service_name=\"gateway\"} 1",
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
		m, err := NewMetrics(name)
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

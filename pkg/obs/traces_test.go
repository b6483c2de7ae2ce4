package obs

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// noTelemetry takes out of the environment what would turn telemetry on.
func noTelemetry(t *testing.T) {
	for _, name := range []string{
		"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
		"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES",
	} {
		t.Setenv(name, "")
	}
}

func TestWhatIsSent(t *testing.T) {
	for name, test := range map[string]struct {
		environ map[string]string
		want    string
		fails   string
	}{
		"nothing":        {},
		"endpoint":       {environ: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, want: protocolHTTP},
		"own endpoint":   {environ: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, want: protocolHTTP},
		"other's":        {environ: map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:1"}},
		"exporter":       {environ: map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, want: protocolGRPC},
		"own protocol":   {environ: map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, want: protocolHTTP},
		"none":           {environ: map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}},
		"disabled":       {environ: map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}},
		"other exporter": {environ: map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, fails: `OTEL_TRACES_EXPORTER: "zipkin"`},
		"other protocol": {environ: map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, fails: `"http/json"`},
	} {
		t.Run(name, func(t *testing.T) {
			noTelemetry(t)
			for name, value := range test.environ {
				t.Setenv(name, value)
			}
			got, err := otlp("TRACES")
			if got != test.want || (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestTracesAreOff(t *testing.T) {
	noTelemetry(t)
	traces, err := NewTraces(t.Context(), Identity{Service: "gateway"}, slog.New(slog.DiscardHandler))
	if traces != nil || err != nil || traces.Provider() != nil {
		t.Errorf("%v, %v", traces, err)
	}
	if err := traces.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// A collector gets the spans, and whose they are.
func TestTracesAreSent(t *testing.T) {
	noTelemetry(t)
	got := make(chan *collector.ExportTraceServiceRequest, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		request := new(collector.ExportTraceServiceRequest)
		if err := proto.Unmarshal(body, request); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		got <- request
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	traces, err := NewTraces(t.Context(), Identity{Service: "gateway", Version: "v1"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, span := traces.Provider().Tracer("test").Start(t.Context(), "chat-message")
	span.End()
	if err := traces.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent := (<-got).ResourceSpans[0]
	if name := sent.ScopeSpans[0].Spans[0].Name; name != "chat-message" {
		t.Errorf("span %q", name)
	}
	has := make(map[string]string)
	for _, a := range sent.Resource.Attributes {
		has[a.Key] = a.Value.GetStringValue()
	}
	if has["service.name"] != "gateway" || has["service.version"] != "v1" || has["deployment.environment.name"] != "test" {
		t.Errorf("resource %v", has)
	}
}

func TestLinesOfATrace(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		log, err := NewLogger(&out, "info", format)
		if err != nil {
			t.Fatal(err)
		}
		log = log.With("gateway", "g1")
		log.Info("before")
		if strings.Contains(out.String(), "trace_id") {
			t.Errorf("%s: %s", format, out.String())
		}
		ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
		}))
		log.InfoContext(ctx, "within")
		for _, want := range []string{"trace_id", "01000000000000000000000000000000", "span_id", "0200000000000000"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %s in %s", format, want, out.String())
			}
		}
	}
}

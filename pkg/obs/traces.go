package obs

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Traces are the traces of one program, sent by OTLP to where the variables
// OTEL_* say. Most programs have none: a nil *Traces traces nothing, and its
// Provider is nil, which is what all that could trace looks at first.
type Traces struct{ provider *sdk.TracerProvider }

// NewTraces makes the traces of a program, nil where the environment does not
// ask for any. What is sampled, how much waits to be sent (2048 spans unless
// OTEL_BSP_MAX_QUEUE_SIZE says otherwise; more are dropped) and the resource are the
// SDK's to read there. The logger gets what cannot be sent.
func NewTraces(ctx context.Context, program Identity, log *slog.Logger) (*Traces, error) {
	protocol, err := otlp("TRACES")
	if protocol == "" || err != nil {
		return nil, err
	}
	var exporter sdk.SpanExporter
	if protocol == protocolGRPC {
		exporter, err = otlptracegrpc.New(ctx)
	} else {
		exporter, err = otlptracehttp.New(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("make trace exporter: %w", err)
	}
	found, err := program.resource(ctx)
	if err != nil {
		return nil, err
	}
	return &Traces{sdk.NewTracerProvider(
		sdk.WithBatcher(loggedSpans{exporter, log}),
		sdk.WithResource(found),
	)}, nil
}

// Provider gives what makes tracers, nil where nothing is traced.
func (t *Traces) Provider() trace.TracerProvider {
	if t == nil {
		return nil
	}
	return t.provider
}

// Shutdown sends what waits, until ctx ends.
func (t *Traces) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("shut down traces: %w", err)
	}
	return nil
}

// loggedSpans logs what fails. The SDK would tell a handler of the whole process.
type loggedSpans struct {
	sdk.SpanExporter
	log *slog.Logger
}

func (l loggedSpans) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if err := l.SpanExporter.ExportSpans(ctx, spans); err != nil {
		l.log.Warn("sending traces", "spans", len(spans), "error", err)
	}
	return nil
}

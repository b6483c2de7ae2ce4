package fanout

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-im/parley/pkg/bus"
)

// delivering begins the span of a delivery, which goes from the entry's coming
// to the end of the worker's turn, when members' sockets have taken what they
// take at once.
func (r *room) delivering(seq uint64, t *bus.Trace) {
	tracer := r.hub.tracer
	if tracer == nil {
		return
	}
	_, span := tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), t.Parent), "deliver",
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(t.Came), trace.WithAttributes(
			attribute.String("messaging.system", "nats"),
			attribute.String("messaging.operation.type", "process"),
			attribute.String("parley.room", r.id),
			attribute.Int64("parley.seq", int64(seq)),
			attribute.Int("parley.members", len(r.members)),
			// It was read from the log, for it had not come by itself.
			attribute.Bool("parley.filled", r.reading),
		))
	if !t.Stored.IsZero() {
		span.AddEvent("stored", trace.WithTimestamp(t.Stored))
	}
	r.worker.spans = append(r.worker.spans, span)
}

// delivered ends the spans of a turn.
func (w *worker) delivered() {
	for _, span := range w.spans {
		span.End()
	}
	clear(w.spans)
	w.spans = w.spans[:0]
}

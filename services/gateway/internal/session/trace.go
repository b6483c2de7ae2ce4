package session

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-im/parley/pkg/errs"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// trace begins the span of a request, in the trace that the client has named or
// in one of its own. It is called only where requests are traced.
func (s *Session) trace(kind, room string, f *wirev1.ClientFrame) context.Context {
	ctx := context.Background()
	if f.Traceparent != nil {
		// What is malformed begins a trace of its own (W3C Trace Context, 4.3).
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": *f.Traceparent})
	}
	ctx, span := s.hub.opts.Tracer.Start(ctx, kind, trace.WithSpanKind(trace.SpanKindServer))
	if span.IsRecording() {
		span.SetAttributes(attribute.String("parley.connection", s.log.connection))
		if room != "" {
			span.SetAttributes(attribute.String("parley.room", room))
		}
	}
	return ctx
}

// traced ends the span of a request that has come to this. A refusal is no
// error of the gateway's.
func (s *Session) traced(ctx context.Context, err error) {
	if s.hub.opts.Tracer == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	if err != nil && span.IsRecording() {
		code := errs.From(err).Code
		span.SetAttributes(attribute.String("error.type", string(code)))
		if code == errs.Internal || code == errs.Unavailable {
			span.SetStatus(codes.Error, string(code))
		}
	}
	span.End()
}

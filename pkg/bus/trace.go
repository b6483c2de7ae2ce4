package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// A message that is traced takes its trace along in its headers, which the log
// keeps and republishes with it: so the gateways that deliver it go on with the
// trace of the one that took it in. Others have no such header, and cost nothing.

// Trace is the trace of an entry that came out of the log.
type Trace struct {
	// Parent is the span of the publish.
	Parent trace.SpanContext
	// Came is when this process got it; Stored when the log kept it, by the
	// server's clock, zero where that is not known.
	Came, Stored time.Time
}

// traced begins the span of a publish and puts it into the message's headers.
// done is what ends it; where the publish is not sampled, it is the one given.
func (b *Bus) traced(ctx context.Context, msg *nats.Msg, done func(int, Ack, error)) func(int, Ack, error) {
	ctx, span := b.tracer.Start(ctx, "publish parley.log", trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"),
		attribute.String("messaging.operation.type", "send"),
		attribute.String("messaging.destination.template", subjectLog+"<shard>.<room>"),
		attribute.String("messaging.destination.name", msg.Subject),
		attribute.Int("messaging.message.body.size", len(msg.Data)),
	))
	if !span.SpanContext().IsSampled() {
		span.End()
		return done
	}
	propagation.TraceContext{}.Inject(ctx, headers(msg.Header))
	return func(worker int, ack Ack, err error) {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, "the log has not taken it")
		} else {
			span.SetAttributes(attribute.Int64("parley.seq", int64(ack.Seq)), attribute.Bool("parley.duplicate", ack.Duplicate))
		}
		span.End()
		done(worker, ack, err)
	}
}

// traceOf reads the trace that a message came with, nil for none.
func (b *Bus) traceOf(msg *nats.Msg) *Trace {
	if b.tracer == nil || len(msg.Header[headerTrace]) == 0 {
		return nil
	}
	parent := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), headers(msg.Header)))
	if !parent.IsSampled() {
		return nil
	}
	t := &Trace{Parent: parent, Came: time.Now()}
	t.Stored, _ = time.Parse(time.RFC3339Nano, msg.Header.Get(headerTime)) // zero where there is none
	return t
}

// headers are NATS's, whose names are as they are written.
type headers nats.Header

func (h headers) Get(key string) string { return nats.Header(h).Get(key) }
func (h headers) Set(key, value string) { h[key] = []string{value} }
func (h headers) Keys() []string        { return nil } // propagation.TraceContext asks for none

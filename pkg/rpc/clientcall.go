package rpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/errs"
)

// maxMargin is the most that a call's deadline comes before its caller's: the
// time for an answer to come back and be made something of.
const maxMargin = 50 * time.Millisecond

// caller is one client connection's way of making calls.
type caller struct {
	name     string
	onBehalf bool
	timeout  time.Duration
	log      *slog.Logger
	limit    seldom
	down     atomic.Bool

	calls    metric.Int64Counter
	duration metric.Float64Histogram
	labels   labels
}

func newCaller(name string, o ClientOptions) *caller {
	c := &caller{name: name, onBehalf: o.OnBehalf, timeout: o.Timeout, log: o.Logger, labels: labels{service: name}}
	var errCalls, errDuration error
	c.calls, errCalls = o.Meter.Int64Counter("parley.rpc.client.calls",
		metric.WithUnit("{call}"), metric.WithDescription("Calls made to other services, by service, method and code."))
	c.duration, errDuration = o.Meter.Float64Histogram("parley.rpc.client.duration", metric.WithUnit("s"),
		metric.WithDescription("How long unary calls to other services took."))
	if err := errors.Join(errCalls, errDuration); err != nil {
		o.Logger.Error("making metrics", "error", err)
	}
	return c
}

func (c *caller) unary(ctx context.Context, name string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	inner, cancel := c.deadline(ctx)
	defer cancel()
	start := time.Now()
	err := fromStatus(ctx, c.name, c.onBehalf, invoke(inner, name, req, reply, conn, opts...))
	c.done(ctx, name, err)
	c.duration.Record(ctx, time.Since(start).Seconds(), c.labels.of(name, "").record...)
	return err
}

// deadline gives a call a little less time than its caller has.
func (c *caller) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, has := ctx.Deadline()
	if !has {
		return context.WithTimeout(ctx, c.timeout)
	}
	left := max(time.Until(deadline), 0)
	return context.WithDeadline(ctx, deadline.Add(-min(left/10, maxMargin)))
}

func (c *caller) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, name string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := streamer(ctx, desc, conn, name, opts...)
	if err != nil {
		err = fromStatus(ctx, c.name, c.onBehalf, err)
		c.done(ctx, name, err)
		return nil, err
	}
	return &clientStream{ClientStream: s, c: c, ctx: ctx, name: name}, nil
}

// clientStream is a stream whose errors are ours. ctx is the caller's own and
// lives as long as the stream.
type clientStream struct {
	grpc.ClientStream
	c    *caller
	ctx  context.Context
	name string
	once sync.Once

	heard bool // something came; only who receives has it
}

func (s *clientStream) RecvMsg(m any) error {
	err := fromStatus(s.ctx, s.c.name, s.c.onBehalf, s.ClientStream.RecvMsg(m))
	if err != nil {
		s.once.Do(func() {
			switch {
			case err == io.EOF: //nolint:errorlint // gRPC gives io.EOF as it is
				s.c.done(s.ctx, s.name, nil)
			case s.heard && errs.CodeOf(err) == errs.Unavailable:
				// A replica that ends in order cuts what it streams. Whether
				// the service is lost, the next call tells.
				s.c.count(s.ctx, s.name, string(errs.Unavailable))
			default:
				s.c.done(s.ctx, s.name, err)
			}
		})
		return err
	}
	s.heard = true
	return nil
}

func (s *clientStream) SendMsg(m any) error {
	return fromStatus(s.ctx, s.c.name, s.c.onBehalf, s.ClientStream.SendMsg(m))
}

func (s *clientStream) CloseSend() error {
	return fromStatus(s.ctx, s.c.name, s.c.onBehalf, s.ClientStream.CloseSend())
}

func (c *caller) count(ctx context.Context, name, code string) {
	c.calls.Add(ctx, 1, c.labels.of(name, code).add...)
}

// done counts a call and tells when the service is lost and found.
func (c *caller) done(ctx context.Context, name string, err error) {
	code := "ok"
	switch {
	case errors.Is(err, context.Canceled):
		code = "canceled"
	case err != nil:
		code = codeLabel(errs.CodeOf(err))
	}
	c.count(ctx, name, code)
	switch code {
	case "canceled": // says nothing about the service
	case string(errs.Unavailable):
		if !c.down.Swap(true) && c.limit.allow() {
			c.log.WarnContext(ctx, "a service does not answer", "service", c.name, "method", name, "error", err)
		}
	default:
		if c.down.Swap(false) {
			c.log.InfoContext(ctx, "a service answers again", "service", c.name)
		}
	}
}

package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/parley-im/parley/pkg/errs"
)

const (
	// slowCall is what a unary call is said to be slow from.
	slowCall = time.Second
	// pushback with a negative value tells clients not to try again (gRFC A6).
	pushback = "grpc-retry-pushback-ms"
)

// panicked is what a handler's panic becomes.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.opts.Timeout)
		defer cancel()
	}
	start := time.Now()
	err = s.guard(ctx, info.FullMethod, func(ctx context.Context) error {
		resp, err = handler(ctx, req)
		return err
	})
	code, out := s.conclude(ctx, info.FullMethod, err)
	took := time.Since(start)
	s.metrics.unary(ctx, info.FullMethod, code, took)
	s.opts.Logger.DebugContext(ctx, "call", "method", info.FullMethod, "code", code, "duration", took)
	if took >= slowCall && s.limit.allow() {
		s.opts.Logger.WarnContext(ctx, "slow call", "method", info.FullMethod, "code", code, "duration", took)
	}
	if out != nil {
		return nil, out
	}
	return resp, nil
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, cancel := context.WithCancelCause(ss.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.stopping, func() { cancel(errStopping) })()
	s.metrics.opened(ctx, info.FullMethod)
	start := time.Now()
	err := s.guard(ctx, info.FullMethod, func(ctx context.Context) error {
		return handler(srv, &serverStream{ServerStream: ss, ctx: ctx, asked: start, mayGoOn: func() error {
			_, err := s.admit(ctx, info.FullMethod)
			return err
		}})
	})
	code, out := s.conclude(ctx, info.FullMethod, err)
	s.metrics.closed(ctx, info.FullMethod, code)
	s.opts.Logger.DebugContext(ctx, "stream", "method", info.FullMethod, "code", code, "duration", time.Since(start))
	return out
}

// askAgain is how often a stream that sends is asked whether its caller is
// still known: a stream may last for months, and credentials are taken away.
const askAgain = time.Second

// serverStream is a stream with the context that also ends with the server, and
// that sends nothing any more to a caller who has lost the right to it.
type serverStream struct {
	grpc.ServerStream
	ctx     context.Context
	mayGoOn func() error
	asked   time.Time
}

func (s *serverStream) Context() context.Context { return s.ctx }

func (s *serverStream) SendMsg(m any) error {
	if now := time.Now(); now.Sub(s.asked) >= askAgain {
		s.asked = now
		if err := s.mayGoOn(); err != nil {
			return err
		}
	}
	return s.ServerStream.SendMsg(m)
}

// guard asks whether the call may be made, and catches its panic.
func (s *Server) guard(ctx context.Context, method string, handle func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{p, debug.Stack()}
		}
	}()
	if ctx, err = s.admit(ctx, method); err != nil {
		return err
	}
	return handle(ctx)
}

// conclude makes the status a call is answered with, and the code it is
// counted under. What nobody else will hear of is logged here, and only here.
func (s *Server) conclude(ctx context.Context, method string, err error) (code string, out error) {
	if err == nil {
		return "ok", nil
	}
	var coded *errs.Error
	if !errors.As(err, &coded) {
		stopping := errors.Is(context.Cause(ctx), errStopping)
		// A status as it is comes from gRPC: its generated code, its health
		// service, a send to a client that is gone.
		if st, ok := err.(interface{ GRPCStatus() *status.Status }); ok && !stopping { //nolint:errorlint // wrapped ones are another service's
			return codeName(st.GRPCStatus().Code()), err
		}
		switch {
		case stopping:
			coded = errs.Missing("this replica", errStopping)
		case errors.Is(ctx.Err(), context.Canceled):
			return codeName(codes.Canceled), status.FromContextError(context.Canceled).Err()
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return codeName(codes.DeadlineExceeded), status.FromContextError(context.DeadlineExceeded).Err()
		default:
			coded = errs.From(err)
		}
	}
	s.log(ctx, method, err, coded)
	if coded.Code == errs.Unavailable {
		// Whoever made this error has tried already.
		_ = grpc.SetTrailer(ctx, metadata.Pairs(pushback, "-1")) // fails only outside of a call
	}
	if coded.Code == errs.Internal {
		coded = errs.New(errs.Internal, "an internal error")
	}
	return codeLabel(coded.Code), toStatus(coded, errors.As(err, new(refusal))).Err()
}

func (s *Server) log(ctx context.Context, method string, err error, coded *errs.Error) {
	level := slog.LevelDebug
	switch {
	case coded.Code == errs.Internal:
		level = slog.LevelError
	case coded.Code == errs.Unavailable && ctx.Err() == nil && s.limit.allow():
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.String("method", method), slog.Any("error", err)}
	var p *panicked
	if errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	s.opts.Logger.LogAttrs(ctx, level, "call failed", attrs...)
}

// codeLabel bounds what a metric is counted under to the codes there are.
func codeLabel(c errs.Code) string {
	if _, known := statusCodes[c]; known {
		return string(c)
	}
	return "other"
}

// codeName gives gRPC's own codes names like ours.
func codeName(c codes.Code) string {
	switch c {
	case codes.OK:
		return "ok"
	case codes.Canceled:
		return "canceled"
	case codes.DeadlineExceeded:
		return "deadline-exceeded"
	case codes.Unavailable:
		return "unavailable"
	case codes.Unimplemented:
		return "unimplemented"
	}
	return "other"
}

type serverMetrics struct {
	calls    metric.Int64Counter
	duration metric.Float64Histogram
	streams  metric.Int64UpDownCounter
	labels   *labels
}

// newServerMetrics makes the instruments; they are labelled with methods that
// are registered, so clients cannot make labels up.
func newServerMetrics(meter metric.Meter, log *slog.Logger) (m serverMetrics) {
	var errCalls, errDuration, errStreams error
	m.labels = new(labels)
	m.calls, errCalls = meter.Int64Counter("parley.rpc.server.calls",
		metric.WithUnit("{call}"), metric.WithDescription("Calls answered, by method and code."))
	m.duration, errDuration = meter.Float64Histogram("parley.rpc.server.duration", metric.WithUnit("s"),
		metric.WithDescription("How long unary calls took."))
	m.streams, errStreams = meter.Int64UpDownCounter("parley.rpc.server.streams",
		metric.WithUnit("{stream}"), metric.WithDescription("Streams open now."))
	if err := errors.Join(errCalls, errDuration, errStreams); err != nil {
		log.Error("making metrics", "error", err)
	}
	return m
}

func (m serverMetrics) unary(ctx context.Context, name, code string, took time.Duration) {
	m.calls.Add(ctx, 1, m.labels.of(name, code).add...)
	m.duration.Record(ctx, took.Seconds(), m.labels.of(name, "").record...)
}

func (m serverMetrics) opened(ctx context.Context, name string) {
	m.streams.Add(ctx, 1, m.labels.of(name, "").add...)
}

func (m serverMetrics) closed(ctx context.Context, name, code string) {
	m.streams.Add(ctx, -1, m.labels.of(name, "").add...)
	m.calls.Add(ctx, 1, m.labels.of(name, code).add...)
}

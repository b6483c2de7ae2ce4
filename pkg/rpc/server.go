package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/parley-im/parley/pkg/access"
)

const (
	// maxMessage bounds one message in bytes, both ways and on both sides.
	maxMessage = 4 << 20
	// defaultMaxStreams bounds the calls that one connection may have open at
	// once. A gateway has one connection to each replica.
	defaultMaxStreams = 8192
	// defaultServerTimeout is what a unary call gets that came without a
	// deadline.
	defaultServerTimeout = 10 * time.Second
	// stopTimeout is how long calls may go on once the server is to end.
	stopTimeout = 5 * time.Second
	// clientPingEvery is gRPC's own minimum; the server must allow a little
	// more often than the clients do it, or it cuts them off.
	clientPingEvery   = 10 * time.Second
	clientPingTimeout = 3 * time.Second
	clientPingMinimum = 5 * time.Second
	// serverPingEvery lets a server find out about clients that are gone
	// without a word, and end the streams it keeps for them.
	serverPingEvery   = 20 * time.Second
	serverPingTimeout = 5 * time.Second
)

// ServerOptions says how a server is to be.
type ServerOptions struct {
	// Name is who logs.
	Name string
	// TLS secures the connections that come over a network; nil serves them in
	// the clear. Who shows no certificate is let in as far as Credentials say.
	TLS *TLS
	// Credentials tell who calls and so which methods may be called (package
	// access). Health needs none, and reflection any that are known. Nil lets
	// in calls within this process alone.
	Credentials *access.Credentials
	// Timeout is what a unary call gets that came without a deadline; default
	// 10 s.
	Timeout time.Duration
	// MaxStreams is how many calls one connection may have open at once;
	// default 8192. More wait at the client.
	MaxStreams uint32
	// Logger gets calls that failed or were slow, at debug level all; nil
	// discards.
	Logger *slog.Logger
	// Meter records parley.rpc.server.*; nil records nothing.
	Meter metric.Meter
	// Traces makes each call a span; nil traces nothing.
	Traces trace.TracerProvider
}

func (o *ServerOptions) complete() {
	if o.Timeout <= 0 {
		o.Timeout = defaultServerTimeout
	}
	if o.MaxStreams == 0 {
		o.MaxStreams = defaultMaxStreams
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Name != "" {
		o.Logger = o.Logger.With("server", o.Name)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	if o.Credentials == nil {
		o.Credentials = noCredentials()
	}
}

// Server serves gRPC, with health (grpc.health.v1) and reflection beside what
// is registered. It is run once.
type Server struct {
	opts    ServerOptions
	grpc    *grpc.Server
	health  *health.Server
	checks  []*healthCheck
	metrics serverMetrics
	limit   seldom
	// needed is the scope that each method needs; Run makes it.
	needed   map[string]access.Scope
	refusals seldom

	// stopping ends with errStopping when the server is to end. It is kept
	// because streams, which may last for ever, are to hear of it.
	stopping context.Context
	stop     context.CancelCauseFunc
}

var errStopping = errors.New("this process is stopping")

// NewServer makes a server. Register services and health before Run.
func NewServer(opts ServerOptions) *Server {
	opts.complete()
	s := &Server{opts: opts, health: health.NewServer()}
	s.metrics = newServerMetrics(opts.Meter, opts.Logger)
	s.stopping, s.stop = context.WithCancelCause(context.Background())
	options := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(s.unary),
		grpc.ChainStreamInterceptor(s.stream),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(opts.MaxStreams),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: clientPingMinimum, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: serverPingEvery, Timeout: serverPingTimeout}),
		// A handler's goroutine is ours, so the end waits for it. Handlers hear
		// by their context that time is up.
		grpc.WaitForHandlers(true),
		grpc.Creds(newServerTransport(opts.TLS)),
	}
	if opts.Traces != nil {
		options = append(options, grpc.StatsHandler(otelgrpc.NewServerHandler(traced(opts.Traces)...)))
	}
	s.grpc = grpc.NewServer(options...)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	// Until it runs, nothing is served.
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	reflection.Register(s.grpc)
	return s
}

// Registrar is where services are registered.
func (s *Server) Registrar() grpc.ServiceRegistrar { return s.grpc }

// Run serves on the listeners, which it closes, until ctx ends, or one of them
// fails. Then health says not serving, streams are told by their contexts to
// end, unary calls may go on for at most 5 s, and all connections are closed.
// The error is nil when ctx ended.
func (s *Server) Run(ctx context.Context, listeners ...net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.needed = s.needs()
	var wg sync.WaitGroup
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		wg.Go(func() {
			if err := s.grpc.Serve(l); err != nil {
				failed <- fmt.Errorf("serving gRPC on %s: %w", l.Addr(), err)
			}
		})
	}
	wg.Go(func() { s.watchHealth(ctx) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		cancel()
	}
	s.shutDown()
	wg.Wait()
	return err
}

func (s *Server) shutDown() {
	s.health.Shutdown()
	s.stop(errStopping)
	timer := time.AfterFunc(stopTimeout, func() {
		s.opts.Logger.Warn("calls did not end in time and are cut off", "after", stopTimeout)
		s.grpc.Stop()
	})
	s.grpc.GracefulStop()
	timer.Stop()
}

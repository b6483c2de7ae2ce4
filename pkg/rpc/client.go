package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // the client's side of health checks
	"google.golang.org/grpc/keepalive"
)

const (
	// defaultClientTimeout is what a unary call gets whose context has no
	// deadline.
	defaultClientTimeout = 3 * time.Second
	// connectTimeout bounds the making of one connection. An address that
	// swallows packets holds up the very first calls for as long.
	connectTimeout = 2 * time.Second
)

// reconnect is how long a service that is gone is left alone between attempts;
// one that was restarted is to be found within a second.
var reconnect = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}

// ClientOptions says how a service is to be called.
type ClientOptions struct {
	// Service is the full gRPC name ("parley.history.v1.History") whose health
	// decides which replicas are called; empty asks for the health of all that
	// they serve.
	Service string
	// Idempotent are the full names of the methods ("/parley.….v1.X/Get…")
	// that may be carried out twice: they are tried up to 3 times when a
	// connection fails under them. Every other call is tried again only when
	// it is certain that no server has seen it.
	Idempotent []string
	// InProcess is the listener to dial where the service is in this process;
	// target and TLS are not used then.
	InProcess *InProcess
	// TLS secures the connections; nil speaks in the clear.
	TLS *TLS
	// Token gives each call its bearer token; nil sends none. Without TLS it
	// crosses the network in the clear.
	Token func(ctx context.Context) (string, error)
	// OnBehalf says that others are answered with what calls end with. That the
	// service refuses this client's credentials, which is not for them, is then
	// an unavailable error.
	OnBehalf bool
	// Timeout is what a unary call gets whose context has no deadline; default
	// 3 s.
	Timeout time.Duration
	// Logger gets a line when the service is out of reach and when it is back;
	// nil discards.
	Logger *slog.Logger
	// Meter records parley.rpc.client.*; nil records nothing.
	Meter metric.Meter
	// Traces makes each call a span; nil traces nothing.
	Traces trace.TracerProvider
}

func (o *ClientOptions) complete() {
	if o.Timeout <= 0 {
		o.Timeout = defaultClientTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
}

// Dial makes a client connection to a service: name is what errors, logs and
// metrics call it ("registry"), target is "host:port", several of them
// separated by commas, "dns:///host:port" for all addresses of a name, or what
// SocketAddress gives.
// Calls go round the replicas that are in reach and healthy.
//
// Dial does not wait for the service, which may start later; its errors are
// those of target and options. Calls over the connection fail with package
// errs' errors, unavailable where the service is out of reach, or with
// context.Canceled.
func Dial(name, target string, opts ClientOptions) (*grpc.ClientConn, error) {
	opts.complete()
	config, err := serviceConfig(opts)
	if err != nil {
		return nil, fmt.Errorf("dialing the %s service: %w", name, err)
	}
	c := newCaller(name, opts)
	options := []grpc.DialOption{
		grpc.WithDefaultServiceConfig(config),
		grpc.WithDisableServiceConfig(), // DNS has no say in it
		grpc.WithNoProxy(),              // services are neighbours
		grpc.WithUserAgent("parley"),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: connectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: clientPingEvery, Timeout: clientPingTimeout, PermitWithoutStream: true,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithChainUnaryInterceptor(c.unary),
		grpc.WithChainStreamInterceptor(c.stream),
	}
	if opts.Traces != nil {
		options = append(options, grpc.WithStatsHandler(otelgrpc.NewClientHandler(traced(opts.Traces)...)))
	}
	var transport credentials.TransportCredentials = insecure.NewCredentials()
	if opts.InProcess != nil {
		target = "passthrough:///" + name
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return opts.InProcess.DialContext(ctx)
		}))
	} else {
		var how []grpc.DialOption
		if target, how, err = resolve(name, target); err != nil {
			return nil, fmt.Errorf("dialing the %s service: %w", name, err)
		}
		options = append(options, how...)
		if opts.TLS != nil {
			transport = newClientTransport(opts.TLS)
		}
	}
	options = append(options, grpc.WithTransportCredentials(transport))
	if opts.Token != nil {
		options = append(options, grpc.WithPerRPCCredentials(tokens(opts.Token)))
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("dialing the %s service: %w", name, err)
	}
	conn.Connect() // so that the first call need not wait
	return conn, nil
}

// serviceConfig writes gRPC's JSON for balancing, health and retries
// (grpc/service_config/service_config.proto, gRFC A6 and A17).
func serviceConfig(o ClientOptions) (string, error) {
	type object = map[string]any
	config := object{
		"loadBalancingConfig": []object{{"round_robin": object{}}},
		"healthCheckConfig":   object{"serviceName": o.Service},
		// The budget: ten calls that fail in a row end all retries, and it
		// takes ten that succeed for each to be earned back.
		"retryThrottling": object{"maxTokens": 20, "tokenRatio": 0.1},
	}
	if len(o.Idempotent) > 0 {
		var names []object
		for _, full := range o.Idempotent {
			service, method, ok := strings.Cut(strings.TrimPrefix(full, "/"), "/")
			if !ok || service == "" || method == "" {
				return "", fmt.Errorf("idempotent method %q: not /service/method", full)
			}
			names = append(names, object{"service": service, "method": method})
		}
		config["methodConfig"] = []object{{
			"name": names,
			"retryPolicy": object{
				"maxAttempts": 3, "initialBackoff": "0.02s", "maxBackoff": "0.2s", "backoffMultiplier": 3,
				"retryableStatusCodes": []string{"UNAVAILABLE"},
			},
		}}
	}
	text, err := json.Marshal(config)
	return string(text), err
}

// tokens puts a bearer token on each call (RFC 6750).
type tokens func(ctx context.Context) (string, error)

func (t tokens) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := t(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity is the operator's to decide, by TLS.
func (tokens) RequireTransportSecurity() bool { return false }

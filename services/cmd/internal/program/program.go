package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/pkg/access"
	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/obs"
	"github.com/parley-im/parley/pkg/rpc"
	"github.com/parley-im/parley/pkg/run"
)

// Program is one program: its settings, and what they make.
type Program struct {
	Set  *config.Set
	name string

	logLevel, logFormat string
	adminAddr           string
	pprof               bool
	grace, patience     time.Duration
	nats                natsSettings
	trust               trustSettings
}

// New makes a program with the settings that all of them have.
func New(name, about string) *Program {
	p := &Program{
		Set: config.New(name, about), name: name,
		logLevel: "info", logFormat: "auto", adminAddr: ":9090", grace: run.DefaultGrace, patience: 5 * time.Second,
	}
	p.Set.Section("Operation")
	p.Set.String(&p.logLevel, "log-level", "what to log").OneOf("debug", "info", "warn", "error")
	p.Set.String(&p.logFormat, "log-format", "auto is text on a terminal and JSON elsewhere").OneOf("auto", "json", "text")
	p.Set.String(&p.adminAddr, "admin-addr", "where health, readiness and metrics are served; empty for nowhere").Check(listening(&p.adminAddr))
	p.Set.Bool(&p.pprof, "pprof", "serve profiles on the admin port; they show memory")
	p.Set.Duration(&p.patience, "ready-patience", "how long what is needed, such as NATS, may be gone before /readyz says so")
	p.Set.Duration(&p.grace, "grace", "how long stopping may take in all")
	return p
}

// Env is what a program's parts are made with.
type Env struct {
	Bus     *bus.Bus
	Logger  *slog.Logger
	Metrics *obs.Metrics
	Traces  *obs.Traces
	Admin   *obs.Admin
	program *Program
}

// load reads the settings and makes what every program has; a nil Env without
// an error has nothing left to do.
func (p *Program) load(ctx context.Context, args []string) (*Env, error) {
	p.Set.AlsoKnown(Names()...)
	action, err := p.Set.Load(args, os.Environ(), os.Stdout)
	if err != nil || action == config.Stop {
		return nil, err
	}
	env := &Env{program: p}
	if env.Logger, err = obs.NewLogger(os.Stderr, p.logLevel, p.logFormat); err != nil {
		return nil, err
	}
	env.Logger = env.Logger.With("program", p.name)
	who := obs.Identity{Service: p.name, Version: config.Version()}
	if env.Metrics, err = obs.NewMetrics(ctx, who, env.Logger); err != nil {
		return nil, err
	}
	if err := p.trust.start(env); err != nil {
		return nil, err
	}
	env.Traces, err = obs.NewTraces(ctx, who, env.Logger)
	return env, err
}

// telemetryTimeout bounds how long the end waits for what is still to be sent.
const telemetryTimeout = 3 * time.Second

// close sends what is left of the telemetry.
func (env *Env) close() {
	ctx, cancel := context.WithTimeout(context.Background(), telemetryTimeout)
	defer cancel()
	if err := errors.Join(env.Traces.Shutdown(ctx), env.Metrics.Shutdown(ctx)); err != nil {
		env.Logger.Warn("ending the telemetry", "error", err)
	}
}

// Part is a service made ready to run.
type Part struct {
	Name  string
	Run   func(context.Context) error
	Ready func(context.Context) error
	// Health replaces the admin port's own report; nil keeps it.
	Health func(context.Context) (any, int)
	// Full says that there is room for no more connections; nil is never.
	Full func() bool
	// Pages are what it adds to the admin port; nil is nothing.
	Pages http.Handler
	// grpc is what it serves over gRPC, nil for nothing.
	grpc *grpcPart
}

// pagesOf serves the pages of a part as soon as it is made.
func pagesOf(part *atomic.Pointer[Part]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if made := part.Load(); made != nil && made.Pages != nil {
			made.Pages.ServeHTTP(w, r)
		} else {
			http.NotFound(w, r)
		}
	})
}

// Run runs a program of one service: the admin port from the beginning, the
// connection to NATS as soon as it can be had, then what build makes of it.
func (p *Program) Run(ctx context.Context, args []string, build func(*Env) (*Part, error)) error {
	p.nats.settings(p.Set).Required()
	env, err := p.load(ctx, args)
	if env == nil || err != nil {
		return err
	}
	defer env.close()
	ctx, drain := context.WithCancel(ctx)
	defer drain()
	var part atomic.Pointer[Part]
	health := func(ctx context.Context) (any, int) {
		if made := part.Load(); made != nil && made.Health != nil {
			return made.Health(ctx)
		}
		return env.Admin.Report(ctx)
	}
	ready := func(ctx context.Context) error {
		if made := part.Load(); made != nil {
			return made.Ready(ctx)
		}
		return errors.New("waiting for NATS")
	}
	asking := func(check func(*bus.Bus, context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			if part.Load() == nil { // only then the bus is there
				return errors.New("waiting for NATS")
			}
			return check(env.Bus, ctx)
		}
	}
	env.Admin, err = obs.NewAdmin(obs.AdminOptions{
		Addr: p.adminAddr, Logger: env.Logger, Metrics: env.Metrics, Pprof: p.pprof, Health: health,
		Patience: p.patience, Full: func() bool {
			made := part.Load()
			return made != nil && made.Full != nil && made.Full()
		}, Pages: pagesOf(&part),
		Ready: append([]obs.Check{{Name: p.name, Check: ready}}, busChecks(asking)...),
		Drain: func(token string) error {
			who, err := p.trust.credentials.Caller(access.Proof{Token: token})
			if err == nil && !who.May(access.Admin) {
				err = errs.New(errs.Forbidden, "needs the scope admin")
			}
			if err != nil {
				return err
			}
			env.Logger.Info("told to end", "by", who.Name)
			drain()
			return nil
		},
	})
	if err != nil {
		return err
	}
	parts := run.Parts{Grace: p.grace, Logger: env.Logger}
	parts.Add("admin", env.Admin.Run)
	parts.Add(p.name, func(ctx context.Context) error {
		options := p.nats.options(p.name, env)
		if env.Bus, err = bus.Connect(ctx, options); err != nil {
			return err
		}
		defer env.Bus.Close()
		made, err := build(env)
		if err != nil {
			return err
		}
		part.Store(made)
		context.AfterFunc(ctx, env.Admin.SetDraining)
		return made.run(ctx, env)
	})
	return parts.Run(ctx)
}

// run runs a part's service and, where it has one, its gRPC server.
func (part *Part) run(ctx context.Context, env *Env) error {
	if part.grpc == nil {
		return part.Run(ctx)
	}
	listener, err := net.Listen("tcp", part.grpc.addr)
	if err != nil {
		return fmt.Errorf("grpc-addr: listening: %w", err)
	}
	server := env.server(part.Name, part)
	env.Logger.Info("serving gRPC", "addr", listener.Addr().String())
	// The server ends first: what it answers needs the service.
	parts := run.Parts{Grace: env.program.grace, Logger: env.Logger}
	parts.Add(part.Name, part.Run)
	parts.Add("grpc", func(ctx context.Context) error { return server.Run(ctx, listener) })
	return parts.Run(ctx)
}

// server makes a gRPC server of some parts.
func (env *Env) server(name string, parts ...*Part) *rpc.Server {
	server := rpc.NewServer(rpc.ServerOptions{
		Name: name, TLS: env.program.trust.tls, Credentials: env.program.trust.credentials,
		Logger: env.Logger, Meter: env.Metrics.Meter("parley/rpc"), Traces: env.Traces.Provider(),
	})
	for _, part := range parts {
		part.grpc.register(server.Registrar())
		server.Health(part.grpc.service, part.Ready)
	}
	return server
}

// busChecks are what /readyz tells of NATS; asking makes each of them one of the
// program's bus.
func busChecks(asking func(func(*bus.Bus, context.Context) error) func(context.Context) error) []obs.Check {
	return []obs.Check{
		{Name: "nats", Check: asking((*bus.Bus).Check)},
		{Name: "log", Check: asking((*bus.Bus).CheckLog), Borne: true},
		{Name: "clock", Check: asking((*bus.Bus).CheckClock), Borne: true},
	}
}

package program

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/pkg/obs"
	"github.com/parley-im/parley/pkg/rpc"
	"github.com/parley-im/parley/pkg/run"
)

// ServeSettings are the settings of parley serve: those of all services, and
// where its own NATS keeps its data.
type ServeSettings struct {
	dataDir  string
	sync     time.Duration
	nats     natsSettings
	auth     AuthSettings
	registry RegistrySettings
	history  HistorySettings
	presence PresenceSettings
	events   EventsSettings
	eventsOn bool
	gateway  GatewaySettings
	services addresses // where gRPC is served on TCP too
	trust    *trustSettings
}

func (v *ServeSettings) register(s *config.Set) {
	s.Section("Data")
	// 1 s costs about 7 % more CPU for each message than the server's own 2
	// minutes (BenchmarkPublish), and bounds what a power cut takes.
	v.dataDir, v.sync = defaultDataDir, time.Second
	s.String(&v.dataDir, "data-dir", "where everything is kept; made if it is not there")
	s.Duration(&v.sync, "sync", "how often stored messages are forced to disk; 0 is every 2m, negative is each one before its ack (about 5,000 a second)")
	v.gateway.register(s)
	v.history.register(s)
	v.registry.register(s)
	v.auth.AutoRegister = true
	v.auth.settings(s)
	v.events.register(s)
	s.Bool(&v.eventsOn, "events", "keep what happens as events for back ends")
	v.nats.register(s)
	s.Section("gRPC")
	for _, service := range []struct {
		name string
		addr *string
	}{
		{"auth", &v.services.auth}, {"registry", &v.services.registry},
		{"history", &v.services.history}, {"presence", &v.services.presence},
		{"events", &v.services.events},
	} {
		s.String(service.addr, service.name+"-addr", "serve "+service.name+"'s API here too, for other back ends").Check(listening(service.addr))
	}
	s.Validate(func() error {
		if v.nats.URL == "" && v.nats.Replicas > 1 {
			return errors.New("replicas: the NATS inside is one node: set 1, or nats-url to that of a cluster")
		}
		if v.services.events != "" && !v.eventsOn {
			return errors.New("events-addr: there are no events to serve without --events (PARLEY_EVENTS=on)")
		}
		return nil
	})
	v.trust.register(s)
	v.trust.serving(s)
	s.Validate(func() error {
		t := v.trust
		if v.services == (addresses{}) || t.dev || !t.backEndToken.IsZero() || !t.adminToken.IsZero() || t.callersFile != "" ||
			!t.serviceToken.IsZero() || t.files.Cert != "" {
			return nil
		}
		return errors.New("backend-token is missing, by which back ends are known where gRPC is served, or admin-token, or callers-file; " +
			"with --dev (PARLEY_DEV=on), for development, everybody is trusted")
	})
}

// Serve runs all services in this process, with a NATS server of its own
// unless nats-url names another.
func (p *Program) Serve(ctx context.Context, args []string) error {
	v := &ServeSettings{trust: &p.trust}
	v.gateway.foreign.dev = &p.trust.dev
	v.register(p.Set)
	env, err := p.load(ctx, args)
	if env == nil || err != nil {
		return err
	}
	defer env.close()
	v.auth.foreign = v.gateway.foreign
	started := time.Now()

	var gatewayPart atomic.Pointer[Part]
	env.Admin, err = obs.NewAdmin(obs.AdminOptions{
		Addr: p.adminAddr, Logger: env.Logger, Metrics: env.Metrics, Pprof: p.pprof, Patience: p.patience,
		Full: func() bool {
			made := gatewayPart.Load()
			return made != nil && made.Full()
		},
		Pages: pagesOf(&gatewayPart),
		Health: func(ctx context.Context) (any, int) {
			if made := gatewayPart.Load(); made != nil {
				return made.Health(ctx)
			}
			return env.Admin.Report(ctx)
		},
	})
	if err != nil {
		return err
	}
	defer env.Admin.Close() //nolint:errcheck // closed already where it ran

	options := v.nats.options("serve", env)
	if v.nats.URL == "" {
		server, err := embedded.Start(embedded.Options{
			Dir: filepath.Join(v.dataDir, "nats"), Name: "parley", Sync: v.sync, Logger: env.Logger,
		})
		if err != nil {
			return fmt.Errorf("data-dir %s: %w", v.dataDir, err)
		}
		// Stops last: everything else needs it.
		defer server.Shutdown()
		options.InProcess, options.NewShards = server, 1
		options.Synced = v.sync < 0
	}
	if env.Bus, err = bus.Connect(ctx, options); err != nil {
		return err
	}
	defer env.Bus.Close()

	services, err := env.services(v)
	if err != nil {
		return err
	}
	pipe := rpc.Pipe()
	listeners, err := v.listeners(pipe)
	if err != nil {
		return err
	}
	if v.nats.URL == "" {
		socket, err := rpc.OwnerSocket(ownerSocket(v.dataDir))
		if err == nil {
			listeners = append(listeners, socket)
		} else {
			env.Logger.Warn("parley admin cannot reach this process by its data-dir", "error", err)
		}
	}
	server := env.server("serve", services...)
	dial := &Dialer{env: env, inProcess: pipe}
	registry, err := env.Registry(&v.registry, dial)
	if err != nil {
		return err
	}
	later := []*Part{registry}
	if v.eventsOn {
		events, err := env.Events(&v.events, &Dialer{env: env, inProcess: pipe})
		if err != nil {
			return err
		}
		later = append(later, events)
	}
	for _, part := range later {
		part.grpc.register(server.Registrar())
		server.Health(part.grpc.service, part.Ready)
	}
	services = append(services, later...)

	dial = &Dialer{env: env, inProcess: pipe}
	gateway, err := env.Gateway(&v.gateway, dial)
	if err != nil {
		return err
	}
	gatewayPart.Store(gateway)

	parts := run.Parts{Grace: p.grace, Logger: env.Logger}
	parts.Add("admin", env.Admin.Run)
	others := append(slices.Clip(services), &Part{Name: "grpc", Ready: dial.reached})
	all := append(slices.Clip(others), gateway)
	for _, part := range all {
		if err := env.Admin.AddCheck(obs.Check{Name: part.Name, Check: part.Ready}); err != nil {
			return err
		}
	}
	asking := func(check func(*bus.Bus, context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error { return check(env.Bus, ctx) }
	}
	if err := env.Admin.AddCheck(busChecks(asking)...); err != nil {
		return err
	}
	for _, part := range services {
		parts.Add(part.Name, part.Run)
	}
	parts.Add("grpc", func(ctx context.Context) error { return server.Run(ctx, listeners...) })
	parts.Add("gateway", func(ctx context.Context) error {
		// The port is open already; who connects is answered as soon as there
		// is an answer, and not told that a service is out of reach.
		untilReady(ctx, others)
		return gateway.Run(ctx)
	})
	parts.Add("greeting", func(ctx context.Context) error {
		env.greet(ctx, all, v, started)
		<-ctx.Done()
		env.Admin.SetDraining()
		return nil
	})
	return parts.Run(ctx)
}

// services makes those that need no other.
func (env *Env) services(v *ServeSettings) ([]*Part, error) {
	// All gateways there are start with this process, so presence need not
	// listen long for others, unless NATS is shared.
	if v.nats.URL == "" {
		v.presence.StartWait = 50 * time.Millisecond
	}
	history, err1 := env.History(&v.history)
	auth, err2 := env.Auth(&v.auth)
	presence, err3 := env.Presence(&v.presence)
	return []*Part{history, auth, presence}, errors.Join(err1, err2, err3)
}

// ownerSocket is where parley serve takes calls of parley admin, beside its data.
func ownerSocket(dataDir string) string { return filepath.Join(dataDir, "admin.sock") }

// listeners are where gRPC is served: within the process, and on TCP where an
// address is set. An address serves all APIs; several may be the same.
func (v *ServeSettings) listeners(pipe *rpc.InProcess) ([]net.Listener, error) {
	listeners := []net.Listener{pipe}
	seen := make(map[string]bool)
	for _, addr := range []string{v.services.auth, v.services.registry, v.services.history, v.services.presence, v.services.events} {
		if addr == "" || seen[addr] {
			continue
		}
		seen[addr] = true
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("listening for gRPC: %w", err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// greet tells when everything is ready, and where.
func (env *Env) greet(ctx context.Context, parts []*Part, v *ServeSettings, started time.Time) {
	if !untilReady(ctx, parts) {
		return
	}
	_, port, err := net.SplitHostPort(v.gateway.httpAddr)
	if err == nil {
		fmt.Fprintf(os.Stdout, "\n  Parley is ready at http://localhost:%s\n\n", port)
	}
	env.Logger.Info("ready", "after", time.Since(started).Round(time.Millisecond))
}

// untilReady waits until all parts are ready; false when ctx ends before.
func untilReady(ctx context.Context, parts []*Part) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, part := range parts {
		for part.Ready(ctx) != nil {
			select {
			case <-ctx.Done():
				return false
			case <-tick.C:
			}
		}
	}
	return true
}

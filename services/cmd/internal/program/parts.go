package program

import (
	"context"
	"fmt"
	"net"
	"path"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/parley-im/parley/pkg/rpc"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	hookv1 "github.com/parley-im/parley/proto/hook/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	"github.com/parley-im/parley/services/auth"
	"github.com/parley-im/parley/services/events"
	"github.com/parley-im/parley/services/gateway"
	"github.com/parley-im/parley/services/history"
	"github.com/parley-im/parley/services/presence"
	"github.com/parley-im/parley/services/registry"
	"github.com/parley-im/parley/services/web"
)

// grpcPart is what a service serves over gRPC.
type grpcPart struct {
	service  string // full name
	addr     string
	register func(grpc.ServiceRegistrar)
}

// Auth makes the auth service.
func (env *Env) Auth(a *AuthSettings) (*Part, error) {
	o := a.Options
	o.Bus, o.Logger, o.Meter = env.Bus, env.Logger, env.Metrics.Meter("parley/auth")
	o.Registration = auth.Registration(a.registration)
	var err error
	if o.JWTSecret, o.Issuers, err = env.tokensOfOthers(a.foreign); err != nil {
		return nil, err
	}
	o.InsecureIssuers = env.program.trust.dev
	s, err := auth.New(o)
	if err != nil {
		return nil, err
	}
	return &Part{Name: "auth", Run: s.Run, Ready: s.Ready,
		grpc: &grpcPart{authv1.Auth_ServiceDesc.ServiceName, a.addr, s.Register}}, nil
}

// Registry makes the registry.
func (env *Env) Registry(r *RegistrySettings, dial *Dialer) (*Part, error) {
	historyConn, err := dial.to("history", r.services.history, historyv1.History_ServiceDesc.ServiceName)
	if err != nil {
		return nil, err
	}
	presenceConn, err := dial.to("presence", r.services.presence, presencev1.Presence_ServiceDesc.ServiceName)
	if err != nil {
		return nil, err
	}
	o := r.Options
	o.Bus, o.Logger, o.Meter = env.Bus, env.Logger, env.Metrics.Meter("parley/registry")
	o.Eraser = eraser{historyv1.NewHistoryClient(historyConn)}
	o.Presence = roomCounts{presencev1.NewPresenceClient(presenceConn)}
	s, err := registry.New(o)
	if err != nil {
		return nil, err
	}
	return &Part{Name: "registry", Run: dial.closing(settling(s.Run)), Ready: s.Ready,
		grpc: &grpcPart{registryv1.Registry_ServiceDesc.ServiceName, r.addr, s.Register}}, nil
}

// History makes the history service.
func (env *Env) History(h *HistorySettings) (*Part, error) {
	o := h.Options
	o.Bus, o.Logger, o.Meter = env.Bus, env.Logger, env.Metrics.Meter("parley/history")
	s, err := history.New(o)
	if err != nil {
		return nil, err
	}
	return &Part{Name: "history", Run: s.Run, Ready: s.Ready,
		grpc: &grpcPart{historyv1.History_ServiceDesc.ServiceName, h.addr, s.Register}}, nil
}

// Presence makes the presence service.
func (env *Env) Presence(v *PresenceSettings) (*Part, error) {
	o := v.Options
	o.Bus, o.Logger, o.Meter = env.Bus, env.Logger, env.Metrics.Meter("parley/presence")
	s, err := presence.New(o)
	if err != nil {
		return nil, err
	}
	return &Part{Name: "presence", Run: s.Run, Ready: s.Ready,
		grpc: &grpcPart{presencev1.Presence_ServiceDesc.ServiceName, v.addr, s.Register}}, nil
}

// Events makes the events service.
func (env *Env) Events(e *EventsSettings, dial *Dialer) (*Part, error) {
	presenceConn, err := dial.to("presence", e.services.presence, presencev1.Presence_ServiceDesc.ServiceName)
	if err != nil {
		return nil, err
	}
	o := e.Options
	o.Bus, o.Logger, o.Meter = env.Bus, env.Logger, env.Metrics.Meter("parley/events")
	o.Presence = presencev1.NewPresenceClient(presenceConn)
	s, err := events.New(o)
	if err != nil {
		return nil, err
	}
	return &Part{Name: "events", Run: dial.closing(settling(s.Run)), Ready: s.Ready,
		grpc: &grpcPart{eventsv1.Events_ServiceDesc.ServiceName, e.addr, s.Register}}, nil
}

// Gateway makes a gateway and listens for clients.
func (env *Env) Gateway(g *GatewaySettings, dial *Dialer) (*Part, error) {
	o := g.Options
	o.Bus, o.Logger, o.Meter = env.Bus, env.Logger, env.Metrics.Meter("parley/gateway")
	o.Traces = env.Traces.Provider()
	var err error
	if o.JWTSecret, o.Issuers, err = env.tokensOfOthers(g.foreign); err != nil {
		return nil, err
	}
	o.InsecureIssuers = env.program.trust.dev
	o.Web = web.Handler()
	conns := make(map[string]*grpc.ClientConn)
	for _, s := range []struct{ name, target, service string }{
		{"auth", g.services.auth, authv1.Auth_ServiceDesc.ServiceName},
		{"registry", g.services.registry, registryv1.Registry_ServiceDesc.ServiceName},
		{"history", g.services.history, historyv1.History_ServiceDesc.ServiceName},
		{"presence", g.services.presence, presencev1.Presence_ServiceDesc.ServiceName},
	} {
		conn, err := dial.to(s.name, s.target, s.service)
		if err != nil {
			return nil, err
		}
		conns[s.name] = conn
	}
	o.Auth = authv1.NewAuthClient(conns["auth"])
	o.Registry = registryv1.NewRegistryClient(conns["registry"])
	o.History = historyv1.NewHistoryClient(conns["history"])
	o.Presence = presencev1.NewPresenceClient(conns["presence"])
	asked, err := g.hook.dial(env)
	if err != nil {
		return nil, err
	}
	if asked != nil {
		o.Hook = hookv1.NewHookClient(asked)
	}
	listener, err := net.Listen("tcp", g.httpAddr)
	if err != nil {
		return nil, fmt.Errorf("http-addr: listening for clients: %w", err)
	}
	o.Listener = listener
	s, err := gateway.New(o)
	if err != nil {
		listener.Close()
		return nil, err
	}
	env.Logger.Info("serving clients", "addr", listener.Addr().String())
	return &Part{Name: "gateway", Run: dial.closing(hanging(asked, settling(s.Run))), Ready: s.Ready, Health: s.Health, Full: s.Full,
		Pages: web.StatusPage(func(ctx context.Context) (any, error) { return s.Status(ctx) })}, nil
}

// Dialer makes connections to the other services.
type Dialer struct {
	env *Env
	// inProcess is where they are served in this process; nil dials addresses.
	inProcess *rpc.InProcess
	conns     []*grpc.ClientConn
}

// reached says which of the services cannot be called yet. That they are ready
// is not enough for it: a connection hears of that a moment later.
func (d *Dialer) reached(context.Context) error {
	for _, conn := range d.conns {
		if state := conn.GetState(); state != connectivity.Ready {
			return fmt.Errorf("%s: the connection is %s", path.Base(conn.Target()), strings.ToLower(state.String()))
		}
	}
	return nil
}

// Dialer makes a Dialer of addresses.
func (env *Env) Dialer() *Dialer { return &Dialer{env: env} }

// readMethods may be carried out twice, so a connection that fails under one
// of them is no reason to fail.
var readMethods = []string{
	authv1.Auth_Verify_FullMethodName, authv1.Auth_GetUser_FullMethodName, authv1.Auth_Touch_FullMethodName,
	authv1.Auth_ListUsers_FullMethodName, authv1.Auth_ListSessions_FullMethodName, authv1.Auth_ListInvites_FullMethodName,
	registryv1.Registry_GetRoom_FullMethodName, registryv1.Registry_ListRooms_FullMethodName,
	registryv1.Registry_Admit_FullMethodName, registryv1.Registry_AdmitAll_FullMethodName, registryv1.Registry_ListMembers_FullMethodName,
	registryv1.Registry_GetMembers_FullMethodName, registryv1.Registry_ListSanctions_FullMethodName,
	registryv1.Registry_MarkRead_FullMethodName, registryv1.Registry_GetReadMark_FullMethodName,
	historyv1.History_ListMessages_FullMethodName, historyv1.History_Erase_FullMethodName, historyv1.History_Trim_FullMethodName,
	presencev1.Presence_ListOnline_FullMethodName, presencev1.Presence_CountRooms_FullMethodName,
	presencev1.Presence_ListRoomMembers_FullMethodName, presencev1.Presence_GetUsers_FullMethodName,
}

func (d *Dialer) to(name, target, service string) (*grpc.ClientConn, error) {
	o := rpc.ClientOptions{
		Service: service, Idempotent: readMethods, InProcess: d.inProcess, OnBehalf: true,
		Logger: d.env.Logger, Meter: d.env.Metrics.Meter("parley/rpc"), Traces: d.env.Traces.Provider(),
	}
	if d.inProcess == nil {
		o.TLS, o.Token = d.env.program.trust.tls, d.env.program.trust.shown()
	}
	conn, err := rpc.Dial(name, target, o)
	if err != nil {
		return nil, err
	}
	d.conns = append(d.conns, conn)
	return conn, nil
}

// closing runs a service and closes its connections behind it.
func (d *Dialer) closing(f func(context.Context) error) func(context.Context) error {
	conns := d.conns
	return func(ctx context.Context) error {
		defer func() {
			for _, conn := range conns {
				_ = conn.Close() // fails only when it is closed already
			}
		}()
		return f(ctx)
	}
}

// eraser is how the registry erases logs.
type eraser struct{ client historyv1.HistoryClient }

func (e eraser) Erase(ctx context.Context, room string) error {
	_, err := e.client.Erase(ctx, &historyv1.EraseRequest{RoomId: room})
	return err
}

func (e eraser) Trim(ctx context.Context, room string, keep uint32) error {
	_, err := e.client.Trim(ctx, &historyv1.TrimRequest{RoomId: room, Keep: keep})
	return err
}

// roomCounts is how the registry hears which rooms are empty.
type roomCounts struct{ client presencev1.PresenceClient }

func (r roomCounts) WatchRooms(ctx context.Context, changed func(registry.RoomCount)) error {
	// Presence may start later, and is waited for.
	stream, err := r.client.Watch(ctx, &presencev1.WatchRequest{Rooms: true}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for {
		step, err := stream.Recv()
		if err != nil {
			return err
		}
		changed(registry.RoomCount{
			RoomID: step.GetRoom().GetRoomId(), Count: step.GetRoom().GetCount(), Complete: step.Complete,
		})
	}
}

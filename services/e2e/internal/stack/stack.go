// Package stack starts a whole deployment inside a test: an embedded NATS, the
// four services, and any number of gateways, each with connections of its own,
// on loopback ports and without one in between that production would not have.
package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	"github.com/parley-im/parley/pkg/limit"
	"github.com/parley-im/parley/pkg/rpc"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
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

// Options of a deployment; the zero value has one gateway.
type Options struct {
	Gateways int
	// Gateway changes the options of gateways; nil leaves them.
	Gateway func(*gateway.Options)
	// Auth changes the options of auth; nil leaves them.
	Auth func(*auth.Options)
	// Registry changes the registry's; nil leaves them.
	Registry func(*registry.Options)
	// Log is what the log keeps.
	Log bus.LogConfig
	// Shards of the log; default 4, so that rooms lie in different ones.
	Shards int
	// Traces get what all parts trace; nil traces nothing.
	Traces trace.TracerProvider
	// Logger is the parts'; by default [Logger].
	Logger *slog.Logger
}

// Stack is a running deployment.
type Stack struct {
	// URLs are where the gateways serve clients.
	URLs []string
	NATS *embedded.Server
	Bus  *bus.Bus

	Auth     authv1.AuthClient
	Registry registryv1.RegistryClient
	History  historyv1.HistoryClient
	Presence presencev1.PresenceClient

	Gateways []*gateway.Gateway
	stops    []context.CancelFunc
	dones    []chan struct{}

	options Options
	pipe    *rpc.InProcess
	log     *slog.Logger
}

// Logger writes what the services say when PARLEY_TEST_LOG is set to a level.
func Logger() *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(os.Getenv("PARLEY_TEST_LOG"))) != nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// Start starts a deployment that ends with the test.
func Start(t testing.TB, o Options) *Stack {
	t.Helper()
	if o.Gateways == 0 {
		o.Gateways = 1
	}
	if o.Shards == 0 {
		o.Shards = 4
	}
	log := o.Logger
	if log == nil {
		log = Logger()
	}
	s := &Stack{options: o, log: log, pipe: rpc.Pipe()}
	var err error
	if s.NATS, err = embedded.Start(embedded.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.NATS.Shutdown)
	s.Bus = s.connect(t, "services")
	conn := s.dial(t)
	s.Auth, s.Registry = authv1.NewAuthClient(conn), registryv1.NewRegistryClient(conn)
	s.History, s.Presence = historyv1.NewHistoryClient(conn), presencev1.NewPresenceClient(conn)

	authService, err := auth.New(s.authOptions(s.Bus))
	fatal(t, err)
	historyService, err := history.New(history.Options{Bus: s.Bus, Logger: log, Log: o.Log})
	fatal(t, err)
	presenceService, err := presence.New(presence.Options{Bus: s.connect(t, "presence"), Logger: log, StartWait: 50 * time.Millisecond})
	fatal(t, err)
	registryOptions := registry.Options{Bus: s.Bus, Logger: log, Eraser: eraser{s.History}, Presence: counts{s.Presence}}
	if o.Registry != nil {
		o.Registry(&registryOptions)
	}
	registryService, err := registry.New(registryOptions)
	fatal(t, err)

	server := rpc.NewServer(rpc.ServerOptions{Name: "services", Logger: log, Traces: o.Traces})
	var ready []func(context.Context) error
	for _, service := range []interface {
		Register(grpc.ServiceRegistrar)
		Run(context.Context) error
		Ready(context.Context) error
	}{authService, historyService, presenceService, registryService} {
		service.Register(server.Registrar())
		s.run(t, service.Run)
		ready = append(ready, service.Ready)
	}
	server.Health("", func(ctx context.Context) error {
		for _, r := range ready {
			if err := r(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	s.run(t, func(ctx context.Context) error { return server.Run(ctx, s.pipe) })

	for range o.Gateways {
		s.add(t, nil)
	}
	Eventually(t, "the deployment is ready", func() error {
		for _, r := range ready {
			if err := r(context.Background()); err != nil {
				return err
			}
		}
		if err := reached(conn); err != nil {
			return err
		}
		// A registry is ready before it has heard how many users are in rooms, for
		// presence may be away.
		_, err := s.Registry.ListRooms(context.Background(), &registryv1.ListRoomsRequest{Sort: registryv1.Sort_SORT_MEMBERS, Limit: 1})
		return err
	})
	for _, g := range s.Gateways {
		Eventually(t, "a gateway is ready", func() error { return g.Ready(context.Background()) })
	}
	return s
}

func (s *Stack) authOptions(b *bus.Bus) auth.Options {
	o := auth.Options{Bus: b, Logger: s.log, AutoRegister: true,
		PerAddress: limit.Options{Every: time.Microsecond, Burst: 1 << 20}}
	if s.options.Auth != nil {
		s.options.Auth(&o)
	}
	return o
}

// AddAuth starts one more replica of auth, which no gateway asks, and waits
// until it is ready.
func (s *Stack) AddAuth(t testing.TB) authv1.AuthClient {
	t.Helper()
	service, err := auth.New(s.authOptions(s.connect(t, "auth")))
	fatal(t, err)
	server := rpc.NewServer(rpc.ServerOptions{Name: "auth", Logger: s.log})
	service.Register(server.Registrar())
	server.Health("", service.Ready)
	pipe := rpc.Pipe()
	s.run(t, service.Run)
	s.run(t, func(ctx context.Context) error { return server.Run(ctx, pipe) })
	conn := s.dialPipe(t, pipe)
	Eventually(t, "another auth is ready", func() error { return reached(conn) })
	return authv1.NewAuthClient(conn)
}

// AddGateway starts one more gateway, whose options change may change further,
// waits until it is ready and gives its number.
func (s *Stack) AddGateway(t testing.TB, change func(*gateway.Options)) int {
	t.Helper()
	g := s.add(t, change)
	Eventually(t, "a gateway is ready", func() error { return g.Ready(context.Background()) })
	return len(s.Gateways) - 1
}

func (s *Stack) add(t testing.TB, change func(*gateway.Options)) *gateway.Gateway {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	conn := s.dial(t)
	options := gateway.Options{
		Bus:  s.connect(t, "gateway"),
		Auth: authv1.NewAuthClient(conn), Registry: registryv1.NewRegistryClient(conn),
		History: historyv1.NewHistoryClient(conn), Presence: presencev1.NewPresenceClient(conn),
		Listener: listener, Web: web.Handler(), Logger: s.log, Traces: s.options.Traces,
		DrainTimeout: 10 * time.Second,
	}
	for _, change := range []func(*gateway.Options){s.options.Gateway, change} {
		if change != nil {
			change(&options)
		}
	}
	g, err := gateway.New(options)
	fatal(t, err)
	s.Gateways = append(s.Gateways, g)
	s.URLs = append(s.URLs, "http://"+listener.Addr().String())
	stop, done := s.run(t, g.Run)
	s.stops, s.dones = append(s.stops, stop), append(s.dones, done)
	Eventually(t, "the services are in reach", func() error { return reached(conn) })
	Eventually(t, "the gateway is ready", func() error { return g.Ready(context.Background()) })
	return g
}

func reached(conn *grpc.ClientConn) error {
	if state := conn.GetState(); state != connectivity.Ready {
		return fmt.Errorf("a gRPC connection is %s", state)
	}
	return nil
}

// connect gives a part its own connection to NATS.
func (s *Stack) connect(t testing.TB, name string) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(context.Background(), bus.Options{InProcess: s.NATS, Name: name, Shards: s.options.Shards, Logger: s.log, Traces: s.options.Traces})
	fatal(t, err)
	t.Cleanup(b.Close)
	return b
}

// dial gives a part its own connection to the services.
func (s *Stack) dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	return s.dialPipe(t, s.pipe)
}

func (s *Stack) dialPipe(t testing.TB, pipe *rpc.InProcess) *grpc.ClientConn {
	t.Helper()
	conn, err := rpc.Dial("services", "", rpc.ClientOptions{InProcess: pipe, Logger: s.log, Traces: s.options.Traces})
	fatal(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// run runs a part until the test ends or stop is called.
func (s *Stack) run(t testing.TB, f func(context.Context) error) (stop context.CancelFunc, done chan struct{}) {
	ctx, stop := context.WithCancel(context.Background())
	done = make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil {
			t.Errorf("a part ended: %v", err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return stop, done
}

// StartEvents starts a replica of the events service, which ends with stop or
// with the test.
func (s *Stack) StartEvents(t testing.TB) (client eventsv1.EventsClient, stop func()) {
	t.Helper()
	service, err := events.New(events.Options{
		Bus: s.connect(t, "events"), Presence: s.Presence, LeaseTimeout: 500 * time.Millisecond, Logger: s.log,
	})
	fatal(t, err)
	pipe := rpc.Pipe()
	server := rpc.NewServer(rpc.ServerOptions{Name: "events", Logger: s.log})
	service.Register(server.Registrar())
	server.Health(eventsv1.Events_ServiceDesc.ServiceName, service.Ready)
	stopService, serviceDone := s.run(t, service.Run)
	stopServer, serverDone := s.run(t, func(ctx context.Context) error { return server.Run(ctx, pipe) })
	conn, err := rpc.Dial("events", "", rpc.ClientOptions{InProcess: pipe, Logger: s.log})
	fatal(t, err)
	t.Cleanup(func() { conn.Close() })
	Eventually(t, "events are in reach", func() error { return reached(conn) })
	return eventsv1.NewEventsClient(conn), func() {
		stopService()
		<-serviceDone
		stopServer()
		<-serverDone
	}
}

// StopGateway asks a gateway to end, as SIGTERM does; the channel is closed when it has.
func (s *Stack) StopGateway(i int) <-chan struct{} {
	s.stops[i]()
	return s.dones[i]
}

// Token signs a user in over a gateway's HTTP API and gives the token.
func (s *Stack) Token(t testing.TB, username string) string {
	t.Helper()
	return Token(t, s.URLs[0], username)
}

// Token signs a user in over the HTTP API of a gateway, registering it if it
// is new, and gives the token.
func Token(t testing.TB, base, username string) string {
	t.Helper()
	status, body := Post(t, base+"/api/auth", map[string]string{"username": username, "password": "correct horse"})
	token, _ := body["token"].(string)
	if status != http.StatusOK || token == "" {
		t.Fatalf("signing %s in: %d %v", username, status, body)
	}
	return token
}

// Post posts JSON and gives the status and the JSON answer.
func Post(t testing.TB, url string, body any) (int, map[string]any) {
	t.Helper()
	raw, err := json.Marshal(body)
	fatal(t, err)
	resp, err := http.Post(url, "application/json", bytes.NewReader(raw))
	fatal(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	fatal(t, err)
	var decoded map[string]any
	if err := json.Unmarshal(answer, &decoded); err != nil {
		t.Fatalf("%s answered %d %q", url, resp.StatusCode, answer)
	}
	return resp.StatusCode, decoded
}

// Eventually waits until f gives nil.
func Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	err := errors.New("not tried")
	for time.Now().Before(deadline) {
		if err = f(); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond) // between two looks; the condition ends the wait
	}
	t.Fatalf("%s: %v", what, err)
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type eraser struct{ client historyv1.HistoryClient }

func (e eraser) Erase(ctx context.Context, room string) error {
	_, err := e.client.Erase(ctx, &historyv1.EraseRequest{RoomId: room})
	return err
}

func (e eraser) Trim(ctx context.Context, room string, keep uint32) error {
	_, err := e.client.Trim(ctx, &historyv1.TrimRequest{RoomId: room, Keep: keep})
	return err
}

type counts struct{ client presencev1.PresenceClient }

func (c counts) WatchRooms(ctx context.Context, changed func(registry.RoomCount)) error {
	stream, err := c.client.Watch(ctx, &presencev1.WatchRequest{Rooms: true})
	if err != nil {
		return err
	}
	for {
		step, err := stream.Recv()
		if err != nil {
			return err
		}
		changed(registry.RoomCount{RoomID: step.GetRoom().GetRoomId(), Count: step.GetRoom().GetCount(), Complete: step.Complete})
	}
}

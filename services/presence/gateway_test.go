package presence

import (
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
)

// world is a NATS server and a connection to it that the test's gateways use.
type world struct {
	t    *testing.T
	dir  string
	addr string
	srv  *embedded.Server
	bus  *bus.Bus
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	w.serve()
	w.addr = strings.TrimPrefix(w.srv.URL(), "nats://")
	w.bus = w.connect()
	return w
}

// serve starts the server, again at the same address.
func (w *world) serve() {
	w.t.Helper()
	srv, err := embedded.Start(embedded.Options{Dir: w.dir, Addr: w.addr})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(srv.Shutdown)
	w.srv = srv
}

func (w *world) connect() *bus.Bus {
	w.t.Helper()
	b, err := bus.Connect(w.t.Context(), bus.Options{URL: w.srv.URL(), Name: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(b.Close)
	return b
}

// replica is a running service and a gRPC client of it.
type replica struct {
	presencev1.PresenceClient
	*Service
	stop func() // ends Run and waits
}

// quick are options in which a second of a deployment is 20 ms, but what a slow
// machine might mistake for a failure is given longer.
func quick(b *bus.Bus) Options {
	return Options{
		Bus: b, GatewayTimeout: 10 * time.Second, Lease: 5 * time.Second,
		StartWait: 150 * time.Millisecond, HoleWait: 30 * time.Millisecond, SeenWait: 5 * time.Second,
		BeatEvery: 20 * time.Millisecond, ReplicaTimeout: 600 * time.Millisecond, StatsEvery: 50 * time.Millisecond,
	}
}

// soonSilent gives gateways up early.
func soonSilent(o *Options) { o.GatewayTimeout = 400 * time.Millisecond }

// start runs a replica with a connection of its own.
func (w *world) start(change ...func(*Options)) *replica {
	w.t.Helper()
	o := quick(w.connect())
	for _, f := range change {
		f(&o)
	}
	s, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}()

	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	s.Register(server)
	go server.Serve(listener)
	conn, err := grpc.NewClient("passthrough:presence", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		w.t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		cancel()
		<-done
	})
	w.t.Cleanup(func() {
		stop()
		conn.Close()
		server.Stop()
	})
	return &replica{presencev1.NewPresenceClient(conn), s, stop}
}

func (r *replica) ready(t *testing.T) *replica {
	t.Helper()
	eventually(t, "the replica is ready", func() bool { return r.Ready(t.Context()) == nil })
	return r
}

func (r *replica) count(t *testing.T, room string) int64 {
	t.Helper()
	res, err := r.PresenceClient.CountRooms(t.Context(), &presencev1.CountRoomsRequest{RoomIds: []string{room}})
	if err != nil {
		t.Fatal(err)
	}
	return res.Counts[room]
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in 10 s it was not so that %s", what)
		}
	}
}

// gatewayPart plays one gateway: it announces on NATS what the test does to its
// sessions, beats, and answers requests for snapshots.
type gatewayPart struct {
	t    *testing.T
	id   string
	bus  *bus.Bus
	stop func() // falls silent

	mu       sync.Mutex
	number   uint64
	mute     bool // no answers
	lose     bool // deltas are not sent
	asked    int
	sessions map[string]*busv1.SessionOnline
}

func (w *world) gateway(id string) *gatewayPart {
	w.t.Helper()
	g := &gatewayPart{t: w.t, id: id, bus: w.bus, sessions: map[string]*busv1.SessionOnline{}}
	subs, err := w.bus.SubscribeSnapshotRequests(id, g.answer)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			g.beat(false)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	g.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		for _, sub := range subs {
			sub.Stop()
		}
	})
	w.t.Cleanup(g.stop)
	return g
}

func (g *gatewayPart) beat(leaving bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bus.PublishBeat(&busv1.GatewayBeat{GatewayId: g.id, Delta: g.number, Leaving: leaving})
}

// answer sends the snapshot, seven sessions in each part.
func (g *gatewayPart) answer(reply func(*busv1.PresenceSnapshot) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	if g.mute {
		return
	}
	part := &busv1.PresenceSnapshot{GatewayId: g.id, Number: g.number}
	for _, id := range slices.Sorted(maps.Keys(g.sessions)) {
		if len(part.Sessions) == 7 {
			reply(part)
			part = &busv1.PresenceSnapshot{GatewayId: g.id, Number: g.number, Part: part.Part + 1}
		}
		part.Sessions = append(part.Sessions, &busv1.SnapshotSession{SessionId: id, Online: g.sessions[id]})
	}
	part.Last = true
	reply(part)
}

// does announces that something happened to a session.
func (g *gatewayPart) does(session string, what ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.number++
	d := &busv1.PresenceDelta{GatewayId: g.id, Number: g.number}
	for _, w := range what {
		d.Changes = append(d.Changes, changeOf(session, w))
		switch w := w.(type) {
		case *busv1.SessionOnline:
			g.sessions[session] = proto.CloneOf(w)
		case *busv1.SessionOffline:
			delete(g.sessions, session)
		case *busv1.SessionStatus:
			g.sessions[session].Status = w
		case *busv1.PresenceChange_Joined:
			g.sessions[session].Rooms = append(g.sessions[session].Rooms, w.Joined)
		case *busv1.PresenceChange_Left:
			g.sessions[session].Rooms = slices.DeleteFunc(g.sessions[session].Rooms, func(r string) bool { return r == w.Left })
		}
	}
	if !g.lose {
		if err := g.bus.PublishDelta(d); err != nil {
			g.t.Error(err)
		}
	}
}

func (g *gatewayPart) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

func (g *gatewayPart) seen() *presencev1.Seen {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &presencev1.Seen{GatewayId: g.id, Delta: g.number}
}

// sees waits until the replica has taken in all that the gateway said.
func (r *replica) sees(t *testing.T, g *gatewayPart) {
	t.Helper()
	seen := g.seen()
	if _, err := r.PresenceClient.CountRooms(t.Context(), &presencev1.CountRoomsRequest{Seen: seen}); err != nil {
		t.Fatal(err)
	}
	r.Service.mu.RLock()
	defer r.Service.mu.RUnlock()
	if !r.intake.reached(seen.GatewayId, seen.Delta) {
		t.Fatalf("delta %d of %s was not taken in", seen.Delta, seen.GatewayId)
	}
}

// ear hears the roster events of one room.
type ear struct {
	t  *testing.T
	mu sync.Mutex
	// events as rosterText writes them.
	events []string
}

func (w *world) ear(room string) *ear {
	w.t.Helper()
	nc, err := nats.Connect(w.srv.URL())
	if err != nil {
		w.t.Fatal(err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	w.t.Cleanup(func() { nc.Close(); <-closed })
	e := &ear{t: w.t}
	if _, err := nc.Subscribe("parley.out.0."+room, func(m *nats.Msg) {
		var event busv1.LiveEvent
		if err := proto.Unmarshal(m.Data, &event); err != nil || event.GetRoster() == nil {
			w.t.Errorf("heard %q: %v", m.Data, err)
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.events = append(e.events, rosterText(event.GetRoster()))
	}); err != nil {
		w.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (e *ear) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.events)
}

// hears waits for exactly these events, in this order.
func (e *ear) hears(want ...string) {
	e.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for len(e.heard()) < len(want) && time.Now().Before(deadline) {
		time.Sleep(2 * time.Millisecond)
	}
	if got := e.heard(); !slices.Equal(got, want) {
		e.t.Fatalf("heard %q, want %q", got, want)
	}
}

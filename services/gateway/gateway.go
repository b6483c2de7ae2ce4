package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/run"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	"github.com/parley-im/parley/services/gateway/internal/announce"
	"github.com/parley-im/parley/services/gateway/internal/conn"
	"github.com/parley-im/parley/services/gateway/internal/door"
	"github.com/parley-im/parley/services/gateway/internal/fanout"
	"github.com/parley-im/parley/services/gateway/internal/session"
)

// Gateway is one gateway.
type Gateway struct {
	opts      Options
	log       *slog.Logger
	id        string
	listener  *conn.Listener
	door      *door.Listener // nil where Handler alone serves
	addresses *addresses
	rooms     *fanout.Hub
	announcer *announce.Announcer
	sessions  *session.Hub
	tokens    *tokens
	window    window
	peers     peers
	asked     lastStatus
	started   time.Time

	// reconnected holds at most one notice that NATS was found again.
	reconnected chan struct{}
	regraded    regraded

	draining atomic.Bool
	refusing atomic.Int64 // connections beyond the limit that are being told so
	refused  refusals
	complain rate.Sometimes // of what is refused in floods
	drained  atomic.Int64   // since when it drains, ns since 1970; 0 while it does not
}

// New makes a gateway of complete options. Run serves.
func New(o Options) (*Gateway, error) {
	o.defaults()
	if o.Bus == nil || o.Auth == nil || o.Registry == nil || o.History == nil || o.Presence == nil {
		return nil, errors.New("a gateway needs the bus and the four services")
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	g := &Gateway{opts: o, id: ids.New("g_"), started: time.Now(), reconnected: make(chan struct{}, 1),
		peers:    peers{load: make(map[string]peerLoad)},
		regraded: regraded{users: make(map[string]struct{}), some: make(chan struct{}, 1)}}
	g.log = o.Logger.With("gateway", g.id)
	g.complain = rate.Sometimes{First: 10, Interval: time.Second}
	var err error
	if g.addresses, err = newAddresses(o); err != nil {
		return nil, err
	}
	if g.door, err = g.newDoor(); err != nil {
		return nil, err
	}
	if g.tokens, err = newTokens(o, g.log, func(r bus.Revocation) { g.sessions.Revoke(r) }, g.standingChanged); err != nil {
		return nil, err
	}
	g.listener = conn.NewListener(conn.Options{
		Subprotocols:   []string{frame.JSON.Subprotocol(), frame.Proto.Subprotocol()},
		Binary:         frame.Proto.Subprotocol(),
		AllowedOrigins: o.AllowedOrigins,
		MaxMessage:     o.MaxMessage,
		QueueBytes:     int(o.QueueBytes),
		Heartbeat:      o.Heartbeat,
		NoDeflate:      o.NoDeflate,
		QueueTotal:     o.QueueTotal,
		InputRate:      o.InputRate,
		InputBurst:     o.InputBurst,
		Waited:         func(d time.Duration) { g.sessions.Written(d) },
		Forgotten:      g.addresses.leave,
	})
	var tracer trace.Tracer // stays nil where nothing is traced
	if o.Traces != nil {
		tracer = o.Traces.Tracer("parley/gateway")
	}
	if g.rooms, err = fanout.New(fanout.Options{Bus: o.Bus, Logger: g.log, Meter: o.Meter, Tracer: tracer, RecentBytes: int(o.RecentBytes), Trim: g.trim}); err != nil {
		return nil, err
	}
	asked, err := o.hook(g.log)
	if err != nil {
		g.rooms.Close()
		return nil, err
	}
	g.announcer = announce.New(o.Bus, g.id, o.Lease, g.log)
	g.announcer.Connections = g.listener.Count
	g.sessions = session.NewHub(session.Options{
		Logger: g.log, Listener: g.listener, Rooms: g.rooms, Announcer: g.announcer,
		Bus: o.Bus, Registry: o.Registry, History: o.History, Presence: o.Presence, Hook: asked, Tracer: tracer,
		Authenticate: g.tokens.authenticate, Revoked: g.tokens.revoked, RolesInForce: g.tokens.roles,
		SignResume: g.tokens.signResume, ReadResume: g.tokens.readResume,
		Guests: session.Guests{Welcome: o.Guests, Max: o.MaxGuests, RateLimit: o.GuestRateLimit, RateBurst: o.GuestRateBurst,
			MaxContent: int(o.GuestMaxContent)},
		Lobby: !o.NoLobby, AuthTimeout: o.AuthTimeout, TokenWarning: o.TokenWarning, CommandTimeout: o.CommandTimeout,
		MaxUnauthenticated: g.strangers(), MaxPerUser: o.MaxPerUser, MaxRooms: o.MaxRooms,
		MaxInFlight: o.MaxInFlight, RateLimit: o.RateLimit, RateBurst: o.RateBurst, WeighRequests: o.WeighRequests,
		MaxMessage: o.MaxMessage, MaxContent: int(o.MaxContent), MaxData: int(o.MaxData), MaxHistoryBytes: o.HistoryBytes,
		Lease: o.Lease, Heartbeat: o.Heartbeat,
	})
	if err := errors.Join(g.sessions.Observe(o.Meter), g.observe(o.Meter)); err != nil {
		g.rooms.Close()
		return nil, err
	}
	o.Bus.OnReconnect(func() {
		select {
		case g.reconnected <- struct{}{}:
		default: // one is waiting already
		}
	})
	return g, nil
}

// Run serves until ctx ends; then it drains: it is not ready, takes no new
// connections, sends its clients away, and returns nil when they have gone and
// all that was acknowledged is delivered.
func (g *Gateway) Run(ctx context.Context) error {
	// The parts outlive ctx by the drain.
	partsCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group := run.NewGroup(partsCtx)
	all, err := g.opts.Bus.SubscribeAll(g.sessions.Broadcast)
	if err != nil {
		g.rooms.Close()
		return fmt.Errorf("gateway: %w", err)
	}
	defer all.Stop()
	users, err := g.opts.Bus.SubscribeUsers(func(user string, e *busv1.UserEvent) {
		// Revocations and standings come by watches, which lose nothing.
		if given := e.GetRoomGiven(); given != nil {
			g.sessions.Given(user, given)
		}
	})
	if err != nil {
		g.rooms.Close()
		return fmt.Errorf("gateway: %w", err)
	}
	defer users.Stop()
	server := &http.Server{
		Handler: g.Handler(),
		// A client that sends its request a byte at a time is not waited for.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       60 * time.Second,
		// Nor for its body, nor until it takes the answer. A WebSocket has none of
		// these: hijacking takes them off.
		ReadTimeout:    20 * time.Second,
		WriteTimeout:   30 * time.Second,
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
	if g.door != nil {
		server.ConnState = g.door.Track
	}
	group.Go("announcer", g.announcer.Run)
	group.Go("heartbeats", g.listener.Run)
	group.Go("tokens", g.tokens.run)
	group.Go("touch", g.touch)
	group.Go("health", g.sample)
	group.Go("rebalance", g.rebalance)
	group.Go("rights", g.recheck)
	group.Go("roles", g.recheckUsers)
	if !g.opts.NoLobby {
		group.Go("lobby", func(ctx context.Context) error {
			if err := g.rooms.Pin(ctx, ids.Lobby); err != nil && ctx.Err() == nil {
				return err
			}
			<-ctx.Done()
			return nil
		})
	}
	group.Go("http", func(ctx context.Context) error {
		if g.door != nil {
			err := g.door.Serve(server, door.Upgrades{Paths: sockets, Handler: g.outer(http.HandlerFunc(g.upgrade))})
			if !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving clients: %w", err)
			}
		}
		<-ctx.Done()
		return nil
	})
	group.Go("end", func(partsCtx context.Context) error {
		select {
		case <-ctx.Done():
		case <-partsCtx.Done(): // another part has failed
		}
		g.drain(server)
		stop()
		return nil
	})
	err = group.Wait()
	g.rooms.Close()
	return err
}

// drain brings the gateway's connections to their end.
func (g *Gateway) drain(server *http.Server) {
	g.draining.Store(true)
	g.drained.Store(time.Now().UnixNano())
	g.log.Info("draining", "connections", g.listener.Count(), "delay", g.opts.DrainDelay)
	if g.opts.DrainDelay > 0 {
		time.Sleep(g.opts.DrainDelay)
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.opts.DrainTimeout)
	defer cancel()
	// Ends listening and waits for requests of the HTTP API; WebSockets are
	// not its own any more.
	if err := server.Shutdown(ctx); err != nil {
		g.log.Warn("ending the HTTP server", "error", err)
	}
	g.sessions.Drain(ctx, g.opts.DrainWave, g.opts.DrainInterval, g.opts.ReconnectSpread)
	g.listener.Wait(ctx)
	g.log.Info("drained")
}

// Ready says whether clients can be served: NATS is in reach and there are
// keys to check tokens with.
func (g *Gateway) Ready(ctx context.Context) error {
	if g.draining.Load() {
		return errors.New("draining")
	}
	if err := g.tokens.ready(); err != nil {
		return err
	}
	return g.opts.Bus.Check(ctx)
}

// Full says whether there is room for no more connections.
func (g *Gateway) Full() bool { return g.listener.Count() >= g.opts.MaxConnections }

// touchEvery is how often auth is told which sign-ins are in use; they last
// an hour without.
const touchEvery = 5 * time.Minute

func (g *Gateway) touch(ctx context.Context) error {
	const most = 1000 // in one call
	tick := time.NewTicker(touchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for list := g.sessions.SignIns(); len(list) > 0; {
			n := min(len(list), most)
			if _, err := g.opts.Auth.Touch(ctx, &authv1.TouchRequest{SessionIds: list[:n]}); err != nil {
				g.log.Warn("keeping sign-ins alive", "error", err)
				break
			}
			list = list[n:]
		}
	}
}

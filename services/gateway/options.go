package gateway

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/secret"
	"github.com/parley-im/parley/pkg/token"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	hookv1 "github.com/parley-im/parley/proto/hook/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	"github.com/parley-im/parley/services/gateway/internal/door"
	"github.com/parley-im/parley/services/gateway/internal/hook"
)

// Options is what a gateway needs and what can be set.
type Options struct {
	Bus      *bus.Bus
	Auth     authv1.AuthClient
	Registry registryv1.RegistryClient
	History  historyv1.HistoryClient
	Presence presencev1.PresenceClient

	// Hook, where it is set, is asked about HookEvents ("connect", "join",
	// "publish") before they happen (proto/hook/v1). HookTimeout bounds each
	// question; default 500 ms. HookOnFailure says what is decided when it does
	// not answer: "allow" or "refuse", or one of them for an event as
	// "publish=allow"; what it does not name is refused.
	Hook          hookv1.HookClient
	HookEvents    []string
	HookTimeout   time.Duration
	HookOnFailure []string

	// Listener is where clients connect; Run closes it. Without one the
	// gateway serves through Handler alone.
	Listener net.Listener
	// Web is what GET / shows; nil shows nothing.
	Web http.Handler

	Logger *slog.Logger
	Meter  metric.Meter
	// Traces makes requests and deliveries spans; nil traces nothing.
	Traces trace.TracerProvider

	// JWTSecret, where it is set, makes HS256 tokens signed with it welcome.
	JWTSecret secret.Bytes
	// Issuers are others whose tokens are welcome. InsecureIssuers lets their
	// keys come over http, in development.
	Issuers         []token.IssuerOptions
	InsecureIssuers bool
	// AllowedOrigins are host patterns, or with a scheme ("https://…"), from
	// which browsers may connect beside the gateway's own host.
	AllowedOrigins []string
	// TrustedProxies are the addresses of load balancers whose X-Forwarded-For is
	// believed; without any, who connects is the client.
	TrustedProxies []netip.Prefix
	// Proxy is whether those begin each connection with a PROXY header, of version
	// 1 or 2: "off", the default, "optional" or "required".
	Proxy string
	// MaxConnections at once; default 10,000.
	MaxConnections int
	// MaxUnauthenticated is how many of them may not have signed in; and, counted
	// by themselves, how many sockets may not have become one. Beyond it, the one
	// goes that has waited longest. Default half of MaxConnections, 64 at least.
	MaxUnauthenticated int
	// MaxPerAddress is connections of one address, of IPv6 of a /64, at once;
	// ConnectRate how many it may open per second, ConnectBurst at once. 0 in any
	// is no limit.
	MaxPerAddress int
	ConnectRate   float64
	ConnectBurst  int
	// LimitPrivate has these hold for private addresses and this machine's, too.
	LimitPrivate bool
	// MaxPerUser is connections of one user on this gateway at once, whatever the
	// user has on others; 0 is no limit.
	MaxPerUser int
	// MaxRooms is how many rooms a connection may be in, beside the lobby; 0 is no
	// limit.
	MaxRooms int
	// InputRate is bytes per second that are taken from one connection, and
	// InputBurst how many may come at once; 0 is no limit. See conn.Options.
	InputRate, InputBurst int64
	// RateLimit is requests per second and connection; 0 is no limit.
	// RateBurst is how many may come at once.
	RateLimit float64
	RateBurst int
	// WeighRequests has those that do more work than a message count as several
	// (PROTOCOL.md, section 6).
	WeighRequests bool
	// MaxMessage is the largest frame of a client, MaxContent and MaxData what
	// may be in it; bytes. Defaults 64 KiB, 16 KiB, 16 KiB.
	MaxMessage, MaxContent, MaxData int64
	// QueueBytes bounds what waits to be written to one client; default 1 MiB.
	QueueBytes int64
	// QueueTotal bounds it for all clients together: beyond it, a client for which
	// more than 64 KiB wait is slow. Default 256 MiB.
	QueueTotal int64
	// HistoryBytes bounds the history that waits to be written to all clients
	// together, each of which may have one answer of at most 32 MiB waiting;
	// default 256 MiB.
	HistoryBytes int64
	// RecentBytes bounds the newest messages of all rooms that are held in
	// memory, so that who joins has nothing read from the log; the rooms used
	// least recently go first. Default 64 MiB, and never less than 128 KiB for
	// each of the twice as many workers as there are processors.
	RecentBytes int64
	// MaxInFlight is how many messages of one session may wait for the log;
	// default 64.
	MaxInFlight int
	// Heartbeat is how often clients are pinged; default 25 s.
	Heartbeat time.Duration
	// AuthTimeout is how long a connection may stay without signing in;
	// default 10 s.
	AuthTimeout time.Duration
	// TokenWarning is how long before its token ends a client is told, for
	// tokens that live at least ten times as long, and a tenth of their life for
	// others; 0 is never.
	TokenWarning time.Duration
	// Guests lets those in who do not sign in, as users with made-up names and the
	// role guest; MaxGuests at once, default 1000.
	Guests    bool
	MaxGuests int
	// GuestRateLimit and GuestRateBurst hold for guests beside RateLimit and
	// RateBurst; a rate of 0 is no other than that. GuestMaxContent is bytes of
	// content, and of data; default 1 KiB.
	GuestRateLimit  float64
	GuestRateBurst  int
	GuestMaxContent int64
	// CommandTimeout bounds a request that has to ask a service; default 5 s.
	CommandTimeout time.Duration
	// Lease is how long a session that lost its connection stays present;
	// default 15 s.
	Lease time.Duration
	// NoLobby takes the built-in room away.
	NoLobby bool
	// NoDeflate refuses permessage-deflate.
	NoDeflate bool
	// MemoryLimit is the bytes against which /health compares the process; 0
	// compares with nothing.
	MemoryLimit int64

	// DrainDelay is how long a gateway that is to end goes on as before while
	// it answers "not ready", so that load balancers notice; default 0.
	DrainDelay time.Duration
	// DrainTimeout bounds the end after that; default 20 s.
	DrainTimeout time.Duration
	// DrainWave clients at a time are sent away, one wave every DrainInterval;
	// defaults 500 and 100 ms.
	DrainWave     int
	DrainInterval time.Duration
	// Rebalance is how many clients a second a gateway that has clearly more
	// than the others asks to reconnect; 0, the default, is none.
	Rebalance int

	// ReconnectSpread is within which time clients are told to come back;
	// default 2 s.
	ReconnectSpread time.Duration
}

// minInputRate is the least that bytes per second may be limited to.
const minInputRate = 32 << 10

// Defaults are the options that a program shows as defaults.
func Defaults() Options {
	o := Options{RateLimit: 50, RateBurst: 100, TokenWarning: time.Minute, GuestRateLimit: 5, GuestRateBurst: 10,
		// What an office behind one address needs when a gateway was restarted.
		MaxPerAddress: 1000, ConnectRate: 50, ConnectBurst: 500,
		MaxPerUser: 100, MaxRooms: 1000,
		// 50 requests a second of the largest content take 0.8 MiB.
		InputRate: 1 << 20, InputBurst: 4 << 20}
	o.defaults()
	return o
}

func (o *Options) defaults() {
	setDefault(&o.MaxConnections, 10_000)
	setDefault(&o.MaxMessage, 64<<10)
	setDefault(&o.MaxContent, 16<<10)
	setDefault(&o.MaxData, 16<<10)
	setDefault(&o.QueueBytes, 1<<20)
	setDefault(&o.QueueTotal, 256<<20)
	setDefault(&o.HistoryBytes, 256<<20)
	setDefault(&o.RecentBytes, 64<<20)
	setDefault(&o.MaxInFlight, 64)
	setDefault(&o.Heartbeat, 25*time.Second)
	setDefault(&o.AuthTimeout, 10*time.Second)
	setDefault(&o.MaxGuests, 1000)
	setDefault(&o.GuestMaxContent, 1<<10)
	setDefault(&o.CommandTimeout, 5*time.Second)
	setDefault(&o.HookTimeout, 500*time.Millisecond)
	setDefault(&o.Lease, 15*time.Second)
	setDefault(&o.DrainTimeout, 20*time.Second)
	setDefault(&o.DrainWave, 500)
	setDefault(&o.DrainInterval, 100*time.Millisecond)
	setDefault(&o.ReconnectSpread, 2*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate says what is wrong with the settings, each named as a program's
// configuration calls it.
func (o Options) Validate() error {
	if _, err := hook.ParsePolicy(o.HookEvents, o.HookOnFailure); err != nil {
		return err
	}
	proxy, err := door.ParseProxy(o.Proxy)
	if err != nil {
		return fmt.Errorf("proxy-protocol: %w", err)
	}
	switch {
	case proxy != door.Off && len(o.TrustedProxies) == 0:
		return fmt.Errorf("proxy-protocol: trusted-proxies names nobody who may speak it")
	case o.HookTimeout < 0 || o.CommandTimeout > 0 && o.HookTimeout >= o.CommandTimeout:
		return fmt.Errorf("hook-timeout: %s is negative, or not less than command-timeout", o.HookTimeout)
	case o.MaxConnections < 0:
		return fmt.Errorf("max-connections: %d is negative", o.MaxConnections)
	case o.MaxUnauthenticated < 0 || o.MaxPerAddress < 0 || o.MaxPerUser < 0 || o.MaxRooms < 0:
		return fmt.Errorf("max-unauthenticated, max-per-address, max-per-user, max-rooms: a negative number")
	case o.ConnectRate < 0 || o.ConnectBurst < 0:
		return fmt.Errorf("connect-rate, connect-burst: a negative number")
	case o.InputRate < 0 || o.InputBurst < 0:
		return fmt.Errorf("input-rate, input-burst: a negative number")
	case o.InputRate > 0 && o.InputRate < minInputRate:
		// Reading pauses for as long as a message takes, also when the gateway ends.
		return fmt.Errorf("input-rate: %d is less than %d bytes per second", o.InputRate, minInputRate)
	case o.RateLimit < 0:
		return fmt.Errorf("rate-limit: %g is negative", o.RateLimit)
	case o.Rebalance < 0:
		return fmt.Errorf("rebalance: %d is negative", o.Rebalance)
	case o.MaxGuests < 0 || o.GuestRateLimit < 0 || o.GuestRateBurst < 0 || o.GuestMaxContent < 0:
		return fmt.Errorf("max-guests, guest-rate-limit, guest-rate-burst, guest-max-content: a negative number")
	case o.RateBurst < 0:
		return fmt.Errorf("rate-burst: %d is negative", o.RateBurst)
	case o.MaxContent > o.MaxMessage || o.MaxData > o.MaxMessage:
		return fmt.Errorf("max-message: %d is less than max-content or max-data", o.MaxMessage)
	case o.MaxMessage > 512<<10:
		return fmt.Errorf("max-message: %d is more than 512 KiB, which NATS would not carry", o.MaxMessage)
	case o.QueueTotal < o.QueueBytes:
		return fmt.Errorf("queue-total: %d is less than queue-bytes", o.QueueTotal)
	case o.QueueBytes < o.MaxMessage:
		return fmt.Errorf("queue-bytes: %d is less than one message of max-message", o.QueueBytes)
	case o.RecentBytes < 0:
		return fmt.Errorf("recent-bytes: %d is negative", o.RecentBytes)
	case o.Heartbeat < 0 || o.AuthTimeout < 0 || o.CommandTimeout < 0 || o.Lease < 0:
		return fmt.Errorf("heartbeat, auth-timeout, command-timeout, lease: a negative time")
	case o.DrainDelay < 0 || o.DrainTimeout < 0 || o.DrainInterval < 0 || o.ReconnectSpread < 0:
		return fmt.Errorf("drain-delay, drain-timeout, drain-interval, reconnect-spread: a negative time")
	}
	return nil
}

// hook makes the hook, nil where there is none.
func (o Options) hook(log *slog.Logger) (*hook.Hook, error) {
	if o.Hook == nil {
		return nil, nil
	}
	policy, err := hook.ParsePolicy(o.HookEvents, o.HookOnFailure)
	if err != nil {
		return nil, err
	}
	return hook.New(hook.Options{Client: o.Hook, Policy: policy, Timeout: o.HookTimeout, Logger: log, Meter: o.Meter})
}

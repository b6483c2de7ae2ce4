package program

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/pkg/token"
	"github.com/parley-im/parley/services/auth"
	"github.com/parley-im/parley/services/events"
	"github.com/parley-im/parley/services/gateway"
	"github.com/parley-im/parley/services/history"
	"github.com/parley-im/parley/services/registry"
)

// Where each service serves gRPC when nothing is said.
const (
	authPort     = ":9101"
	registryPort = ":9102"
	historyPort  = ":9103"
	presencePort = ":9104"
	eventsPort   = ":9105"
)

// addresses says where the services are found.
type addresses struct{ auth, registry, history, presence, events string }

const addressHelp = "where %s is found: host:port, several separated by commas, or dns:///host:port"

// grpcAddr registers where a service listens: at grpc-addr, or where the
// others find it, or at its own port.
func grpcAddr(s *config.Set, listen, own *string, name, port string) {
	s.Section("gRPC")
	s.String(listen, "grpc-addr", "where to serve gRPC; by default at "+name+"-addr, or at "+port).Check(listening(listen))
	s.String(own, name+"-addr", "where the others find this service; it listens there unless grpc-addr says otherwise")
	s.Validate(func() error {
		switch {
		case *listen != "":
		case *own != "" && listenable(*own):
			*listen = *own
		default:
			*listen = port
		}
		return nil
	})
}

// AuthSettings are the settings of auth.
type AuthSettings struct {
	auth.Options
	addr, own    string
	registration string
	foreign      foreignTokens
}

func (a *AuthSettings) register(s *config.Set) {
	a.settings(s)
	a.foreign.register(s)
}

// settings registers all but the tokens of others, which a gateway in the same
// process takes too.
func (a *AuthSettings) settings(s *config.Set) {
	s.Section("Accounts")
	a.TokenTTL = bus.SessionTTL
	a.MinPasswordLength = 1
	s.Duration(&a.TokenTTL, "token-ttl", "how long a token is good, at most 1h")
	a.registration = string(auth.Open)
	s.String(&a.registration, "registration", "who may make an account: anybody, who has an invite code, or only operators (parley admin)").
		OneOf(string(auth.Open), string(auth.ByInvite), string(auth.Closed))
	s.Bool(&a.AutoRegister, "auto-register", "the first sign-in of an unknown username registers it, where registration is open")
	s.Int(&a.MinPasswordLength, "min-password-length", "characters that a new password needs")
	s.Validate(func() error {
		if a.TokenTTL <= 0 || a.TokenTTL > bus.SessionTTL {
			return errors.New("token-ttl: not between 0 and 1h")
		}
		if a.MinPasswordLength < 1 {
			return errors.New("min-password-length: less than 1")
		}
		return nil
	})
}

// foreignTokens are the settings of tokens that others make.
type foreignTokens struct {
	secret config.Secret
	file   string
	dev    *bool // the program's; nil where none runs
}

func (f *foreignTokens) register(s *config.Set) {
	s.Secret(&f.secret, "jwt-secret", "accept HS256 tokens signed with this, beside our own (claims userId or sub, username, roles)")
	s.String(&f.file, "issuers-file", "YAML file of issuers whose tokens are accepted too: their names, keys' URLs, audiences and claims")
	s.Validate(func() error {
		_, err := f.issuers()
		return err
	})
}

// issuers reads the file.
func (f *foreignTokens) issuers() ([]token.IssuerOptions, error) {
	if f.file == "" {
		return nil, nil
	}
	content, err := os.ReadFile(f.file)
	if err != nil {
		return nil, fmt.Errorf("issuers-file: %w", err)
	}
	list, err := token.ParseIssuers(content, f.dev != nil && *f.dev)
	if err != nil {
		return nil, fmt.Errorf("issuers-file %s: %w", f.file, err)
	}
	return list, nil
}

// RegistrySettings are the settings of the registry.
type RegistrySettings struct {
	registry.Options
	addr, own string
	services  addresses
}

func (r *RegistrySettings) register(s *config.Set) {
	s.Section("Rooms")
	s.Bool(&r.RefuseCreateByJoin, "no-create-by-join", "joining a room that does not exist is an error")
	r.RoomsPerHour = 1000
	s.Int(&r.RoomsPerHour, "rooms-per-hour", "rooms that one user may make at once, and then in an hour, by joining or otherwise, at each replica of the registry; 0 for no limit")
	r.EmptyGrace, r.ExpireAfter = time.Minute, 24*time.Hour // PROTOCOL.md, 5.6
	s.Duration(&r.EmptyGrace, "empty-grace", "how long a room that is not persistent may be empty before it leaves the lists")
	s.Duration(&r.ExpireAfter, "expire-after", "how long after that it and its log are removed")
}

// HistorySettings are the settings of history.
type HistorySettings struct {
	history.Options
	addr, own string
}

func (h *HistorySettings) register(s *config.Set) {
	s.Section("Log")
	_ = h.Log.Complete() // the zero value is complete
	s.Int64(&h.Log.Retention, "retention", "messages kept of each room")
	s.Duration(&h.Log.MaxAge, "max-age", "how long a message is kept; 0 for ever")
	s.Duration(&h.Log.Window, "dedup-window", "how long a message's id is remembered, so that sending it again stores it once")
	s.Validate(h.Log.Complete)
}

// EventsSettings are the settings of events.
type EventsSettings struct {
	events.Options
	addr, own string
	services  addresses
}

func (e *EventsSettings) register(s *config.Set) {
	s.Section("Events")
	_ = e.Keep.Complete() // the zero value is complete
	e.MaxSubscribers = 100
	s.Duration(&e.Keep.MaxAge, "events-max-age", "how long an event is kept, and how long what it is made of waits for it")
	s.Bytes(&e.Keep.MaxBytes, "events-max-bytes", "what all events together may take; 0 for no limit")
	s.Int(&e.MaxSubscribers, "events-subscribers", "Subscribe streams at once, each of which is a consumer at NATS")
	s.Validate(e.Keep.Complete)
}

// GatewaySettings are the settings of the gateway.
type GatewaySettings struct {
	gateway.Options
	httpAddr string
	foreign  foreignTokens
	services addresses
	hook     hookSettings
}

func (g *GatewaySettings) register(s *config.Set) {
	g.Options = gateway.Defaults()
	g.httpAddr = ":8080"
	s.Section("Clients")
	s.String(&g.httpAddr, "http-addr", "where clients connect: sockets, the HTTP API and the demo page").Check(listening(&g.httpAddr))
	s.Strings(&g.AllowedOrigins, "allowed-origins", "origins whose pages may connect beside the gateway's own, like https://app.example.com; a host, or one with *, lets them use the socket, but not the HTTP API").Check(origins(&g.AllowedOrigins))
	var proxies []string
	s.Strings(&proxies, "trusted-proxies", "addresses or networks (10.0.0.0/8) of load balancers, whose X-Forwarded-For or PROXY header tells who the client is; sign-ins are throttled and connections limited by it").
		Check(func() (err error) {
			g.TrustedProxies, err = networks(proxies)
			return err
		})
	s.String(&g.Proxy, "proxy-protocol", "whether trusted-proxies begin each connection with a PROXY header, of version 1 or 2: off, optional or required")
	g.foreign.register(s)
	s.Section("Limits")
	s.Int(&g.MaxConnections, "max-connections", "connections at once").Check(some(&g.MaxConnections))
	s.Int(&g.MaxUnauthenticated, "max-unauthenticated", "connections that have not signed in, and beside them sockets that have not asked for a WebSocket; beyond it the oldest go; 0 for half of max-connections, 64 at least")
	s.Int(&g.MaxPerAddress, "max-per-address", "connections of one address (of IPv6: a /64) at once; 0 for no limit")
	s.Float64(&g.ConnectRate, "connect-rate", "connections per second that one address may open; 0 for no limit")
	s.Int(&g.ConnectBurst, "connect-burst", "connections that it may open at once; 0 for no limit")
	s.Bool(&g.LimitPrivate, "limit-private", "limit private addresses, and this machine's, as others are: who is behind no load balancer, or names all of them in trusted-proxies, may")
	s.Int(&g.MaxPerUser, "max-per-user", "connections of one user at once, on each gateway by itself; 0 for no limit")
	s.Int(&g.MaxRooms, "max-rooms", "rooms that a connection may be in, beside the lobby; 0 for no limit")
	s.Bytes(&g.InputRate, "input-rate", "bytes per second that are read from one connection, which waits beyond that; 0 for no limit")
	s.Bytes(&g.InputBurst, "input-burst", "bytes that may come from it at once; 0 for no limit")
	s.Float64(&g.RateLimit, "rate-limit", "requests per second and connection; 0 for no limit")
	s.Int(&g.RateBurst, "rate-burst", "requests that may come at once; 0 for no limit")
	s.Bool(&g.WeighRequests, "weigh-requests", "joins and lists count as 2 requests, history as 4, what makes or ends a room as 5")
	s.Bytes(&g.MaxMessage, "max-message", "largest frame of a client").Check(some(&g.MaxMessage))
	s.Bytes(&g.MaxContent, "max-content", "largest content of a message").Check(some(&g.MaxContent))
	s.Bytes(&g.MaxData, "max-data", "largest data of a message").Check(some(&g.MaxData))
	s.Bytes(&g.QueueBytes, "queue-bytes", "what may wait to be written to one client").Check(some(&g.QueueBytes))
	s.Bytes(&g.QueueTotal, "queue-total", "what may wait for all clients together, beyond which 64 KiB may for one").Check(some(&g.QueueTotal))
	s.Bytes(&g.HistoryBytes, "history-bytes", "history that may wait to be written to all clients together").Check(some(&g.HistoryBytes))
	s.Bytes(&g.RecentBytes, "recent-bytes", "newest messages of all rooms held in memory for who joins").Check(some(&g.RecentBytes))
	s.Int(&g.MaxInFlight, "max-in-flight", "messages of one client that may wait for the log").Check(some(&g.MaxInFlight))
	s.Bytes(&g.MemoryLimit, "memory-limit", "what /health compares the process's memory with; 0 for nothing")
	s.Section("Connections")
	s.Duration(&g.Heartbeat, "heartbeat", "how often clients are pinged; who misses two is dropped").Check(some(&g.Heartbeat))
	s.Duration(&g.AuthTimeout, "auth-timeout", "how long a connection may stay without signing in").Check(some(&g.AuthTimeout))
	s.Bool(&g.Guests, "guests", "let those in who do not sign in, as guests with made-up names; what they may in a room is its policy's")
	s.Int(&g.MaxGuests, "max-guests", "guests at once").Check(some(&g.MaxGuests))
	s.Float64(&g.GuestRateLimit, "guest-rate-limit", "requests per second of a guest, where rate-limit is not less; 0 for rate-limit")
	s.Int(&g.GuestRateBurst, "guest-rate-burst", "of a guest at once").Check(some(&g.GuestRateBurst))
	s.Bytes(&g.GuestMaxContent, "guest-max-content", "largest content, or data, of a guest's message").Check(some(&g.GuestMaxContent))
	s.Duration(&g.TokenWarning, "token-warning", "how long before its token ends a client is told, at most a tenth of the token's life; 0 for never")
	s.Duration(&g.CommandTimeout, "command-timeout", "how long a request may wait for a service").Check(some(&g.CommandTimeout))
	s.Duration(&g.Lease, "lease", "how long who lost the connection stays present").Check(some(&g.Lease))
	s.Bool(&g.NoLobby, "no-lobby", "there is no built-in room")
	s.Bool(&g.NoDeflate, "no-deflate", "refuse permessage-deflate")
	s.Int(&g.Rebalance, "rebalance", "clients a second to send elsewhere while this gateway has clearly more than the others; 0 for none")
	g.hook.register(s, g)
	s.Section("Shutting down")
	s.Duration(&g.DrainDelay, "drain-delay", "how long to go on while not ready, so that load balancers notice")
	s.Duration(&g.DrainTimeout, "drain-timeout", "how long sending clients away may take after that").Check(some(&g.DrainTimeout))
	s.Int(&g.DrainWave, "drain-wave", "how many clients are sent away at a time").Check(some(&g.DrainWave))
	s.Duration(&g.DrainInterval, "drain-interval", "the time between two waves").Check(some(&g.DrainInterval))
	s.Duration(&g.ReconnectSpread, "reconnect-spread", "within which time clients are told to come back").Check(some(&g.ReconnectSpread))
	s.Validate(func() error { return g.Validate() })
}

// some accepts what is more than nothing: the options take their zero for the
// default, which is not what somebody who sets 0 means.
func some[T int | int64 | time.Duration](p *T) func() error {
	return func() error {
		if *p <= 0 {
			return errors.New("want more than 0")
		}
		return nil
	}
}

// listening accepts where a server can listen; empty, where that is allowed.
func listening(p *string) func() error {
	return func() error {
		if *p == "" {
			return nil
		}
		_, port, err := net.SplitHostPort(*p)
		if err != nil {
			return errors.New("want host:port, or :port for all addresses of the machine")
		}
		if _, err := net.LookupPort("tcp", port); err != nil {
			return errors.New("want a port of 0 to 65535")
		}
		return nil
	}
}

// origins accepts what the origin of a page can be like: a scheme and a host
// with its port, or a pattern of hosts. With a path, or a slash at its end, an
// entry would be none's.
func origins(p *[]string) func() error {
	return func() error {
		for _, origin := range *p {
			scheme, host, whole := strings.Cut(origin, "://")
			if !whole {
				scheme, host = "https", origin
			}
			if scheme == "" || host == "" || strings.ContainsAny(host, "/?#@ ") {
				return fmt.Errorf("want origins like https://app.example.com, without a path or a slash at the end, and not %q", origin)
			}
			if _, err := path.Match(host, ""); err != nil {
				return fmt.Errorf("%q is not a pattern", origin)
			}
		}
		return nil
	}
}

// networks reads addresses and networks.
func networks(texts []string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if addr, notOne := netip.ParseAddr(text); notOne == nil {
			network, err = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("want addresses, or networks like 10.0.0.0/8, and not %q", text)
		}
		list = append(list, network.Masked())
	}
	return list, nil
}

// tokensOfOthers gives the secret of HS256 tokens, of which it warns where it is
// weak, and the issuers.
func (env *Env) tokensOfOthers(f foreignTokens) (secret []byte, issuers []token.IssuerOptions, err error) {
	secret = []byte(f.secret.Reveal())
	if len(secret) > 0 && token.WeakSecret(secret) {
		env.Logger.Warn("jwt-secret is shorter than 32 bytes: it can be guessed from any token")
	}
	issuers, err = f.issuers()
	return secret, issuers, err
}

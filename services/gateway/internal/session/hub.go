package session

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/coalesce"
	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/announce"
	"github.com/parley-im/parley/services/gateway/internal/conn"
	"github.com/parley-im/parley/services/gateway/internal/fanout"
	"github.com/parley-im/parley/services/gateway/internal/hook"
)

// Bus is what sessions say beside what rooms do; *bus.Bus is one.
type Bus interface {
	PublishLive(room string, event *busv1.LiveEvent) error
	PublishAll(*busv1.Broadcast) error
	Durability() bus.Durability
}

// Options is all that sessions need. Every field is needed unless it says what
// its zero means.
type Options struct {
	Logger    *slog.Logger
	Listener  *conn.Listener
	Rooms     *fanout.Hub
	Announcer *announce.Announcer
	Bus       Bus
	Registry  registryv1.RegistryClient
	History   historyv1.HistoryClient
	Presence  presencev1.PresenceClient
	// Hook is asked before some things happen; nil is not.
	Hook *hook.Hook

	// Tracer makes each request a span; nil traces nothing.
	Tracer trace.Tracer

	// Authenticate checks a token.
	Authenticate func(token string) (*Identity, error)
	// Revoked says whether what a token said is void by now: forbidden where the
	// account is disabled, unauthenticated where the sign-in has ended.
	Revoked func(*Identity) error
	// RolesInForce gives the roles that count by now, whatever the token said.
	RolesInForce func(*Identity) []string
	// SignResume and ReadResume make and check resume tokens.
	SignResume func(Resumption) (string, error)
	ReadResume func(token string) (*Resumption, error)

	// Lobby: every session belongs to the lobby.
	Lobby bool
	// AuthTimeout is how long a connection may stay without signing in.
	AuthTimeout time.Duration
	// Guests are those who have not signed in; zero lets none in.
	Guests Guests
	// TokenWarning is how long before its token ends a client is told; see
	// (*Identity).warning.
	TokenWarning time.Duration
	// CommandTimeout bounds a request that has to ask a service.
	CommandTimeout time.Duration
	// MaxUnauthenticated is how many connections may not have signed in, 0 for any
	// number. Beyond it, the one goes that has waited longest.
	MaxUnauthenticated int
	// MaxPerUser is how many connections one user may have on this gateway at
	// once, 0 for any number. One more is closed with 4103.
	MaxPerUser int
	// MaxRooms is how many rooms a session may be in, beside the lobby; 0 for any
	// number.
	MaxRooms int
	// MaxInFlight is how many publishes of one session may wait for the log.
	MaxInFlight int
	// RateLimit is requests per second and connection, RateBurst how many may
	// come at once; 0 in either is no limit.
	RateLimit float64
	RateBurst int
	// WeighRequests has those that do more work count as several (costs).
	WeighRequests bool
	// MaxMessage, MaxContent and MaxData are bytes.
	MaxMessage int64
	MaxContent int
	MaxData    int
	// MaxHistoryBytes bounds the history that waits to be written to all
	// clients together; beyond it requests that may bring more are refused.
	MaxHistoryBytes int64
	// Lease is how long a session that has lost its connection stays present;
	// Heartbeat how often a connection is pinged. Both are only told here.
	Lease, Heartbeat time.Duration
}

// Hub is all sessions of one gateway.
type Hub struct {
	opts      Options
	log       *slog.Logger
	directory *directory
	strangers strangers
	deadlines deadlines
	started   time.Time
	every     time.Duration // between two requests of a session, 0 for no limit
	// guestEvery is the same for guests; never less.
	guestEvery time.Duration
	wg         sync.WaitGroup

	received, sent, publishes, publishFailures, failures atomic.Int64
	peak, total, throttled, guests, shed                 atomic.Int64
	measured                                             measured

	complain rate.Sometimes // about what is out of reach

	admissions *coalesce.Asker[*registryv1.AdmitRequest, *registryv1.AdmitResponse] // nil: to be asked alone
	joinCounts *coalesce.Asker[string, int64]                                       // how many are in a room, for who joins it

	lobbyStandings *coalesce.Asker[string, lobbyStanding] // of users in the lobby
	lobbyRevision  uint64                                 // of the lobby's record; only who asks lobbyStandings has it

	mu      sync.Mutex
	closing bool                // no session is started any more
	codes   map[conn.Code]int64 // closes
	errs    map[errs.Code]int64 // error frames
}

// NewHub makes a Hub.
func NewHub(o Options) *Hub {
	h := &Hub{
		opts: o, log: o.Logger, directory: newDirectory(o.MaxPerUser), complain: rate.Sometimes{Interval: time.Second},
		started: time.Now(),
		codes:   make(map[conn.Code]int64), errs: make(map[errs.Code]int64),
	}
	h.admissions = coalesce.New(coalesce.Options[*registryv1.AdmitRequest, *registryv1.AdmitResponse]{Ask: h.admitAll, Batch: maxAdmissions})
	h.joinCounts = coalesce.New(coalesce.Options[string, int64]{Ask: h.countJoined})
	h.lobbyStandings = coalesce.New(coalesce.Options[string, lobbyStanding]{Ask: h.askLobbyStandings})
	h.deadlines.now, h.deadlines.ended = h.now, (*Session).overdue
	if o.RateLimit > 0 && o.RateBurst > 0 {
		h.every = interval(o.RateLimit)
	}
	if o.Guests.RateLimit > 0 {
		h.guestEvery = max(h.every, interval(o.Guests.RateLimit))
	}
	return h
}

// now is the time since the hub's start.
func (h *Hub) now() time.Duration { return time.Since(h.started) }

// limit counts a request, which stands for cost of them, against a session's
// pace, and tells how long it is too early; 0 for a request that may be.
func (h *Hub) limit(p *pace, who *Identity, cost int) time.Duration {
	every, burst := h.every, h.opts.RateBurst
	if h.guestEvery > 0 && who != nil && who.guest() {
		if every == 0 || h.opts.Guests.RateBurst < burst {
			burst = h.opts.Guests.RateBurst
		}
		every = h.guestEvery
	}
	if every == 0 {
		return 0
	}
	return p.take(h.now(), every, max(burst, 1), cost)
}

// Serve begins the session of a connection, with the token it came with, and
// leaves it to a goroutine of its own.
func (h *Hub) Serve(c *conn.Conn, token string) {
	h.mu.Lock()
	if h.closing {
		h.mu.Unlock()
		h.opts.Listener.Forget(c)
		c.Close(conn.GoingAway, "the gateway is shutting down")
		c.Wait()
		return
	}
	h.wg.Add(1) // under the lock: never beside the Wait of Drain
	h.mu.Unlock()
	s := start(h, c)
	h.directory.open(s)
	begun := false
	defer func() {
		if !begun { // a panic, after which net/http goes on
			s.close(conn.InternalError, "internal error")
		}
		go s.read()
	}()
	if h.isClosing() {
		// Drain may have listed the sessions before this one was there.
		s.close(conn.GoingAway, "the gateway is shutting down")
	}
	h.total.Add(1)
	for n := int64(h.opts.Listener.Count()); ; {
		peak := h.peak.Load()
		if n <= peak || h.peak.CompareAndSwap(peak, n) {
			break
		}
	}
	if token != "" {
		s.tries()
		if h.opts.Hook != nil {
			c.Greet() // asking it may take long
		}
		s.authenticate(context.Background(), nil, token)
	}
	begun = true
}

func (h *Hub) isClosing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closing
}

// closed notes that a session has ended.
func (h *Hub) closed(s *Session, code conn.Code) {
	h.directory.close(s)
	h.opts.Listener.Forget(s.conn)
	h.mu.Lock()
	defer h.mu.Unlock()
	// What peers send is theirs to choose; counted are the codes we know.
	if code > conn.TokenExpired || code > conn.Overloaded && code < conn.SessionRevoked {
		code = 0
	}
	h.codes[code]++
}

func (h *Hub) countFailure(code errs.Code) {
	h.failures.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs[code]++
}

// published notes that the log has acknowledged, or not, what was taken in then.
func (h *Hub) published(began time.Duration, err error) {
	h.publishes.Add(1)
	if err != nil {
		h.publishFailures.Add(1)
		return
	}
	measure(h.measured.publish, h.now()-began)
}

func (h *Hub) welcome(s *Session) *wirev1.ServerFrame {
	now := time.Now()
	o := &h.opts
	return &wirev1.ServerFrame{Event: &wirev1.ServerFrame_Welcome{Welcome: &wirev1.Welcome{
		Message:             "Welcome to Parley. Sign in with auth.",
		ConnectionId:        s.log.connection,
		Timestamp:           timestamppb.New(now),
		ServerTime:          now.UnixMilli(),
		HeartbeatIntervalMs: o.Heartbeat.Milliseconds(),
		Protocol:            s.encoding.Subprotocol(),
		Limits: &wirev1.Limits{
			MaxFrameBytes:   o.MaxMessage,
			MaxContentBytes: int64(o.MaxContent),
			MaxDataBytes:    int64(o.MaxData),
			RateLimit:       o.RateLimit,
			RateBurst:       int64(o.RateBurst),
			MaxHistory:      maxPage,
			LeaseMs:         o.Lease.Milliseconds(),
			AuthTimeoutMs:   o.AuthTimeout.Milliseconds(),
		},
	}}}
}

// Broadcast speaks to every connection, signed in or not (PROTOCOL.md, section
// 3).
func (h *Hub) Broadcast(b *busv1.Broadcast) {
	out := fanout.NewOutgoing(&wirev1.ServerFrame{Event: &wirev1.ServerFrame_AdminMessage{AdminMessage: &wirev1.AdminMessage{
		Content: b.Content, From: b.From, Timestamp: timestamppb.New(time.UnixMilli(b.TimeMs)),
	}}})
	tell(h.directory.everyone(), out)
}

// tell sends sessions a frame that concerns no room.
func tell(list []*Session, out *fanout.Outgoing) {
	for _, s := range list {
		if !s.gate.hold(out) {
			s.pass(out, nil)
		}
	}
}

// Given tells a user's sessions of a room to which the user belongs from now on.
func (h *Hub) Given(user string, g *busv1.RoomGiven) {
	list := h.directory.signedIn(user)
	if user == "" || len(list) == 0 {
		return
	}
	out := fanout.NewOutgoing(&wirev1.ServerFrame{Event: &wirev1.ServerFrame_Invited{Invited: &wirev1.Invited{
		RoomId: g.RoomId, User: g.By,
	}}})
	tell(list, out)
}

// Revoke closes the sessions that a revocation is about.
func (h *Hub) Revoke(r bus.Revocation) {
	for _, s := range h.directory.signedIn(r.UserID) {
		if who := s.who(); who != nil {
			s.closeVoid(h.opts.Revoked(who))
		}
	}
}

// Regrade closes a user's sessions where the account is disabled by now, and
// puts the roles in force on the others. It tells whether any are left.
func (h *Hub) Regrade(user string) (left bool) {
	for _, s := range h.directory.signedIn(user) {
		who := s.regrade()
		if err := h.opts.Revoked(who); err != nil {
			s.closeVoid(err)
			continue
		}
		s.reconsider() // what members may do there depends on roles, too
		left = true
	}
	return left
}

// SignIns gives the sign-ins that open connections use, to keep them alive.
func (h *Hub) SignIns() []string {
	seen := make(map[string]struct{})
	var list []string
	for _, s := range h.directory.signedIn("") {
		if who := s.who(); who != nil && who.SignIn != "" {
			if _, ok := seen[who.SignIn]; !ok {
				seen[who.SignIn] = struct{}{}
				list = append(list, who.SignIn)
			}
		}
	}
	return list
}

// Drain asks all clients to go to another gateway: going-away with a time
// within spread to come back at, then, when what they have published is
// acknowledged, close 1001. It goes through them in waves of size, one each
// interval, and returns when all have ended or ctx ends.
func (h *Hub) Drain(ctx context.Context, size int, interval, spread time.Duration) {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	sessions := h.directory.everyone()
	rand.Shuffle(len(sessions), func(i, j int) { sessions[i], sessions[j] = sessions[j], sessions[i] })
	for i, s := range sessions {
		if i > 0 && size > 0 && i%size == 0 {
			select {
			case <-time.After(interval):
			case <-ctx.Done():
			}
		}
		after := time.Duration(rand.Int64N(int64(spread) + 1))
		s.reply(nil, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_GoingAway{GoingAway: &wirev1.GoingAway{
			ReconnectInMs: after.Milliseconds(),
		}}})
		h.wg.Add(1) // the session's own has not ended, or Wait has not begun
		go func() {
			defer h.wg.Done()
			s.flight.land(ctx)
			s.close(conn.GoingAway, "the gateway is shutting down")
		}()
	}
	done := make(chan struct{})
	go func() {
		h.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		for _, s := range h.directory.everyone() {
			s.conn.Drop()
		}
		<-done
	}
}

// tooMuchHistory says whether more history waits to be written to all clients
// together than may.
func (h *Hub) tooMuchHistory() bool {
	return h.opts.Listener.HistoryBytes() > h.opts.MaxHistoryBytes
}

// Shed asks n clients, whichever, to reconnect.
func (h *Hub) Shed(n int) {
	sessions := h.directory.everyone()
	n = min(n, len(sessions))
	h.shed.Add(int64(n))
	for _, i := range rand.Perm(len(sessions))[:n] {
		sessions[i].close(conn.Reconnect, "please reconnect")
	}
}

// Stats is what a gateway counts.
type Stats struct {
	Active, Users                                        int
	Peak, Total                                          int64
	Received, Sent, Publishes, PublishFailures, Failures int64
}

// Closes tells how many connections have ended so far, by close code; 0 stands
// for those that are not ours.
func (h *Hub) Closes() map[int]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	closes := make(map[int]int64, len(h.codes))
	for code, n := range h.codes {
		closes[int(code)] = n
	}
	return closes
}

// Stats tells the counts so far.
func (h *Hub) Stats() Stats {
	active, users := h.directory.counts()
	return Stats{
		Active: active, Users: users, Peak: h.peak.Load(), Total: h.total.Load(),
		Received: h.received.Load(), Sent: h.sent.Load(),
		Publishes: h.publishes.Load(), PublishFailures: h.publishFailures.Load(), Failures: h.failures.Load(),
	}
}

// Package announce tells presence about a gateway's sessions: numbered deltas
// as things happen, a beat every second, a snapshot to whoever asks. It owns
// the list of what this gateway announces, and knows neither connections nor
// what presence makes of it.
package announce

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const (
	// beatEvery is how often a gateway says that it is alive.
	beatEvery = time.Second
	// deltaSize and deltaBytes bound the changes in one delta, and the sessions
	// in one part of a snapshot, so that no message comes near NATS's largest,
	// 1 MiB: one session alone may be in a thousand rooms.
	deltaSize  = 500
	deltaBytes = 256 << 10
)

// Announcer announces the sessions of one gateway.
type Announcer struct {
	b     *bus.Bus
	log   *slog.Logger
	id    string
	lease time.Duration

	// Connections tells how many connections the gateway has; the beats carry
	// it. Set before Run; nil tells 0.
	Connections func() int

	wake chan struct{}

	mu       sync.Mutex
	sessions map[string]*session
	leases   []lease                // oldest first
	pending  []*busv1.PresenceDelta // complete but for the numbers, which follow number
	bytes    int                    // of the last of them
	number   uint64                 // of the newest delta that was sent
	leaving  bool
}

type session struct {
	user            *wirev1.User
	authenticatedAt int64
	rooms           []string             // ordered
	status          *busv1.SessionStatus // nil where none is known; presence may know one
	leased          bool                 // offline, but not yet gone
	// connections are more than one while a client that was cut off is back
	// here before its old connection is found dead.
	connections int
}

type lease struct {
	session *session
	id      string
	until   time.Time
}

// New makes an Announcer for the gateway of this id; a session that is lost
// stays present for the lease. Run does the telling.
func New(b *bus.Bus, id string, lease time.Duration, log *slog.Logger) *Announcer {
	return &Announcer{
		b: b, log: log, id: id, lease: lease,
		wake:     make(chan struct{}, 1),
		sessions: make(map[string]*session),
	}
}

// Online announces a session; one that is resumed comes with its rooms. Each
// Online is followed by one Offline, for its connection.
func (a *Announcer) Online(id string, user *wirev1.User, authenticatedAt time.Time, rooms []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &session{user: user, authenticatedAt: authenticatedAt.UnixMilli(), connections: 1}
	if old := a.sessions[id]; old != nil {
		s.status = old.status
		if !old.leased {
			s.connections += old.connections
		}
	}
	for _, room := range rooms {
		s.enter(room)
	}
	a.sessions[id] = s
	a.add(&busv1.PresenceChange{SessionId: id, Change: &busv1.PresenceChange_Online{Online: s.online()}})
}

// enter notes a room. A session is in one or two rooms, mostly, for which a map
// would cost 250 bytes.
func (s *session) enter(room string) {
	if i, ok := slices.BinarySearch(s.rooms, room); !ok {
		s.rooms = slices.Insert(s.rooms, i, room)
	}
}

func (s *session) online() *busv1.SessionOnline {
	return &busv1.SessionOnline{
		User: s.user, AuthenticatedAtMs: s.authenticatedAt, Rooms: slices.Clone(s.rooms), Status: s.status,
	}
}

// Joined announces that a session is in a room.
func (a *Announcer) Joined(id, room string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[id]
	if s == nil || s.leased {
		return
	}
	s.enter(room)
	a.add(&busv1.PresenceChange{SessionId: id, Change: &busv1.PresenceChange_Joined{Joined: room}})
}

// Left announces that a session has left a room.
func (a *Announcer) Left(id, room string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[id]
	if s == nil || s.leased {
		return
	}
	if i, ok := slices.BinarySearch(s.rooms, room); ok {
		s.rooms = slices.Delete(s.rooms, i, i+1)
	}
	a.add(&busv1.PresenceChange{SessionId: id, Change: &busv1.PresenceChange_Left{Left: room}})
}

// Status announces how available a session's user is.
func (a *Announcer) Status(id, status, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[id]
	if s == nil || s.leased {
		return
	}
	s.status = &busv1.SessionStatus{Status: status, Text: text}
	a.add(&busv1.PresenceChange{SessionId: id, Change: &busv1.PresenceChange_Status{Status: s.status}})
}

// Recalled notes the status that presence remembers of a session which has
// resumed here, so that a snapshot has it. One that was set here is newer.
func (a *Announcer) Recalled(id, status, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.sessions[id]; s != nil && !s.leased && s.status == nil {
		s.status = &busv1.SessionStatus{Status: status, Text: text}
	}
}

// Offline announces that a session has lost its connection. A session that may
// come back stays present for the lease.
func (a *Announcer) Offline(id string, mayComeBack bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[id]
	if s == nil || s.leased {
		return
	}
	if s.connections--; s.connections > 0 {
		return
	}
	offline := new(busv1.SessionOffline)
	if mayComeBack {
		// It stays in the list, so that a snapshot within the lease has it.
		s.leased = true
		offline.LeaseMs = a.lease.Milliseconds()
		a.leases = append(a.leases, lease{s, id, time.Now().Add(a.lease)})
	} else {
		delete(a.sessions, id)
	}
	a.add(&busv1.PresenceChange{SessionId: id, Change: &busv1.PresenceChange_Offline{Offline: offline}})
}

// Seen is the gateway and its newest delta, the one that holds all that was
// announced up to now.
func (a *Announcer) Seen() (gateway string, delta uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.id, a.number + uint64(len(a.pending))
}

// add queues a change; a.mu is held.
func (a *Announcer) add(change *busv1.PresenceChange) {
	size := proto.Size(change)
	n := len(a.pending)
	if n == 0 || len(a.pending[n-1].Changes) == deltaSize || a.bytes+size > deltaBytes {
		a.pending = append(a.pending, &busv1.PresenceDelta{GatewayId: a.id})
		a.bytes = 0
		n++
	}
	a.pending[n-1].Changes = append(a.pending[n-1].Changes, change)
	a.bytes += size
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run announces until ctx ends, and says then that the gateway is leaving.
func (a *Announcer) Run(ctx context.Context) error {
	subs, err := a.b.SubscribeSnapshotRequests(a.id, a.snapshot)
	if err != nil {
		return fmt.Errorf("announcing: %w", err)
	}
	defer func() {
		for _, sub := range subs {
			sub.Stop()
		}
	}()
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	a.beat()
	for {
		select {
		case <-ctx.Done():
			a.mu.Lock()
			a.leaving = true
			a.mu.Unlock()
			a.flush()
			a.beat()
			return nil
		case <-a.wake:
			a.flush()
		case now := <-tick.C:
			a.expire(now)
			a.flush()
			a.beat()
		}
	}
}

// flush sends what is pending.
func (a *Announcer) flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flushLocked()
}

func (a *Announcer) flushLocked() {
	for _, delta := range a.pending {
		a.number++
		delta.Number = a.number
		// A delta that cannot be sent is a hole in the numbers, and presence
		// asks for a snapshot when it is back.
		if err := a.b.PublishDelta(delta); err != nil {
			a.log.Debug("announcing", "error", err)
		}
	}
	a.pending = nil
}

func (a *Announcer) beat() {
	a.mu.Lock()
	beat := &busv1.GatewayBeat{GatewayId: a.id, Delta: a.number, Leaving: a.leaving}
	if a.Connections != nil {
		beat.Connections = int64(a.Connections())
	}
	a.mu.Unlock()
	if err := a.b.PublishBeat(beat); err != nil {
		a.log.Debug("announcing", "error", err)
	}
}

// expire ends the sessions whose lease is over. Presence ends them by itself,
// but one that a snapshot has brought back within its lease needs the word.
func (a *Announcer) expire(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for n < len(a.leases) && !now.Before(a.leases[n].until) {
		l := a.leases[n]
		n++
		// The session may have come back to this very gateway.
		if a.sessions[l.id] == l.session {
			delete(a.sessions, l.id)
			a.add(&busv1.PresenceChange{SessionId: l.id, Change: &busv1.PresenceChange_Offline{Offline: new(busv1.SessionOffline)}})
		}
	}
	a.leases = slices.Delete(a.leases, 0, n)
}

// snapshot sends all that is announced. What is pending goes first, so that
// the snapshot is the state after the delta whose number it carries.
func (a *Announcer) snapshot(reply func(*busv1.PresenceSnapshot) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flushLocked()
	part := &busv1.PresenceSnapshot{GatewayId: a.id, Number: a.number}
	send := func() {
		if err := reply(part); err != nil {
			a.log.Debug("sending a snapshot", "error", err)
		}
	}
	bytes := 0
	for id, s := range a.sessions {
		next := &busv1.SnapshotSession{SessionId: id, Online: s.online()}
		size := proto.Size(next)
		if bytes += size; len(part.Sessions) == deltaSize || bytes > deltaBytes && len(part.Sessions) > 0 {
			send()
			bytes = size
			part = &busv1.PresenceSnapshot{GatewayId: a.id, Number: a.number, Part: part.Part + 1}
		}
		part.Sessions = append(part.Sessions, next)
	}
	part.Last = true
	send()
}

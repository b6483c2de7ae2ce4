package presence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
)

// Service is one presence replica.
type Service struct {
	presencev1.UnimplementedPresenceServer

	opts Options
	log  *slog.Logger
	bus  *bus.Bus

	// mu guards all below. What NATS brings and the clock write; queries read.
	// It is the only lock, and nothing is sent or waited for under it: asks,
	// events and responses are collected and sent after it.
	mu       sync.RWMutex
	intake   *intake
	journal  *journal
	roster   *roster
	statuses *statuses
	lastSeen *lastSeen
	floor    *floor
	watchers map[*watcher]struct{}
	answers  map[*answer]struct{} // snapshots on their way

	serving   bool      // the picture was complete once and Run goes on
	complete  bool      // serving, and nothing was missed since
	hearing   time.Time // since when NATS is heard without a break
	ticked    time.Time // when the clock was looked at last
	speaks    bool      // as last logged
	eventsOut int64

	reconnected chan struct{} // capacity 1
	rosterWoken chan struct{} // capacity 1
	workWoken   chan struct{} // capacity 1
	stopped     chan struct{} // closed when Run ends
}

// New makes a replica that holds nothing; Run fills it. An error names the
// option that is wrong.
func New(o Options) (*Service, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	s := &Service{
		opts:        o,
		log:         o.Logger,
		bus:         o.Bus,
		intake:      newIntake(o),
		journal:     newJournal(o),
		roster:      newRoster(o),
		statuses:    newStatuses(o),
		lastSeen:    newLastSeen(o),
		floor:       newFloor(ids.New("p_"), o.ReplicaTimeout),
		watchers:    make(map[*watcher]struct{}),
		answers:     make(map[*answer]struct{}),
		reconnected: make(chan struct{}, 1),
		rosterWoken: make(chan struct{}, 1),
		workWoken:   make(chan struct{}, 1),
		stopped:     make(chan struct{}),
	}
	if err := s.observe(o.Meter); err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	return s, nil
}

// Register adds the Presence service to a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) { presencev1.RegisterPresenceServer(r, s) }

// Ready is nil once every gateway has been heard; from then on queries are
// answered, during a time without NATS from what was known before.
func (s *Service) Ready(context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.serving {
		return errs.Missing("presence", errors.New("not every gateway has been heard"))
	}
	return nil
}

// Run hears the gateways and tells the rooms until ctx ends. It may be called
// once.
func (s *Service) Run(ctx context.Context) error {
	subs, err := s.subscribe()
	defer func() {
		s.stop()
		for _, sub := range subs {
			sub.Stop()
		}
	}()
	if err != nil {
		return fmt.Errorf("presence: %w", err)
	}
	s.bus.OnReconnect(func() { wake(s.reconnected) })
	s.listen()

	tick := time.NewTimer(0)
	defer tick.Stop()
	beat := time.NewTicker(s.opts.BeatEvery)
	defer beat.Stop()
	roster := time.NewTimer(0)
	defer roster.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.reconnected:
			s.listen()
			tick.Reset(0)
		case <-tick.C:
			s.tick()
			tick.Reset(s.tickEvery())
		case <-beat.C:
			s.announce()
		case <-roster.C:
			s.tell(roster)
		case <-s.rosterWoken:
			s.tell(roster)
		case <-s.workWoken:
			s.work()
		}
	}
}

// tickEvery is how often the clock is looked at: often enough that no deadline
// is missed by more than a tenth. StartWait is one only until the picture is
// complete; it may be short, and to look at the clock costs a wake-up.
func (s *Service) tickEvery() time.Duration {
	shortest := min(s.opts.GatewayTimeout, s.opts.Lease, s.opts.HoleWait, s.opts.ReplicaTimeout)
	s.mu.Lock()
	if !s.complete {
		shortest = min(shortest, s.opts.StartWait)
	}
	s.mu.Unlock()
	return min(max(shortest/10, time.Millisecond), 100*time.Millisecond)
}

func (s *Service) subscribe() ([]*bus.Subscription, error) {
	var subs []*bus.Subscription
	for _, open := range []func() (*bus.Subscription, error){
		func() (*bus.Subscription, error) { return s.bus.SubscribeReplicas(s.hearReplica) },
		func() (*bus.Subscription, error) { return s.bus.SubscribeAsks(s.standIn) },
		func() (*bus.Subscription, error) {
			return s.bus.SubscribeDeltas(func(d *busv1.PresenceDelta) {
				s.change(func(now time.Time) { s.intake.delta(d, now) })
			})
		},
		func() (*bus.Subscription, error) {
			return s.bus.SubscribeBeats(func(b *busv1.GatewayBeat) {
				s.change(func(now time.Time) { s.intake.beat(b, now) })
			})
		},
	} {
		sub, err := open()
		if err != nil {
			return subs, err
		}
		subs = append(subs, sub)
	}
	return subs, nil
}

// change does something to the picture and passes on what came of it.
func (s *Service) change(f func(now time.Time)) {
	s.mu.Lock()
	now := time.Now()
	f(now)
	told := s.spread(now)
	asks := s.intake.asks
	s.intake.asks = nil
	busy := len(s.intake.todo) > 0
	s.mu.Unlock()

	for _, gateway := range asks {
		s.ask(gateway)
	}
	if told {
		wake(s.rosterWoken)
	}
	if busy {
		wake(s.workWoken)
	}
}

// work does one step of what is too much to be done at once: leases that end,
// snapshots, a gateway's end. Between two steps others have their turn.
func (s *Service) work() {
	more := false
	s.change(func(now time.Time) {
		if !s.slept(now) { // else the clock has its turn first, and leases may go on
			more = s.intake.step(now)
		}
	})
	if more {
		wake(s.workWoken)
	}
}

// spread hands the picture's changes to the watchers and the roster; true if a
// room is to be told. s.mu is held.
func (s *Service) spread(now time.Time) (told bool) {
	changes := s.intake.picture.take()
	speaking := s.speaking(now)
	for _, c := range changes {
		s.journal.add(c)
		if c.kind == userOffline {
			s.lastSeen.note(c.user.id, now, now)
		}
		if c.restated && speaking {
			s.statuses.note(c.user.id)
			told = true
		}
		if c.room == nil || c.room.id == ids.Lobby || !s.serving {
			continue // what a start finds is no news
		}
		s.roster.note(c, now)
		told = told || speaking
	}
	if len(changes) > 0 {
		for w := range s.watchers {
			wake(w.woken)
		}
	}
	return told
}

// position is the moment of the picture. s.mu is held.
func (s *Service) position() *presencev1.Position {
	return &presencev1.Position{Epoch: s.floor.id, Version: s.intake.picture.version}
}

// speaking says whether this replica tells the rooms. s.mu is held.
func (s *Service) speaking(now time.Time) bool {
	return s.complete && !s.slept(now) && s.floor.mine(now)
}

// slept says whether this process has just been stopped for a while: frozen with
// its machine, or without a processor. Then it looks as if all the others had
// been silent, and another replica may have the floor. s.mu is held.
func (s *Service) slept(now time.Time) bool {
	return !s.ticked.IsZero() && now.Sub(s.ticked) > s.opts.ReplicaTimeout/3
}

// listen begins to hear NATS, for the first time or again: what was said
// meanwhile is unknown, so everybody is asked, and the old picture serves until
// they have answered.
func (s *Service) listen() {
	s.mu.Lock()
	now := time.Now()
	s.hearAnew(now)
	s.intake.askedAll = now
	s.mu.Unlock()
	s.ask("")
}

// hearAnew begins to hear, behind a time in which nothing was heard. s.mu is held.
func (s *Service) hearAnew(now time.Time) {
	s.hearing = now
	s.complete = false
	s.floor.startedMS = now.UnixMilli()
	// Who resumed meanwhile is told by what comes now, which takes a moment.
	s.intake.picture.extendLeases(now.Add(s.opts.StartWait))
}

// tick looks at the clock.
func (s *Service) tick() {
	connected := s.bus.Connected()
	s.change(func(now time.Time) {
		slept := s.slept(now)
		s.ticked = now
		switch {
		case !connected:
			// Nobody is silent whom we cannot hear.
			s.hearing = now
			s.complete = false
			return
		case slept:
			// What was said meanwhile is on its way to us, or is a hole.
			s.hearAnew(now)
		}
		s.intake.expire(now, s.hearing)
	})
	wake(s.workWoken) // leases may have ended
	s.dropAnswers()
	s.conclude()
}

// conclude calls the picture complete when it is, and sees whose the floor is.
func (s *Service) conclude() {
	s.mu.Lock()
	now := time.Now()
	completed := !s.complete && now.Sub(s.hearing) >= s.opts.StartWait && s.intake.whole(s.hearing)
	if completed {
		if s.floor.accompanied(now) {
			s.roster.clear() // another one has told it, or will
			s.floor.goLast(now)
		}
		s.complete, s.serving = true, true
	}
	users, gateways := s.intake.picture.users.Len(), len(s.intake.feeds)
	speaks := s.speaking(now)
	changed := speaks != s.speaks
	s.speaks = speaks
	s.mu.Unlock()

	if completed {
		s.log.Info("who is online is known", "users", users, "gateways", gateways)
		s.announce()
	}
	if changed {
		s.log.Info("who tells the rooms of joins and leaves has changed", "this_replica", speaks)
		wake(s.rosterWoken)
	}
}

// hearReplica takes in another replica's beat.
func (s *Service) hearReplica(b *busv1.PresenceReplicaBeat) {
	s.mu.Lock()
	now := time.Now()
	if first := s.floor.beat(b, now); s.serving && b.ReplicaId != s.floor.id {
		for _, told := range b.Told {
			s.roster.settle(told, s.intake.picture, now)
		}
		if first {
			s.roster.vouched(now)
		}
	}
	s.mu.Unlock()
}

// announce tells the other replicas that this one is there.
func (s *Service) announce() {
	s.mu.RLock()
	beat := s.beat()
	s.mu.RUnlock()
	s.sendBeat(beat)
}

// beat says what this replica is. s.mu is held.
func (s *Service) beat() *busv1.PresenceReplicaBeat {
	return &busv1.PresenceReplicaBeat{ReplicaId: s.floor.id, StartedMs: s.floor.startedMS, Complete: s.complete}
}

func (s *Service) sendBeat(beat *busv1.PresenceReplicaBeat) {
	if err := s.bus.PublishReplica(beat); err != nil {
		s.log.Debug("a beat was not sent", "error", err)
	}
}

// tell sends the roster events that are due and sets the timer for the next.
func (s *Service) tell(timer *time.Timer) {
	s.mu.Lock()
	now := time.Now()
	if !s.speaking(now) {
		s.statuses.clear()
		s.mu.Unlock()
		return
	}
	events, next := s.roster.due(now, s.intake.picture.roomCount)
	statuses, again := s.statuses.due(now, s.intake.picture)
	beat := s.beat()
	alone := len(s.floor.others) == 0
	s.mu.Unlock()

	s.send(events)
	if !alone {
		s.sendTold(beat, events)
	}
	s.sendStatuses(statuses)
	if next.IsZero() || !again.IsZero() && again.Before(next) {
		next = again
	}
	if !next.IsZero() {
		timer.Reset(time.Until(next))
	}
}

func (s *Service) send(events []rosterEvent) {
	var sent int64
	for _, e := range events {
		event := &busv1.LiveEvent{Event: &busv1.LiveEvent_Roster{Roster: e.event}}
		if err := s.bus.PublishLive(e.room, event); err != nil {
			s.log.Debug("a roster event was not sent", "room", e.room, "error", err)
			continue
		}
		sent++
	}
	s.mu.Lock()
	s.eventsOut += sent
	s.mu.Unlock()
}

// toldBytes bounds what one beat says of what was told: NATS's messages are at
// most 1 MiB, and an event is never near that.
const toldBytes = 256 << 10

// sendTold tells the other replicas what rooms were told. It comes behind the
// events on the same connection: who hears neither, because this process is
// killed between the two, tells it again, and gateways pass over it.
func (s *Service) sendTold(beat *busv1.PresenceReplicaBeat, events []rosterEvent) {
	size := 0
	for _, e := range events {
		told := &busv1.RoomTold{RoomId: e.room, Event: e.event}
		if size += proto.Size(told); size > toldBytes && len(beat.Told) > 0 {
			s.sendBeat(beat)
			beat.Told, size = nil, proto.Size(told)
		}
		beat.Told = append(beat.Told, told)
	}
	if len(beat.Told) > 0 {
		s.sendBeat(beat)
		beat.Told = nil
	}
}

func (s *Service) sendStatuses(events []statusEvent) {
	for _, e := range events {
		event := &busv1.LiveEvent{Event: &busv1.LiveEvent_Status{Status: e.event}}
		if err := s.bus.PublishLive(e.room, event); err != nil {
			s.log.Debug("a status was not sent", "room", e.room, "error", err)
		}
	}
}

// stop tells what is left to tell, gives the floor to another replica, and ends
// all streams.
func (s *Service) stop() {
	s.mu.Lock()
	now := time.Now()
	var events []rosterEvent
	for speaking := s.speaking(now); speaking; {
		// Also what would have had to wait for its time.
		some, _ := s.roster.due(now.Add(s.opts.StatsEvery+s.opts.Gather), s.intake.picture.roomCount)
		events = append(events, some...)
		speaking = len(some) > 0
	}
	beat := s.beat()
	s.serving, s.complete = false, false
	answers := s.answers
	s.answers = nil
	s.mu.Unlock()

	for a := range answers {
		a.sub.Stop()
	}
	s.send(events)
	s.sendTold(beat, events)
	beat.Leaving = true
	s.sendBeat(beat) // the next one speaks, and knows what was told
	close(s.stopped)
}

// wake signals without waiting; one signal that is not heard yet is enough.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Package registry is the room registry: which rooms there are, what they
// allow, what standing users have in them, and how far they have read. It owns
// the bucket of rooms (keys.go says what is in it) and serves
// proto/registry/v1 from it. Read marks are in a bucket of their own and in no
// replica's memory (reads.go).
//
// Every replica keeps the whole bucket of rooms in memory (picture.go), fed by one
// watch (watch.go). Reads are answered from there and from nowhere else, so
// they go on while NATS is away. A write is a compare-and-swap of one record
// (write.go), and is in the writer's own memory before it is acknowledged.
// Replicas do not know each other: whatever two of them do at once, the
// revision of the record decides, and the other one tries again or lets go.
//
// It must not know who is in a room right now, nor where a room's log is:
// it learns the first from Options.Presence and asks Options.Eraser to take
// the second away.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// Eraser takes away what a room's log has.
type Eraser interface {
	// Erase takes everything; doing so twice is no error.
	Erase(ctx context.Context, roomID string) error
	// Trim takes all but the newest entries.
	Trim(ctx context.Context, roomID string, keep uint32) error
}

// Presence tells how many users are in each room.
type Presence interface {
	// WatchRooms hands the counts of all rooms that somebody is in to changed,
	// the last of them with Complete set, and from then on every change. It
	// returns when ctx ends or the counts cannot be had any more, never with
	// nil.
	WatchRooms(ctx context.Context, changed func(RoomCount)) error
}

// RoomCount is one step of WatchRooms.
type RoomCount struct {
	// RoomID is empty on a step that only says that the picture is complete.
	RoomID string
	// Count is how many users are in the room.
	Count int64
	// Complete: with this step every room that somebody is in was told.
	Complete bool
}

// Options says what the registry works with.
type Options struct {
	// Bus is needed.
	Bus *bus.Bus
	// Eraser erases the logs of rooms that end; nil where there are no logs.
	Eraser Eraser
	// Presence tells which rooms are empty; with nil no room is ever hidden
	// and none expires.
	Presence Presence

	// RefuseCreateByJoin makes joining a room that is not there not-found
	// instead of making it.
	RefuseCreateByJoin bool
	// RoomsPerHour is how many rooms one user may make at once, and then in an
	// hour, at this replica; 0 is any number. Back ends and admins may always.
	RoomsPerHour int
	// EmptyGrace is how long a room that is not persistent may be empty before
	// it leaves the lists; default 60 s.
	EmptyGrace time.Duration
	// ExpireAfter is how long after leaving the lists a room and its log end
	// if nobody comes; default 24 h.
	ExpireAfter time.Duration

	// Logger gets what an operator should know; nil discards.
	Logger *slog.Logger
	// Meter records what metrics.go lists; nil records nothing.
	Meter metric.Meter
}

func (o *Options) complete() error {
	if o.Bus == nil {
		return errors.New("bus: is missing")
	}
	if o.RoomsPerHour < 0 || o.RoomsPerHour > maxRoomsPerHour {
		return fmt.Errorf("rooms-per-hour: %d is not between 0 and %d", o.RoomsPerHour, maxRoomsPerHour)
	}
	if o.EmptyGrace < 0 {
		return fmt.Errorf("empty-grace: %s is negative", o.EmptyGrace)
	}
	if o.ExpireAfter < 0 {
		return fmt.Errorf("expire-after: %s is negative", o.ExpireAfter)
	}
	if o.EmptyGrace == 0 {
		o.EmptyGrace = time.Minute // PROTOCOL.md, 5.6
	}
	if o.ExpireAfter == 0 {
		o.ExpireAfter = 24 * time.Hour // PROTOCOL.md, 5.6
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	return nil
}

// Service is one replica of the registry.
type Service struct {
	registryv1.UnimplementedRegistryServer

	opts    Options
	log     *slog.Logger
	bus     *bus.Bus
	picture *picture
	vacancy *vacancy
	metrics counters
	times   endingTimes

	// Set once each, in this order; calls are answered from then on.
	kv    atomic.Pointer[bus.KV]
	reads atomic.Pointer[bus.KV]
	ready atomic.Bool

	again  chan telling // what is told a second time
	trims  chan trim    // logs of rooms that keep less by now
	turns  turns
	making making

	// expireFrom is when rooms may expire again; sweep's own.
	expireFrom time.Time

	// reconnected holds at most one notice that NATS was found again.
	reconnected chan struct{}
}

// New makes a replica; it answers once Run has read the bucket.
func New(opts Options) (*Service, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	s := &Service{
		opts:        opts,
		log:         opts.Logger,
		times:       defaultEndingTimes,
		bus:         opts.Bus,
		vacancy:     newVacancy(opts.EmptyGrace, opts.ExpireAfter),
		reconnected: make(chan struct{}, 1),
		again:       make(chan telling, maxAgain),
		trims:       make(chan trim, maxTrims),
	}
	making, err := newMaking(opts.RoomsPerHour)
	if err != nil {
		return nil, err
	}
	s.making = making
	s.picture = newPicture(opts.Bus.Epoch, s.vacancy.consider)
	if err := s.observe(opts.Meter); err != nil {
		return nil, err
	}
	opts.Bus.OnReconnect(func() {
		select {
		case s.reconnected <- struct{}{}:
		default: // one is waiting already
		}
	})
	return s, nil
}

// Register makes r serve the registry's API.
func (s *Service) Register(r grpc.ServiceRegistrar) { registryv1.RegisterRegistryServer(r, s) }

// Ready is nil from the moment when the whole bucket is in memory. It stays so
// while NATS is away: reads are answered all the same.
func (s *Service) Ready(context.Context) error {
	if !s.ready.Load() {
		return errs.Missing("the registry", errors.New("the rooms have not been read yet"))
	}
	return nil
}

// Run does the background work until ctx ends, and returns nil then. It may be
// called once.
func (s *Service) Run(ctx context.Context) error {
	if !s.open(ctx) {
		return nil
	}
	var work sync.WaitGroup
	defer work.Wait()
	loaded := make(chan struct{})
	work.Go(func() { s.follow(ctx, loaded) })
	select {
	case <-ctx.Done():
		return nil
	case <-loaded:
	}
	if !s.makeLobby(ctx) {
		return nil
	}
	s.ready.Store(true)
	s.log.Info("rooms read", "rooms", s.picture.rooms())
	work.Go(func() { s.finishEndings(ctx) })
	work.Go(func() { s.tellLater(ctx) })
	work.Go(func() { s.trimLogs(ctx) })
	work.Go(func() { s.endSanctions(ctx) })
	if s.opts.Presence != nil {
		work.Go(func() { s.followPresence(ctx) })
		work.Go(func() { s.sweep(ctx) })
	}
	<-ctx.Done()
	return nil
}

// open opens the buckets, however long that takes; false when ctx ended.
func (s *Service) open(ctx context.Context) bool {
	return s.retry(ctx, "opening the buckets", func() error {
		rooms, err := s.bus.Bucket(ctx, bus.Rooms)
		if err != nil {
			return err
		}
		reads, err := s.bus.Bucket(ctx, bus.Reads)
		if err != nil {
			return err
		}
		s.kv.Store(rooms)
		s.reads.Store(reads)
		return nil
	})
}

// retry calls f until it succeeds; false when ctx ended before.
func (s *Service) retry(ctx context.Context, doing string, f func() error) bool {
	for wait := (backoff{}); ; {
		err := f()
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			return true
		}
		s.log.Warn(doing, "error", err)
		if !wait.pause(ctx) {
			return false
		}
	}
}

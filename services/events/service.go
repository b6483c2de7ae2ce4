// Package events makes the events of proto/events/v1 of what is stored anyway,
// and serves them.
//
// It reads the log's shards, the revisions of the bucket of rooms, and
// presence's picture, and stores what it makes of them in one stream. Nobody
// else writes to that stream, and every event is stored on the condition that
// nothing came in between; so what is in the stream is, by itself, how far each
// source has been told, and no failure between two steps loses an event or
// tells one twice.
//
// Any number of replicas run; the one that has the lease makes events, all serve
// them. A replica that does not know yet that it has lost the lease can do no
// harm: its next event finds another in its place.
//
// It must not know who may see what: it is for back ends, which may see all.
//
// The files: lease.go (who makes events), state.go (how far they are made),
// maker.go (storing them), log.go, rooms.go and presence.go (the sources),
// erase.go, subscribe.go (gRPC).
package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/run"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
)

// Options says what the service works with.
type Options struct {
	// Bus is the connection to NATS; needed.
	Bus *bus.Bus
	// Presence tells who is online; nil makes no events of that.
	Presence presencev1.PresenceClient
	// Keep is how much of the events is kept.
	Keep bus.EventsConfig
	// SaveEvery is how often it is written down how far events are made, which
	// bounds what a start has to read back; default 10 s.
	SaveEvery time.Duration
	// LeaseTimeout is after what silence of the replica that makes events
	// another one takes over; default 4 s.
	LeaseTimeout time.Duration
	// MaxSubscribers bounds the Subscribe streams at the same time, each of
	// which is a consumer at NATS; default 100. More are refused as unavailable.
	MaxSubscribers int
	// Logger gets what goes wrong; nil discards.
	Logger *slog.Logger
	// Meter records parley.events.*; nil records nothing.
	Meter metric.Meter
}

func (o *Options) complete() error {
	if o.Bus == nil {
		return errors.New("bus: is missing")
	}
	if err := o.Keep.Complete(); err != nil {
		return err
	}
	if o.SaveEvery < 0 || o.LeaseTimeout < 0 || o.MaxSubscribers < 0 {
		return errors.New("save-every, lease-timeout and max-subscribers may not be negative")
	}
	if o.SaveEvery == 0 {
		o.SaveEvery = 10 * time.Second
	}
	if o.LeaseTimeout == 0 {
		o.LeaseTimeout = 4 * time.Second
	}
	if o.MaxSubscribers == 0 {
		o.MaxSubscribers = 100
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	return nil
}

// Service is one replica of the events service.
type Service struct {
	eventsv1.UnimplementedEventsServer

	opts    Options
	log     *slog.Logger
	bus     *bus.Bus
	id      string
	metrics counters

	lookEvery time.Duration

	ready       atomic.Bool
	making      atomic.Bool
	lag         atomic.Int64
	subscribers atomic.Int64
	ended       chan struct{} // closed when Run ends
}

// New makes a replica; its errors are those of the options.
func New(opts Options) (*Service, error) {
	if err := opts.complete(); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	s := &Service{opts: opts, log: opts.Logger, bus: opts.Bus, id: ids.New("e_"), ended: make(chan struct{}), lookEvery: lookEvery}
	if err := s.observe(opts.Meter); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return s, nil
}

// Register registers the gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) { eventsv1.RegisterEventsServer(r, s) }

// Ready is nil once the streams are there, while NATS is in reach.
func (s *Service) Ready(ctx context.Context) error {
	if err := s.available(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return s.bus.Check(ctx)
}

func (s *Service) available() error {
	if !s.ready.Load() {
		return errs.Missing("the stream of events", errors.New("it is not made yet, or this process is stopping"))
	}
	return nil
}

// Run makes the streams, and events while this replica has the lease, until ctx
// ends; then it returns nil. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	defer close(s.ended)
	defer s.ready.Store(false)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		began := time.Now()
		err := s.turn(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		switch {
		case errors.Is(err, bus.ErrConflict):
			s.log.Info("events were made elsewhere; looking anew", "pause", pause)
		case errors.Is(err, errNoLog):
			s.log.Info("waiting for the log", "pause", pause, "error", err)
		default:
			s.log.Warn("making events was interrupted", "pause", pause, "error", err)
		}
		if !run.Sleep(ctx, pause) {
			return nil
		}
	}
}

const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// errNoLog: history, which makes the log's streams, has not run yet.
var errNoLog = errors.New("there is no log")

// turn waits for the lease and then makes events until something fails.
func (s *Service) turn(ctx context.Context) error {
	starting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.bus.EnsureEvents(starting, s.opts.Keep); err != nil {
		return err
	}
	kv, err := s.bus.Bucket(starting, bus.Events)
	if err != nil {
		return err
	}
	s.ready.Store(true)
	if _, err := s.bus.LogLimits(starting, 0); err != nil {
		return fmt.Errorf("%w: %w", errNoLog, err)
	}
	lease := &lease{kv: kv, id: s.id, timeout: s.opts.LeaseTimeout}
	if err := lease.take(ctx); err != nil {
		return err
	}
	defer lease.release()
	s.log.Info("this replica makes the events")
	s.making.Store(true)
	defer s.making.Store(false)
	return s.make(ctx, kv, lease)
}

// Package history is the history service: it owns the log of all rooms. It
// makes the streams that keep it and brings them to the retention that is
// configured, reads pages and replays out of it, publishes for back ends that
// hold no connection to NATS, edits and deletes messages, and erases rooms
// that are gone.
//
// It must not know who may read or say what: its callers are trusted, and
// have asked the registry. What the log itself tells, who a message is from,
// it knows: a user may amend its own. It keeps nothing itself; any number of replicas may
// run, and gateways, which read and publish by package bus, go on without it.
package history

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
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

const (
	defaultMaxText    = 16 << 10 // PROTOCOL.md, section 2
	defaultMaxFollows = 1000

	// ensureTimeout bounds one attempt at making the streams.
	ensureTimeout = 10 * time.Second
	maxPause      = 5 * time.Second
	// readyTimeout bounds the question whether NATS is in reach.
	readyTimeout = time.Second
)

// Options says what the service works with.
type Options struct {
	// Bus is the connection to NATS; needed.
	Bus *bus.Bus
	// Log is how much the log keeps of each room.
	Log bus.LogConfig
	// MaxContent and MaxData bound a published message's content and data, in
	// bytes; default 16 KiB each.
	MaxContent, MaxData int
	// MaxFollows bounds the replays that follow at the same time; each may
	// hold 256 KiB in memory. Default 1000; more are refused as unavailable.
	MaxFollows int
	// Logger gets what goes wrong; nil discards.
	Logger *slog.Logger
	// Meter records parley.history.*; nil records nothing.
	Meter metric.Meter
}

func (o *Options) complete() error {
	if o.Bus == nil {
		return errors.New("bus: is missing")
	}
	if err := o.Log.Complete(); err != nil {
		return err
	}
	if o.MaxContent < 0 || o.MaxData < 0 || o.MaxFollows < 0 {
		return errors.New("max-content, max-data and max-follows may not be negative")
	}
	if o.MaxContent == 0 {
		o.MaxContent = defaultMaxText
	}
	if o.MaxData == 0 {
		o.MaxData = defaultMaxText
	}
	if o.MaxFollows == 0 {
		o.MaxFollows = defaultMaxFollows
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	return nil
}

// Service is the history service. It is run once.
type Service struct {
	historyv1.UnimplementedHistoryServer

	opts    Options
	bus     *bus.Bus
	log     *slog.Logger
	metrics metrics

	ready       atomic.Bool
	reconnected chan struct{} // holds one signal
	ended       chan struct{} // closed when Run ends

	mu      sync.Mutex
	feed    *bus.Feed        // nil while not running
	rooms   map[string]*room // that are followed
	follows int
}

// New makes the service; its errors are those of the options.
func New(opts Options) (*Service, error) {
	if err := opts.complete(); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	s := &Service{
		opts:        opts,
		bus:         opts.Bus,
		log:         opts.Logger,
		reconnected: make(chan struct{}, 1),
		ended:       make(chan struct{}),
		rooms:       make(map[string]*room),
	}
	var err error
	if s.metrics, err = newMetrics(opts.Meter); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	s.bus.OnReconnect(func() {
		select {
		case s.reconnected <- struct{}{}:
		default:
		}
	})
	return s, nil
}

// Register registers the gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) { historyv1.RegisterHistoryServer(r, s) }

// Ready returns nil once the log is there and while NATS is in reach.
func (s *Service) Ready(ctx context.Context) error {
	if !s.ready.Load() {
		return errors.New("the log's streams are not made yet")
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return s.bus.Check(ctx)
}

// Run makes the log's streams and serves follows until ctx ends, which is no
// error. While NATS is out of reach it tries again. When it is found again the
// streams are looked after anew, for it may have come back without them.
func (s *Service) Run(ctx context.Context) error {
	feed := s.bus.NewFeed(2, s.deliver)
	s.mu.Lock()
	s.feed = feed
	s.mu.Unlock()
	defer func() {
		s.ready.Store(false)
		s.mu.Lock()
		s.feed = nil
		s.mu.Unlock()
		close(s.ended) // follows end
		feed.Close()
	}()
	for {
		if !s.ensure(ctx) {
			return nil
		}
		if !s.ready.Swap(true) {
			s.log.Info("the log is there", "retention", s.opts.Log.Retention, "max_age", s.opts.Log.MaxAge, "window", s.opts.Log.Window)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.reconnected:
			s.lost()
		}
	}
}

// ensure makes the streams, however long it takes; false is that ctx ended.
func (s *Service) ensure(ctx context.Context) bool {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, maxPause) {
		attempt, cancel := context.WithTimeout(ctx, ensureTimeout)
		err := s.bus.EnsureLog(attempt, s.opts.Log)
		cancel()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		s.log.Warn("making the log, trying again", "pause", pause, "error", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		case <-s.reconnected:
			s.lost()
		}
	}
}

// available is what every call asks first.
func (s *Service) available() error {
	if !s.ready.Load() {
		return errs.Missing("the log", errors.New("its streams are not made yet, or this process is stopping"))
	}
	return nil
}

type metrics struct {
	published metric.Int64Counter
	amended   metric.Int64Counter
	replayed  metric.Int64Counter
	follows   metric.Int64UpDownCounter
	catchUps  metric.Int64Counter
}

func newMetrics(meter metric.Meter) (m metrics, err error) {
	var all [5]error
	m.published, all[0] = meter.Int64Counter("parley.history.published",
		metric.WithUnit("{message}"), metric.WithDescription("Messages stored for other back ends."))
	m.replayed, all[1] = meter.Int64Counter("parley.history.replayed",
		metric.WithUnit("{message}"), metric.WithDescription("Messages sent by replays."))
	m.follows, all[2] = meter.Int64UpDownCounter("parley.history.follows",
		metric.WithUnit("{replay}"), metric.WithDescription("Replays that follow now."))
	m.catchUps, all[3] = meter.Int64Counter("parley.history.catch_ups",
		metric.WithUnit("{read}"), metric.WithDescription("Times that a follow read from the log what it had not got live."))
	m.amended, all[4] = meter.Int64Counter("parley.history.amended",
		metric.WithUnit("{message}"), metric.WithDescription("Edits and deletions stored."))
	return m, errors.Join(all[:]...)
}

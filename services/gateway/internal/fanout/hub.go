package fanout

import (
	"cmp"
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/rights"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
)

// Source is the log as rooms read it; *bus.Bus is one.
type Source interface {
	Tail(ctx context.Context, room string) (uint64, error)
	// Tails may be answered by a replica that lags: a tail may be older than
	// what is known, and says nothing then.
	Tails(ctx context.Context, rooms []string) (map[string]uint64, error)
	// First is the leader's word, as Tail is.
	First(ctx context.Context, room string) (uint64, error)
	ReadAfter(ctx context.Context, room string, after uint64, limit int, reach uint64) (bus.Page, error)
	ReadNewest(ctx context.Context, room string, before uint64, limit int, reach uint64) (bus.Page, error)
	CountAfter(ctx context.Context, room string, seq uint64) (uint64, error)
	// LogLimits are those of a shard, and its leader's word; Shard tells which has a room.
	LogLimits(ctx context.Context, shard int) (bus.LogConfig, error)
	Shard(room string) int
}

// feed is what the rooms hear by; *bus.Feed is one.
type feed interface {
	Subscribe(room string) (subscription, error)
	Publish(ctx context.Context, room, id string, entry *busv1.LogEntry, done func(worker int, ack bus.Ack, err error))
	Do(ctx context.Context, room string, task func()) error
	On(ctx context.Context, worker int, task func()) error
	Worker(room string) int
	Close()
}

type subscription interface{ Stop() }

type busFeed struct{ *bus.Feed }

func (f busFeed) Subscribe(room string) (subscription, error) { return f.Feed.Subscribe(room) }

// Options of a Hub.
type Options struct {
	Bus    *bus.Bus
	Logger *slog.Logger
	Meter  metric.Meter
	// Tracer makes deliveries part of the traces they belong to; nil traces nothing.
	Tracer trace.Tracer
	// Workers share the rooms among them; default twice the processors.
	Workers int
	// RecentBytes bounds the newest messages of all rooms that are held in
	// memory; default 64 MiB, and at least 128 KiB for each worker.
	RecentBytes int
	// CompareEvery is how often all rooms are compared with the log, for what
	// was lost without a trace; default 10 s.
	CompareEvery time.Duration
	// Trim takes all but the newest entries of a room's log away, for rooms that
	// keep less than the deployment does; nil leaves the logs as they are.
	Trim func(ctx context.Context, room string, keep uint32) error
}

func (o *Options) complete() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	if o.Workers == 0 {
		o.Workers = 2 * runtime.GOMAXPROCS(0)
	}
	if o.RecentBytes == 0 {
		o.RecentBytes = 64 << 20
	}
	if o.CompareEvery == 0 {
		o.CompareEvery = 10 * time.Second
	}
}

// Hub is all rooms of one gateway.
type Hub struct {
	log     *slog.Logger
	source  Source
	feed    feed
	workers []*worker // each touched by its own goroutine alone

	// passOver notes what is not ours.
	passOver func(where string, err error)

	limits  limits
	trimLog func(ctx context.Context, room string, keep uint32) error

	compareEvery time.Duration
	reconnected  chan struct{}

	// reads bounds how many goroutines read the log at once.
	reads  chan struct{}
	ctx    context.Context // ends with the hub
	cancel context.CancelFunc
	wg     sync.WaitGroup

	latency metric.Float64Histogram
	tracer  trace.Tracer // nil where nothing is traced

	rooms, holes, gaps, filled, repeats, deliveries, remembered, heldBytes atomic.Int64
}

// New makes a Hub; Close ends it.
func New(o Options) (*Hub, error) {
	h, err := newHub(o, o.Bus, func(workers int, handle func(int, []bus.Delivery)) feed {
		return busFeed{o.Bus.NewFeed(workers, handle)}
	})
	if err != nil {
		return nil, err
	}
	h.passOver = o.Bus.PassOver
	// What was said while the connection was cut is in the log and nowhere
	// else.
	o.Bus.OnReconnect(h.compareSoon)
	return h, nil
}

func newHub(o Options, source Source, open func(workers int, handle func(int, []bus.Delivery)) feed) (*Hub, error) {
	o.complete()
	h := &Hub{
		log:          o.Logger,
		trimLog:      o.Trim,
		source:       source,
		passOver:     func(string, error) {},
		tracer:       o.Tracer,
		reads:        make(chan struct{}, maxReads),
		workers:      make([]*worker, o.Workers),
		compareEvery: o.CompareEvery,
		reconnected:  make(chan struct{}, 1),
	}
	for i, memory := range newMemories(o.Workers, o.RecentBytes, &h.remembered) {
		h.workers[i] = &worker{rooms: make(map[string]*room), memory: memory}
	}
	h.limits.source, h.limits.shards = source, make(map[int]*shardLimits)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := h.observe(o.Meter); err != nil {
		h.cancel()
		return nil, err
	}
	h.feed = open(o.Workers, h.handle)
	h.wg.Go(h.compareForEver)
	h.wg.Go(func() { h.limits.watch(h.ctx) })
	return h, nil
}

// Close ends all rooms and waits for what the hub has started. Joins that are
// not settled fail.
func (h *Hub) Close() {
	h.cancel()
	h.feed.Close() // no worker begins anything more
	h.wg.Wait()
	for _, w := range h.workers {
		for _, r := range w.rooms {
			r.sub.Stop()
		}
	}
}

// handle is a worker's turn with what has come for its rooms.
func (h *Hub) handle(worker int, batch []bus.Delivery) {
	w := h.workers[worker]
	defer w.flush()
	for i := range batch {
		d := &batch[i]
		if d.Do != nil {
			d.Do()
			continue
		}
		r := w.rooms[d.Room]
		switch {
		case r == nil: // the last member has just left
		case d.Stored != nil:
			r.stored(*d.Stored)
		case d.Live != nil:
			r.live(d.Live)
		case d.Lost:
			r.compare()
		}
	}
}

// room gives a room, and opens it when this gateway has nobody in it yet, with
// a record of it or nil. Only its worker calls this.
func (h *Hub) room(id string, record *registryv1.Room) (*room, error) {
	w := h.workers[h.feed.Worker(id)]
	if r := w.rooms[id]; r != nil {
		return r, nil
	}
	r := &room{hub: h, worker: w, id: id, rules: rights.RulesOf(&registryv1.Room{Id: id})}
	if record != nil {
		r.rules, r.revision = rights.RulesOf(record), record.Revision
	}
	var err error
	// Subscribe first, read second: what is stored in between comes live.
	if r.sub, err = h.feed.Subscribe(id); err != nil {
		return nil, errs.Missing("the log", err)
	}
	w.rooms[id] = r
	h.rooms.Add(1)
	r.load()
	return r, nil
}

func (h *Hub) forget(r *room) {
	delete(r.worker.rooms, r.id)
	h.rooms.Add(-1)
}

// Pin opens a room that stays open though nobody is in it.
func (h *Hub) Pin(ctx context.Context, id string) error {
	return h.feed.Do(ctx, id, func() {
		if r, err := h.room(id, nil); err == nil {
			r.pinned = true
		} else {
			h.log.Error("opening a room", "room", id, "error", err)
		}
	})
}

// Join makes a session a member of a room. What the joiner is told of the past
// has been delivered to it when Join returns. Errors: unavailable, not-found
// for a room that was deleted meanwhile, and those of ctx.
func (h *Hub) Join(ctx context.Context, request Request) (Place, error) {
	j := &join{Request: request, done: make(chan joinResult, 1)}
	j.lost = request.ClientEpoch != nil && *request.ClientEpoch != request.Epoch
	err := h.feed.Do(ctx, request.Room, func() {
		r, err := h.room(request.Room, request.Record)
		if err != nil {
			j.finish(Place{}, err)
			return
		}
		r.enter(j)
	})
	if err != nil {
		return Place{}, errs.Missing("the room", err)
	}
	select {
	case result := <-j.done:
		return result.place, result.err
	case <-ctx.Done():
	case <-h.ctx.Done():
	}
	if !j.abandon() {
		result := <-j.done
		return result.place, result.err
	}
	// The room may have been opened for this one alone.
	_ = h.feed.Do(h.ctx, request.Room, func() { // fails only when the hub ends
		if r := h.workers[h.feed.Worker(request.Room)].rooms[request.Room]; r != nil {
			r.drop(j)
		}
	})
	return Place{}, errs.Missing("the log", cmp.Or(ctx.Err(), h.ctx.Err()))
}

// Publish stores an entry in the log of a room that has members here. done is
// told where it is, or why it is not there, once: by the room's worker, whose
// Flusher takes what is to be said about it, or with none by somebody else. It
// must not wait for anything. ctx tells the trace, and nothing else.
func (h *Hub) Publish(ctx context.Context, room, id string, entry *busv1.LogEntry, done func(f *conn.Flusher, ack bus.Ack, err error)) {
	h.feed.Publish(ctx, room, id, entry, func(worker int, ack bus.Ack, err error) {
		if worker < 0 {
			done(nil, ack, err)
			return
		}
		w := h.workers[worker]
		if r := w.rooms[room]; r != nil && err == nil && !ack.Duplicate {
			r.published()
		}
		done(&w.flusher, ack, err)
	})
}

// Leave ends a membership, also when ctx has ended. Nothing is delivered
// through it once Leave returns, unless ctx has ended before.
func (h *Hub) Leave(ctx context.Context, m *Membership) {
	done := make(chan struct{})
	err := h.feed.Do(h.ctx, m.room, func() {
		defer close(done)
		if r := h.workers[h.feed.Worker(m.room)].rooms[m.room]; r != nil {
			r.leave(m)
		}
	})
	if err != nil {
		return // the hub is ending
	}
	select {
	case <-done:
	case <-ctx.Done():
	case <-h.ctx.Done():
	}
}

func (h *Hub) delivered(members int, sentMs int64) {
	h.deliveries.Add(int64(members))
	h.latency.Record(context.Background(), float64(max(time.Now().UnixMilli()-sentMs, 0))/1000)
}

// Rooms is how many rooms are open.
func (h *Hub) Rooms() int64 { return h.rooms.Load() }

// Deliveries is how many stored messages were handed to members so far.
func (h *Hub) Deliveries() int64 { return h.deliveries.Load() }

func roomDeleted(room string) *Outgoing {
	return NewOutgoing(&wirev1.ServerFrame{
		Event: &wirev1.ServerFrame_RoomDeleted{RoomDeleted: &wirev1.RoomDeleted{RoomId: room}},
	})
}

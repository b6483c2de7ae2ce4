package fanout

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// Source is the log as rooms read it; *bus.Bus is one.
type Source interface {
	Tail(ctx context.Context, room string) (uint64, error)
	First(ctx context.Context, room string) (uint64, error)
	ReadAfter(ctx context.Context, room string, after uint64, limit int, reach uint64) (bus.Page, error)
	ReadNewest(ctx context.Context, room string, before uint64, limit int, reach uint64) (bus.Page, error)
}

// Options of a Hub.
type Options struct {
	Bus    *bus.Bus
	Logger *slog.Logger
	Meter  metric.Meter
	// Workers share the rooms among them; default twice the processors.
	Workers int
}

// Hub is all rooms of one gateway.
type Hub struct {
	log    *slog.Logger
	bus    *bus.Bus
	source Source
	feed   *bus.Feed
	shards []map[string]*room // by worker, each touched by its worker alone

	limit atomic.Pointer[bus.LogConfig]

	// reads bounds how many goroutines read the log at once.
	reads  chan struct{}
	ctx    context.Context // ends with the hub
	cancel context.CancelFunc
	wg     sync.WaitGroup

	latency metric.Float64Histogram

	rooms, holes, filled, repeats, deliveries atomic.Int64
}

// maxReads bounds the readings of the log that go on at once.
const maxReads = 64

// New makes a Hub; Close ends it.
func New(o Options) (*Hub, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	if o.Workers == 0 {
		o.Workers = 2 * runtime.GOMAXPROCS(0)
	}
	h := &Hub{
		log:    o.Logger,
		bus:    o.Bus,
		source: o.Bus,
		reads:  make(chan struct{}, maxReads),
		shards: make([]map[string]*room, o.Workers),
	}
	for i := range h.shards {
		h.shards[i] = make(map[string]*room)
	}
	h.limit.Store(&bus.LogConfig{Retention: 1000})
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := h.observe(o.Meter); err != nil {
		h.cancel()
		return nil, err
	}
	h.feed = o.Bus.NewFeed(o.Workers, h.handle)
	// What was said while the connection was cut is in the log and nowhere
	// else.
	o.Bus.OnReconnect(func() {
		if h.ctx.Err() == nil {
			h.wg.Go(h.compareAll)
		}
	})
	h.wg.Go(h.watchLimits)
	return h, nil
}

// Close ends all rooms and waits for what the hub has started.
func (h *Hub) Close() {
	h.cancel()
	h.wg.Wait()
	h.feed.Close()
}

func (h *Hub) limits() bus.LogConfig { return *h.limit.Load() }

// keep is how many entries a room may hold in memory.
func (h *Hub) keep() int { return int(min(h.limits().Retention, recentEntries)) }

// watchLimits keeps up with what the log's streams are set to.
func (h *Hub) watchLimits() {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 30*time.Second) {
		if limits, err := h.bus.LogLimits(h.ctx); err == nil {
			h.limit.Store(&limits)
			pause = 30 * time.Second
		}
		select {
		case <-h.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// handle is a worker's turn with what has come for its rooms.
func (h *Hub) handle(worker int, batch []bus.Delivery) {
	rooms := h.shards[worker]
	for i := range batch {
		d := &batch[i]
		if d.Do != nil {
			d.Do()
			continue
		}
		r := rooms[d.Room]
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

// room gives a room, and opens it when this gateway has nobody in it yet. Only
// its worker calls this.
func (h *Hub) room(id string) (*room, error) {
	rooms := h.shards[h.feed.Worker(id)]
	if r := rooms[id]; r != nil {
		return r, nil
	}
	r := &room{hub: h, id: id}
	var err error
	// Subscribe first, read second: what is stored in between comes live.
	if r.sub, err = h.feed.Subscribe(id); err != nil {
		return nil, errs.Missing("the log", err)
	}
	rooms[id] = r
	h.rooms.Add(1)
	r.load()
	return r, nil
}

func (h *Hub) forget(r *room) {
	delete(h.shards[h.feed.Worker(r.id)], r.id)
	h.rooms.Add(-1)
}

// Pin opens a room that stays open though nobody is in it.
func (h *Hub) Pin(ctx context.Context, id string) error {
	return h.feed.Do(ctx, id, func() {
		if r, err := h.room(id); err == nil {
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
	j.stale = request.ClientEpoch != nil && *request.ClientEpoch != request.Epoch
	err := h.feed.Do(ctx, request.Room, func() {
		r, err := h.room(request.Room)
		if err != nil {
			j.finish(Place{}, err)
			return
		}
		r.join(j)
	})
	if err != nil {
		return Place{}, errs.Missing("the room", err)
	}
	select {
	case result := <-j.done:
		return result.place, result.err
	case <-ctx.Done():
		if j.abandon() {
			return Place{}, errs.Missing("the log", ctx.Err())
		}
		result := <-j.done
		return result.place, result.err
	}
}

// Leave ends a membership; nothing is delivered through it once it returns.
func (h *Hub) Leave(ctx context.Context, m *Membership) {
	done := make(chan struct{})
	err := h.feed.Do(ctx, m.room, func() {
		defer close(done)
		if r := h.shards[h.feed.Worker(m.room)][m.room]; r != nil {
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

// read runs f, which reads the log, beside the worker until it succeeds, and
// then what it returns on the worker.
func (h *Hub) read(r *room, f func(context.Context) (func(), error)) {
	h.wg.Go(func() {
		for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
			install, err := h.once(f)
			if err == nil {
				h.install(r, install)
				return
			}
			if h.ctx.Err() != nil {
				return
			}
			h.log.Warn("reading the log", "room", r.id, "error", err)
			select {
			case <-h.ctx.Done():
				return
			case <-time.After(pause):
			}
			if !h.alive(r) {
				return
			}
		}
	})
}

// readJoin is read for one joiner: it tries once and tells the joiner when
// that fails.
func (h *Hub) readJoin(r *room, j *join, f func(context.Context) (func(), error)) {
	h.wg.Go(func() {
		install, err := h.once(f)
		if err != nil {
			j.finish(Place{}, err)
			return
		}
		h.install(r, install)
	})
}

func (h *Hub) once(f func(context.Context) (func(), error)) (func(), error) {
	select {
	case h.reads <- struct{}{}:
	case <-h.ctx.Done():
		return nil, h.ctx.Err()
	}
	defer func() { <-h.reads }()
	ctx, cancel := context.WithTimeout(h.ctx, 5*time.Second)
	defer cancel()
	return f(ctx)
}

// install runs a task of a room on its worker, unless the room has ended.
func (h *Hub) install(r *room, task func()) {
	_ = h.feed.Do(h.ctx, r.id, func() { // fails only when the hub ends
		if !r.gone {
			task()
		}
	})
}

// alive asks the worker whether a room still goes on.
func (h *Hub) alive(r *room) bool {
	answer := make(chan bool, 1)
	if err := h.feed.Do(h.ctx, r.id, func() { answer <- !r.gone }); err != nil {
		return false
	}
	select {
	case alive := <-answer:
		return alive
	case <-h.ctx.Done():
		return false
	}
}

// compareAll has every room compare itself with the log's tail.
func (h *Hub) compareAll() {
	_ = h.feed.DoAll(h.ctx, func(worker int) { // fails only when the hub ends
		for _, r := range h.shards[worker] {
			r.compare()
		}
	})
}

func (h *Hub) delivered(members int, sentMs int64) {
	h.deliveries.Add(int64(members))
	h.latency.Record(h.ctx, float64(max(time.Now().UnixMilli()-sentMs, 0))/1000)
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

package fanout

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

const (
	// maxReads bounds the readings of the log that go on at once.
	maxReads = 64
	// readTimeout bounds one try.
	readTimeout = 5 * time.Second
)

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
			level := slog.LevelInfo
			if pause >= 400*time.Millisecond { // neither a start nor the election of a leader
				level = slog.LevelWarn
			}
			h.log.Log(h.ctx, level, "reading the log", "room", r.id, "error", err)
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
		next, err := h.once(f)
		h.install(r, func() {
			switch _, there := r.joining[j]; {
			case !there: // it does not wait any more
			case err != nil:
				r.refuse(j, err)
			default:
				next()
			}
		})
	})
}

func (h *Hub) once(f func(context.Context) (func(), error)) (func(), error) {
	select {
	case h.reads <- struct{}{}:
	case <-h.ctx.Done():
		return nil, h.ctx.Err()
	}
	defer func() { <-h.reads }()
	ctx, cancel := context.WithTimeout(h.ctx, readTimeout)
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

// limits is what the log's streams are set to, which may change at any time.
type limits struct {
	source Source
	known  atomic.Pointer[bus.LogConfig] // what was read last, of any shard

	mu     sync.Mutex
	shards map[int]*shardLimits // those that were asked for
}

// shardLimits are those of one shard: what a room needs must not depend on
// whether another shard has a leader.
type shardLimits struct {
	turn   chan struct{} // held by who reads them, and for these:
	config bus.LogConfig
	read   time.Time
}

const (
	// limitsEvery is how often the limits are read for what may be a little
	// behind, and limitsFresh how old they may be where a promise depends on
	// them.
	limitsEvery = 30 * time.Second
	limitsFresh = time.Second
)

func (l *limits) watch(ctx context.Context) {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, limitsEvery) {
		if _, err := l.fresh(ctx, ids.Lobby); err == nil {
			pause = limitsEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (l *limits) of(shard int) *shardLimits {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.shards[shard]
	if s == nil {
		s = &shardLimits{turn: make(chan struct{}, 1)}
		l.shards[shard] = s
	}
	return s
}

// fresh gives a room's limits as they are now. Many callers make one read.
func (l *limits) fresh(ctx context.Context, room string) (bus.LogConfig, error) {
	shard := l.source.Shard(room)
	s := l.of(shard)
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return bus.LogConfig{}, ctx.Err()
	}
	defer func() { <-s.turn }()
	if time.Since(s.read) < limitsFresh {
		return s.config, nil
	}
	c, err := l.source.LogLimits(ctx, shard)
	if err != nil {
		return bus.LogConfig{}, err
	}
	if c.Retention <= 0 { // the stream's way to say that there is no limit
		c.Retention = math.MaxInt64
	}
	s.config, s.read = c, time.Now()
	l.known.Store(&c)
	return c, nil
}

// keep is how many entries a room may hold in memory.
func (l *limits) keep() int {
	if known := l.known.Load(); known != nil {
		return int(min(known.Retention, recentEntries))
	}
	return recentEntries
}

// maxAge is how old an entry may become, 0 for any age.
func (l *limits) maxAge() time.Duration {
	if known := l.known.Load(); known != nil {
		return known.MaxAge
	}
	return 0
}

// readWhole reads with read what a log has after a seq up to its end. whole
// says that this is all that ever followed and was not deleted; the page has no
// hole from first on, the oldest entry that the log still holds, or 0.
//
// A page alone shows neither, because a reading is not of one moment: the log
// may drop entries before the reading comes to them, even between two that it
// gives. But it drops from its front: while an entry up to that seq is still
// there afterwards, nothing can be missing, and if the front has not moved
// meanwhile and the page comes up to where the leader was, the page is what the
// log held. A replica that lags catches up while it is read, so read is told
// how far it has to come.
//
// current is since when the log is known to have had nothing more after that
// seq, where somebody knows.
func (h *Hub) readWhole(ctx context.Context, log kept, after uint64, current time.Time, read func(reach uint64) (bus.Page, error)) (page bus.Page, first uint64, whole bool, err error) {
	limits, err := h.limits.fresh(ctx, log.room)
	limits = log.limit(limits)
	if err == nil {
		page, err = read(0)
	}
	if err != nil || limits.Retention >= 2*recentEntries && (page.More || holdAll(2*size(page), limits, current)) {
		// The front is far away from anything that was read.
		return page, 0, !page.More, err
	}
	before, err := h.source.First(ctx, log.room)
	var tail uint64
	if err == nil {
		tail, err = h.source.Tail(ctx, log.room)
	}
	if err == nil {
		page, err = read(tail)
	}
	if err == nil {
		first, err = h.source.First(ctx, log.room)
	}
	if err != nil {
		return page, 0, false, err
	}
	// An empty log was erased, unless it has never had anything.
	whole = first != 0 && first <= after || first == before && size(page) > 0 && holdAll(size(page), limits, current)
	return page, first, whole && !page.More, nil
}

// size is how many entries a page has, with those that its deletions tell to
// have erased.
func size(page bus.Page) int64 {
	n := int64(len(page.Entries) + page.Others)
	for _, s := range page.Entries {
		if s.Entry.Kind == busv1.LogEntry_KIND_DELETION {
			n += max(1, int64(s.Entry.Erases))
		}
	}
	return n
}

// holdAll says whether a log with so many entries of a room has never dropped
// one: it does so when as many newer ones as the retention are there, or for
// its age.
func holdAll(n int64, limits bus.LogConfig, current time.Time) bool {
	return !expired(limits, current) && n < limits.Retention
}

// from leaves away what a page has before a seq.
func from(page bus.Page, seq uint64) bus.Page {
	for len(page.Entries) > 0 && page.Entries[0].Seq < seq {
		page.Entries = page.Entries[1:]
	}
	return page
}

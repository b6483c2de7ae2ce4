package fanout

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// world is the log and the network as the contracts of package bus allow them
// to be at their worst: what is published comes late, twice, out of order or
// never; reads fail, take long and are answered by replicas that lag. It keeps
// the record that members are held against.
type world struct {
	t         *testing.T
	retention int
	// faults is the share of things that go wrong.
	faults float64

	mu    sync.Mutex
	rng   *rand.Rand
	seq   uint64
	rooms map[string]*logRoom
	subs  map[string]map[*worldSub]struct{}
}

// logRoom is one room's log.
type logRoom struct {
	// held is what the log holds after each thing that happened to it.
	held [][]bus.Stored
	all  []bus.Stored // ever stored
	// erased is what was taken out by somebody, dropped by retention.
	erased, dropped map[uint64]bool
	life            int
}

func newWorld(t *testing.T, seed uint64, retention int, faults float64) *world {
	return &world{
		t: t, retention: retention, faults: faults,
		rng:   rand.New(rand.NewPCG(seed, 1)),
		rooms: make(map[string]*logRoom),
		subs:  make(map[string]map[*worldSub]struct{}),
	}
}

func (w *world) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Float64() < p
}

func (w *world) fault() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Float64() < w.faults
}

func (w *world) upTo(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n + 1)
}

func (w *world) upToTime(d time.Duration) time.Duration {
	return time.Duration(w.upTo(int(d/time.Microsecond))) * time.Microsecond
}

// room gives a room's log; w.mu is held.
func (w *world) room(name string) *logRoom {
	r := w.rooms[name]
	if r == nil {
		r = &logRoom{held: [][]bus.Stored{nil}, erased: map[uint64]bool{}, dropped: map[uint64]bool{}, life: 1}
		w.rooms[name] = r
	}
	return r
}

func (r *logRoom) now() []bus.Stored { return r.held[len(r.held)-1] }

func (r *logRoom) epoch() string { return fmt.Sprintf("x-%d", r.life) }

func tailOf(held []bus.Stored) uint64 {
	if len(held) == 0 {
		return 0
	}
	return held[len(held)-1].Seq
}

// store is a publish; what is not ours has no entry.
func (w *world) store(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.storeKind(name, busv1.LogEntry_KIND_CHAT_MESSAGE, 0)
}

func (w *world) storeKind(name string, kind busv1.LogEntry_Kind, target uint64) {
	r := w.room(name)
	w.seq += 1 + w.rng.Uint64N(3)
	s := bus.Stored{Room: name, Seq: w.seq, Prev: tailOf(r.now())}
	if w.rng.IntN(30) > 0 || target > 0 {
		s.Entry = &busv1.LogEntry{Kind: kind, Target: target, Content: proto.String(fmt.Sprint(w.seq)), TimeMs: time.Now().UnixMilli()}
	}
	held := append(r.now(), s) // what was held before is a shorter slice of the same array
	for len(held) > w.retention {
		r.dropped[held[0].Seq] = true
		held = held[1:]
	}
	r.held = append(r.held, held)
	r.all = append(r.all, s)
	for sub := range w.subs[name] {
		sub.send(bus.Delivery{Room: name, Stored: &s})
	}
}

// eraseSome deletes one message, which is an entry of its own.
func (w *world) eraseSome(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.room(name)
	if len(r.now()) < 2 {
		return
	}
	target := r.now()[w.rng.IntN(len(r.now()))]
	if target.Entry.GetKind() == busv1.LogEntry_KIND_DELETION {
		return
	}
	w.storeKind(name, busv1.LogEntry_KIND_DELETION, target.Seq)
	r.erased[target.Seq] = true
	i := slices.IndexFunc(r.now(), func(s bus.Stored) bool { return s.Seq == target.Seq })
	if i < 0 {
		return
	}
	r.held = append(r.held, slices.Delete(slices.Clone(r.now()), i, i+1))
}

// delete ends a room's life.
func (w *world) delete(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.room(name)
	gone := &busv1.LiveEvent{Event: &busv1.LiveEvent_Gone{Gone: &busv1.RoomGone{Epoch: r.epoch()}}}
	for _, s := range r.all {
		r.erased[s.Seq] = true
	}
	r.held = append(r.held, nil)
	r.life++
	for sub := range w.subs[name] {
		sub.send(bus.Delivery{Room: name, Live: gone})
	}
}

// worldFeed is a feed whose wire is the world's.
type worldFeed struct {
	w       *world
	workers []chan bus.Delivery
	stop    chan struct{}
	wg      sync.WaitGroup
	handle  func(int, []bus.Delivery)
}

func (w *world) open(workers int, handle func(int, []bus.Delivery)) feed {
	f := &worldFeed{w: w, stop: make(chan struct{}), handle: handle}
	for i := range workers {
		queue := make(chan bus.Delivery, 1<<14)
		f.workers = append(f.workers, queue)
		f.wg.Go(func() {
			for {
				select {
				case <-f.stop:
					return
				case d := <-queue:
					f.handle(i, []bus.Delivery{d})
				}
			}
		})
	}
	return f
}

func (f *worldFeed) Worker(room string) int {
	h := fnv.New32a()
	h.Write([]byte(room))
	return int(h.Sum32() % uint32(len(f.workers)))
}

func (f *worldFeed) On(ctx context.Context, worker int, task func()) error {
	select {
	case f.workers[worker] <- bus.Delivery{Do: task}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-f.stop:
		return context.Canceled
	}
}

func (f *worldFeed) Do(ctx context.Context, room string, task func()) error {
	return f.On(ctx, f.Worker(room), task)
}

// Publish is not what these tests are about: the world stores by itself.
func (f *worldFeed) Publish(context.Context, string, string, *busv1.LogEntry, func(int, bus.Ack, error)) {
	panic("nobody publishes here")
}

func (f *worldFeed) Close() { close(f.stop); f.wg.Wait() }

type worldSub struct {
	f    *worldFeed
	room string
	wire chan bus.Delivery
	done chan struct{}
}

func (f *worldFeed) Subscribe(room string) (subscription, error) {
	s := &worldSub{f: f, room: room, wire: make(chan bus.Delivery, 1<<14), done: make(chan struct{})}
	f.w.mu.Lock()
	if f.w.subs[room] == nil {
		f.w.subs[room] = map[*worldSub]struct{}{}
	}
	f.w.subs[room][s] = struct{}{}
	f.w.mu.Unlock()
	go func() {
		for {
			select {
			case <-s.done:
				return
			case d := <-s.wire:
				if f.w.fault() {
					time.Sleep(f.w.upToTime(300 * time.Millisecond))
				}
				s.arrive(d)
			}
		}
	}()
	return s, nil
}

func (s *worldSub) Stop() {
	s.f.w.mu.Lock()
	delete(s.f.w.subs[s.room], s)
	s.f.w.mu.Unlock()
	close(s.done)
}

// send puts something on the wire; w.mu is held.
func (s *worldSub) send(d bus.Delivery) {
	w := s.f.w
	late := func(d bus.Delivery) {
		time.AfterFunc(time.Duration(w.rng.IntN(800))*time.Millisecond, func() { s.arrive(d) })
	}
	switch p := w.rng.Float64(); {
	case p < w.faults/3: // dropped, and nobody told
	case p < 2*w.faults/3: // dropped, and told
		late(bus.Delivery{Room: s.room, Lost: true})
	case p < w.faults: // out of order
		late(d)
	default:
		s.wire <- d
		if w.rng.Float64() < w.faults && d.Stored != nil { // and again
			late(d)
		}
	}
}

func (s *worldSub) arrive(d bus.Delivery) {
	select {
	case s.f.workers[s.f.Worker(s.room)] <- d:
	case <-s.f.stop:
	}
}

var errWorld = errors.New("out of reach")

// reading takes time and may fail.
func (w *world) reading(ctx context.Context) error {
	wait := w.upToTime(5 * time.Millisecond)
	if w.fault() {
		wait = w.upToTime(2 * time.Second)
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return ctx.Err()
	}
	if w.fault() {
		return errWorld
	}
	return nil
}

// replica gives what some replica holds: one that has come to reach, or to
// where the leader says that there is no more.
func (w *world) replica(name string, reach uint64) []bus.Stored {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.room(name)
	at := len(r.held) - 1
	if w.rng.Float64() < 2*w.faults {
		at = max(0, at-w.rng.IntN(20))
	}
	came := func(at int) bool {
		for _, held := range r.held[:at+1] { // what it has ever got
			if tailOf(held) >= reach {
				return true
			}
		}
		return false
	}
	for at < len(r.held)-1 && !came(at) {
		at++
	}
	return r.held[at]
}

func (w *world) Tail(ctx context.Context, name string) (uint64, error) {
	if err := w.reading(ctx); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return tailOf(w.room(name).now()), nil
}

func (w *world) Tails(ctx context.Context, names []string) (map[string]uint64, error) {
	if err := w.reading(ctx); err != nil {
		return nil, err
	}
	tails := map[string]uint64{}
	for _, name := range names {
		if tail := tailOf(w.replica(name, 0)); tail > 0 {
			tails[name] = tail
		}
	}
	return tails, nil
}

func (w *world) First(ctx context.Context, name string) (uint64, error) {
	if err := w.reading(ctx); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if held := w.room(name).now(); len(held) > 0 {
		return held[0].Seq, nil
	}
	return 0, nil
}

// torn is what a reading gives that began with a replica's state: it is not
// one moment's, for the log may drop entries before the reading comes to them.
func (w *world) torn(name string, began []bus.Stored, reach uint64) []bus.Stored {
	w.mu.Lock()
	n := len(began)
	if n > 0 {
		n = w.rng.IntN(n)
	}
	w.mu.Unlock()
	time.Sleep(w.upToTime(20 * time.Millisecond))
	read := slices.Clone(began[:n])
	rest := make(map[uint64]bool)
	for _, s := range began[n:] {
		rest[s.Seq] = true
	}
	for _, s := range w.replica(name, max(reach, tailOf(began))) {
		if rest[s.Seq] {
			read = append(read, s)
		}
	}
	return read
}

func (w *world) ReadAfter(ctx context.Context, name string, after uint64, limit int, reach uint64) (bus.Page, error) {
	if err := w.reading(ctx); err != nil {
		return bus.Page{}, err
	}
	var page bus.Page
	began := w.replica(name, reach)
	i := 0
	for i < len(began) && began[i].Seq <= after {
		i++
	}
	for _, s := range w.torn(name, began[i:], reach) {
		switch {
		case s.Seq <= after:
		case s.Entry == nil:
			page.Others++
		case len(page.Entries) == limit:
			page.More = true
		default:
			s.Prev = 0
			page.Entries = append(page.Entries, s)
		}
	}
	return page, nil
}

func (w *world) ReadNewest(ctx context.Context, name string, before uint64, limit int, reach uint64) (bus.Page, error) {
	if err := w.reading(ctx); err != nil {
		return bus.Page{}, err
	}
	var page bus.Page
	for _, s := range w.replica(name, reach) {
		if s.Entry != nil && (before == 0 || s.Seq < before) {
			s.Prev = 0
			page.Entries = append(page.Entries, s)
		} else {
			page.Others++
		}
	}
	if n := len(page.Entries) - limit; n > 0 {
		page.Entries, page.More = page.Entries[n:], true
	}
	return page, nil
}

func (w *world) Shard(string) int { return 0 }

func (w *world) LogLimits(ctx context.Context, _ int) (bus.LogConfig, error) {
	return bus.LogConfig{Retention: int64(w.retention)}, w.reading(ctx)
}

func (w *world) CountAfter(ctx context.Context, name string, seq uint64) (uint64, error) {
	if err := w.reading(ctx); err != nil {
		return 0, err
	}
	n := uint64(0)
	for _, s := range w.replica(name, 0) {
		if s.Seq > seq {
			n++
		}
	}
	return n, nil
}

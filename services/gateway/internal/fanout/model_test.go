package fanout

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
)

// visit is one membership, as the member sees it.
type visit struct {
	w       *world
	request Request
	tail    uint64 // of the log when it was asked for

	mu     sync.Mutex
	frames []*wirev1.ServerFrame
	gone   bool
	missed bool // it was told of a gap
}

func (v *visit) Deliver(burst *Burst, _ *conn.Flusher) {
	for _, out := range burst.Frames {
		v.take(out)
	}
}

func (v *visit) take(out *Outgoing) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.missed {
		v.w.t.Errorf("%s: got %v behind a gap", v.request.Room, out.Frame)
	}
	v.frames = append(v.frames, out.Frame)
}

func (v *visit) Missed(string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.missed = true
}

func (v *visit) hasMissed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.missed
}

func (v *visit) PutOut(_ string, word *Burst, _ *conn.Flusher) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.gone = true
	v.frames = append(v.frames, word.Frames[0].Frame)
}

func (v *visit) SessionID() string { return "s" }
func (v *visit) UserID() string    { return "u" }
func (v *visit) Roles() []string   { return nil }

func (v *visit) InAny([]string) bool { return false }

func (v *visit) isGone() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.gone
}

// ended holds what the member got against the world's record. upTo says that
// everything stored up to a seq must have come. It gives the last seq seen.
func (v *visit) ended(place Place, upTo uint64) uint64 {
	t := v.w.t
	v.mu.Lock()
	frames, gone := v.frames, v.gone
	v.mu.Unlock()
	fail := func(format string, args ...any) {
		t.Helper()
		after := "-"
		if v.request.After != nil {
			after = fmt.Sprint(*v.request.After)
		}
		t.Errorf("%s, after %s, history %d, placed at %d, recovered %t: %s", v.request.Room, after, v.request.History,
			place.Seq, place.Recovered, fmt.Sprintf(format, args...))
	}
	if v.request.Silent {
		if len(frames) > 0 && (frames[0].GetRoomJoined() != nil || frames[0].GetMessageHistory() != nil) {
			fail("a silent joiner was told something")
		}
	} else {
		if len(frames) < 2 || frames[0].GetRoomJoined() == nil || frames[1].GetMessageHistory() == nil {
			fail("it begins with %v", frames)
			return 0
		}
		joined := frames[0].GetRoomJoined()
		if joined.Seq != int64(place.Seq) || joined.Recovered != place.Recovered || (joined.OldestSeq != nil) != (v.request.After != nil && !place.Recovered) {
			fail("joined %v", joined)
		}
		frames = frames[1:]
	}
	// One list, strictly forward.
	var past, live []uint64
	open := !v.request.Silent
	seen := place.Seq
	for i, f := range frames {
		switch {
		case f.GetMessageHistory() != nil:
			h := f.GetMessageHistory()
			if !open {
				fail("history after its end")
			}
			open = h.HasMore && place.Recovered
			for _, m := range h.Messages {
				past = append(past, seqOf(m))
			}
		case seqOf(f) > 0:
			if open {
				fail("live before the end of history")
			}
			if prev := f.GetChatMessage().GetPrev() + f.GetMessageDeleted().GetPrev(); uint64(prev) > seen {
				fail("%d has prev %d, seen is %d", seqOf(f), prev, seen)
			}
			seen = seqOf(f)
			live = append(live, seen)
		case f.GetRoomDeleted() != nil:
			if i != len(frames)-1 {
				fail("told more after the end of the room")
			}
		}
	}
	at := uint64(0)
	for _, seq := range past {
		if seq <= at || seq > place.Seq {
			fail("history %v", past)
			break
		}
		at = seq
	}
	at = place.Seq
	for _, seq := range live {
		if seq <= at {
			fail("live %v", live)
			break
		}
		at = seq
	}
	if v.hasMissed() {
		v.justlyTold(max(place.Seq, at), fail)
		upTo = 0 // and so it is not owed what comes behind the gap
	}
	v.against(place, past, live, upTo, gone, fail)
	return max(place.Seq, at)
}

func seqOf(f *wirev1.ServerFrame) uint64 {
	return uint64(f.GetChatMessage().GetSeq() + f.GetMessageDeleted().GetSeq())
}

// justlyTold: the log may have dropped something after what the member has seen.
func (v *visit) justlyTold(seen uint64, fail func(string, ...any)) {
	w := v.w
	w.mu.Lock()
	defer w.mu.Unlock()
	following := 0
	for _, s := range w.room(v.request.Room).all {
		if s.Seq > seen {
			following++
		}
	}
	if following < w.retention && w.room(v.request.Room).epoch() == v.request.Epoch {
		fail("told of a gap after %d, where only %d follow", seen, following)
	}
}

func (v *visit) against(place Place, past, live []uint64, upTo uint64, gone bool, fail func(string, ...any)) {
	w := v.w
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.room(v.request.Room)
	got := map[uint64]bool{}
	for _, seq := range append(past, live...) {
		got[seq] = true
	}
	if n := len(live); n > 0 {
		upTo = max(upTo, live[n-1])
	}
	from := place.Seq + 1 // what is stored from here on must be there
	switch {
	case v.request.Silent:
	case place.Recovered:
		from = *v.request.After + 1
	case len(past) > 0:
		from = past[0]
	}
	before, following := 0, 0
	for _, s := range r.all {
		if v.request.After != nil && s.Seq > *v.request.After {
			following++
		}
		if s.Entry == nil {
			if got[s.Seq] {
				fail("got %d, which is not ours", s.Seq)
			}
			continue
		}
		if s.Seq <= place.Seq && !r.erased[s.Seq] && !r.dropped[s.Seq] {
			before++
		}
		if got[s.Seq] || s.Seq < from || s.Seq > upTo || r.erased[s.Seq] {
			continue
		}
		// What the log drops while the past is read for a joiner is lost to it,
		// but it must not be called recovered. Live nothing is passed over.
		if !r.dropped[s.Seq] || place.Recovered || s.Seq > place.Seq {
			fail("missed %d (dropped %t), got %v and live %v", s.Seq, r.dropped[s.Seq], past, live)
			return
		}
	}
	switch {
	case v.request.Silent:
	case !place.Recovered:
		if want := min(v.request.History, before); len(past) < want || len(past) > v.request.History {
			fail("%d of history, want %d", len(past), want)
		}
		lost := v.request.After != nil && (v.request.ClientEpoch != nil && *v.request.ClientEpoch != v.request.Epoch)
		if v.request.After != nil && !lost && following < min(w.retention, maxRecovery) && *v.request.After <= v.tail && !gone && r.epoch() == v.request.Epoch {
			fail("only %d follow and were not recovered", following)
		}
	case v.request.After == nil:
		fail("recovered what was not asked for")
	}
}

// client comes and goes.
func (w *world) client(h *Hub, name string, until time.Time) {
	var last uint64
	var epoch string
	for time.Now().Before(until) {
		v := &visit{w: w, request: Request{Room: name, History: []int{0, 1, 10, 50, 70, 300}[w.upTo(5)]}}
		v.request.Member = v
		w.mu.Lock()
		r := w.room(name)
		tail := tailOf(r.now())
		v.request.Epoch, v.tail = r.epoch(), tail
		w.mu.Unlock()
		switch w.upTo(9) {
		case 0:
			v.request.Silent = true
		case 1:
			after := uint64(w.upTo(int(tail) + 10))
			v.request.After = &after
		case 2:
			v.request.After = &tail // another gateway may have been faster
		case 3, 4, 5, 6:
			after := last
			v.request.After = &after
			if epoch != "" {
				clientEpoch := epoch
				v.request.ClientEpoch = &clientEpoch
			}
		}
		timeout := 20 * time.Second
		if w.chance(0.3) {
			timeout = w.upToTime(300 * time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		place, err := h.Join(ctx, v.request)
		cancel()
		if err != nil {
			if place.Membership != nil {
				w.t.Error("a failed join has a membership")
			}
			time.Sleep(w.upToTime(100 * time.Millisecond))
			v.mu.Lock()
			if len(v.frames) > 0 {
				w.t.Errorf("a failed join was told %v", v.frames)
			}
			v.mu.Unlock()
			continue
		}
		time.Sleep(w.upToTime(3 * time.Second))
		ended, cancel := context.WithCancel(context.Background())
		if w.chance(0.5) {
			cancel() // as one whose connection has ended
		}
		h.Leave(ended, place.Membership)
		cancel()
		if ended.Err() != nil {
			time.Sleep(time.Millisecond)
		}
		last, epoch = v.ended(place, 0), v.request.Epoch
	}
}

// simulate lets writers, clients and faults at a hub for a while, and then
// sees that it comes to rest. It gives how often retention overtook a room.
func simulate(t *testing.T, seed uint64, retention int, faults float64) (gaps int64) {
	w := newWorld(t, seed, retention, faults)
	h, err := newHub(Options{Workers: 2, CompareEvery: 2 * time.Second}, w, w.open)
	if err != nil {
		t.Fatal(err)
	}
	if seed%3 == 0 { // rooms push each other out of memory
		for _, w := range h.workers {
			w.memory.share = 3000
		}
	}
	w.watchHeld(h)
	begin := time.Now()
	until := begin.Add(8 * time.Second)
	rooms := []string{"a", "b", "c", "pinned"}
	if err := h.Pin(t.Context(), "pinned"); err != nil {
		t.Fatal(err)
	}
	var writers, clients sync.WaitGroup
	for i, name := range rooms {
		writers.Go(func() {
			for time.Now().Before(until) {
				time.Sleep(w.upToTime(time.Duration(1+i*i*20) * 10 * time.Millisecond))
				n := 1
				if w.chance(0.02) {
					n = 150
				}
				for range n {
					w.store(name)
				}
				if w.chance(0.05) {
					w.eraseSome(name)
				}
				if i == 1 && w.chance(0.01) {
					w.delete(name)
				}
				if w.chance(0.005) {
					h.compareSoon()
				}
			}
		})
		for range 4 {
			clients.Go(func() { w.client(h, name, until) })
		}
	}
	// These stay to the end.
	type stay struct {
		*visit
		place Place
	}
	var stays []stay
	for _, name := range rooms {
		v := &visit{w: w, request: Request{Room: name, Silent: true}}
		w.mu.Lock()
		v.request.Epoch = w.room(name).epoch()
		w.mu.Unlock()
		v.request.Member = v
		if place, err := h.Join(t.Context(), v.request); err == nil {
			stays = append(stays, stay{v, place})
		}
	}
	writers.Wait()
	clients.Wait()
	w.mu.Lock()
	w.faults = 0
	w.mu.Unlock()
	time.Sleep(20 * time.Second)
	for _, s := range stays {
		upTo := uint64(1 << 62)
		w.mu.Lock()
		if s.isGone() || w.room(s.request.Room).epoch() != s.request.Epoch {
			upTo = 0 // deleted, and the word of it may have been lost
		}
		w.mu.Unlock()
		s.ended(s.place, upTo)
		h.Leave(t.Context(), s.place.Membership)
	}
	if n := h.Rooms(); n != 1 {
		t.Errorf("%d rooms are open when all have left, want the pinned one", n)
	}
	h.Close()
	if r := h.workers[h.feed.Worker("pinned")].rooms["pinned"]; h.remembered.Load() != int64(r.counted) {
		t.Errorf("%d bytes are held when only a room of %d is open", h.remembered.Load(), r.counted)
	}
	if n := h.heldBytes.Load(); n != 0 {
		t.Errorf("%d bytes are held back at rest", n)
	}
	for name, subs := range w.subs {
		if len(subs) != 0 {
			t.Errorf("%d subscriptions to %s are left", len(subs), name)
		}
	}
	t.Logf("%d deliveries, %d holes, %d gaps, %d filled, %d repeats", h.Deliveries(), h.holes.Load(), h.gaps.Load(), h.filled.Load(), h.repeats.Load())
	return h.gaps.Load()
}

// watchHeld checks the bounds of what rooms hold back after all that happens.
func (w *world) watchHeld(h *Hub) {
	f := h.feed.(*worldFeed)
	handle := f.handle
	f.handle = func(worker int, batch []bus.Delivery) {
		handle(worker, batch)
		m, bytes := h.workers[worker].memory, 0
		for _, r := range h.workers[worker].rooms {
			bytes += r.counted
			if r.counted != 0 && r.place == nil {
				w.t.Errorf("%s holds %d bytes that nobody would make it forget", r.id, r.counted)
			}
		}
		if bytes != m.bytes || bytes > m.share && m.rooms.Len() > 1 || m.rooms.Len() > len(h.workers[worker].rooms) {
			w.t.Errorf("%d rooms hold %d bytes, counted are %d in %d rooms, the share is %d", len(h.workers[worker].rooms), bytes, m.bytes, m.rooms.Len(), m.share)
		}
		for _, r := range h.workers[worker].rooms {
			if len(r.held) > maxHeld || r.heldBytes > maxHeldBytes || len(r.recent.entries) > recentEntries || !r.reading && len(r.held)+len(r.waiting) > 0 {
				w.t.Errorf("%s holds %d back, %d bytes, %d wait, reading %t, remembers %d", r.id, len(r.held), r.heldBytes, len(r.waiting), r.reading, len(r.recent.entries))
			}
			if len(r.members)+len(r.joining) == 0 && !r.pinned {
				w.t.Errorf("%s is open for nobody", r.id)
			}
		}
	}
}

// TestModel runs PARLEY_SEEDS worlds (default 40), from PARLEY_SEED on.
func TestModel(t *testing.T) {
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return otherwise
	}
	var gaps int64
	first := number("PARLEY_SEED", 1)
	for seed := first; seed < first+number("PARLEY_SEEDS", 40); seed++ {
		retention := []int{1 << 30, 1000, 100, 10, 1}[seed%5]
		faults := []float64{0, 0.01, 0.1, 0.3}[seed%4]
		t.Run(fmt.Sprintf("seed %d, retention %d, faults %g", seed, retention, faults), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { gaps += simulate(t, uint64(seed), retention, faults) })
		})
		if t.Failed() {
			return
		}
	}
	if gaps == 0 && os.Getenv("PARLEY_SEEDS") == "" {
		t.Error("retention has never overtaken a room: nothing is known of gaps")
	}
}

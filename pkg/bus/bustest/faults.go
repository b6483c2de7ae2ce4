package bustest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
)

// testFaults stops nodes under publishers: every publish ends in time, what was
// acknowledged is in the log at its place and once, and the chain that comes
// out live is that of the log. PARLEY_SEED repeats a run, PARLEY_FAULTS is how
// long it lasts (a duration, default 10 s).
func testFaults(t *testing.T, d *Deployment) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	if d.Nodes == 0 {
		t.Skip("no node can be stopped")
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("PARLEY_SEED"), 10, 64); err == nil {
		seed = n
	}
	lasts, err := time.ParseDuration(os.Getenv("PARLEY_FAULTS"))
	if err != nil {
		lasts = 10 * time.Second
	}
	t.Logf("PARLEY_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))

	const publishers, patience = 6, 5 * time.Second
	rooms := []string{"a", "b", "c"}
	b := d.Connect(t, bus.Options{NewShards: 2})
	ensure(t, b, bus.LogConfig{Retention: 1 << 30})
	heard := listen(t, d.Connect(t, bus.Options{}), rooms...)

	r := &record{acked: make(map[string]uint64)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for i := range publishers {
		p := d.Connect(t, bus.Options{PublishTimeout: patience})
		wg.Go(func() { r.publish(ctx, t, p, i, rooms, patience) })
	}
	faults := 0
	for end := time.Now().Add(lasts); time.Now().Before(end); faults++ {
		pause(rng, time.Second)
		start := d.Stop(rng.IntN(d.Nodes))
		pause(rng, 800*time.Millisecond)
		start()
		pause(rng, time.Second)
	}
	stop()
	wg.Wait()
	t.Logf("%d faults, %d acknowledged, %d given up", faults, len(r.acked), r.refused.Load())
	if len(r.acked) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	r.check(t, b, heard, rooms)
}

func pause(rng *rand.Rand, most time.Duration) { time.Sleep(time.Duration(rng.Int64N(int64(most)))) }

// record is what publishers were told.
type record struct {
	mu      sync.Mutex
	acked   map[string]uint64 // seq by content
	refused atomic.Int64
}

// publish goes on until ctx ends, with a few on their way at any time, and
// sends again under the same id what was not acknowledged.
func (r *record) publish(ctx context.Context, t *testing.T, b *bus.Bus, who int, rooms []string, patience time.Duration) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, 20)
	for n := 0; ctx.Err() == nil; n++ {
		slots <- struct{}{}
		room := rooms[n%len(rooms)]
		text := fmt.Sprintf("%s-%d-%d", room, who, n)
		wg.Add(1)
		var send func(tries int)
		send = func(tries int) {
			begun := time.Now()
			b.PublishAsync(room, ids.Message(room, fmt.Sprint(who), fmt.Sprint(n)), entry(text), func(ack bus.Ack, err error) {
				if took := time.Since(begun); took > patience+2*time.Second {
					t.Errorf("a publish ended after %s", took)
				}
				if err != nil {
					r.refused.Add(1)
					if errs.CodeOf(err) != errs.Unavailable {
						t.Errorf("a publish failed with %v", err)
					}
					if tries < 5 {
						go send(tries + 1)
						return
					}
				} else {
					r.mu.Lock()
					r.acked[text] = ack.Seq
					r.mu.Unlock()
				}
				<-slots
				wg.Done()
			})
		}
		send(0)
		time.Sleep(time.Millisecond)
	}
}

func (r *record) check(t *testing.T, b *bus.Bus, heard *listener, rooms []string) {
	t.Helper()
	for _, room := range rooms {
		var tail uint64
		eventually(t, "the log answers", 30*time.Second, func() (ok bool) {
			var err error
			tail, err = b.Tail(t.Context(), room)
			return err == nil
		})
		at, before, prev := map[string]uint64{}, map[uint64]uint64{}, uint64(0)
		for _, s := range readAll(t, b, room, tail) {
			text := s.Entry.GetContent()
			if first, twice := at[text]; twice {
				t.Errorf("%s is stored at %d and %d", text, first, s.Seq)
			}
			at[text], before[s.Seq], prev = s.Seq, prev, s.Seq
		}
		for text, seq := range r.acked {
			if text[:1] == room && at[text] != seq {
				t.Errorf("%s was acknowledged at %d and is at %d", text, seq, at[text])
			}
		}
		// What comes live may be missing or come again while nodes are
		// stopped, and never lies.
		var last uint64
		holes, repeats := 0, 0
		for _, s := range heard.of(room) {
			if want, ok := before[s.Seq]; !ok || s.Prev != want || at[s.Entry.GetContent()] != s.Seq {
				t.Errorf("%s: %d after %d came live, in the log it is after %d (%t)", room, s.Seq, s.Prev, want, ok)
			}
			switch {
			case s.Seq <= last:
				repeats++
				continue
			case s.Prev > last:
				holes++
			}
			last = s.Seq
		}
		t.Logf("%s: %d stored, %d heard, %d holes, %d repeats", room, len(at), len(heard.of(room)), holes, repeats)
	}
}

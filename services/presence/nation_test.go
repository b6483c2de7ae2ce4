package presence

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// nation is a replica and 20 gateways that tell it of many sessions, as bytes,
// as NATS would bring them. Nothing of the sessions is kept outside of it: ids
// are worked out from numbers.
type nation struct {
	b        *testing.B
	s        *Service
	sessions int

	mu      sync.Mutex
	numbers [nationGateways]uint64 // of each gateway's newest delta
	dead    [nationGateways]bool
}

var nationSessions = flag.Int("sessions", 100_000, "sessions of BenchmarkNation, a multiple of 2000")

const (
	nationGateways = 20
	plaza          = "plaza" // every tenth session is in it
)

// name is as long as a real id, 24 bytes, and in no order.
func name(kind byte, i int) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"
	b := [24]byte{kind, '_'}
	x := uint64(i+1) * 0x9e3779b97f4a7c15
	y := x ^ x>>29*0xbf58476d1ce4e5b9
	for n := 2; n < 24; n++ {
		if n == 13 {
			x = y
		}
		b[n] = digits[x&31]
		x >>= 5
	}
	return string(b[:])
}

func (n *nation) rooms(i int) []string {
	rooms := []string{fmt.Sprint("room-", i/50), fmt.Sprint("hall-", i%(n.sessions/50))}
	if i%10 == 0 {
		rooms = append(rooms, plaza)
	}
	return rooms
}

func (n *nation) online(i int, rooms ...string) *busv1.SessionOnline {
	return &busv1.SessionOnline{
		User:              &wirev1.User{Id: name('u', i), Username: fmt.Sprintf("user%07d", i)},
		AuthenticatedAtMs: int64(i), Rooms: rooms,
	}
}

// say has a gateway tell changes.
func (n *nation) say(gateway int, changes ...*busv1.PresenceChange) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead[gateway] {
		return
	}
	n.numbers[gateway]++
	text, err := proto.Marshal(&busv1.PresenceDelta{
		GatewayId: fmt.Sprint("g", gateway), Number: n.numbers[gateway], Changes: changes,
	})
	if err != nil {
		n.b.Error(err)
	}
	d := new(busv1.PresenceDelta)
	if err := proto.Unmarshal(text, d); err != nil {
		n.b.Error(err)
	}
	n.s.change(func(now time.Time) { n.s.intake.delta(d, now) })
}

func (n *nation) beat() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for g := range nationGateways {
		if !n.dead[g] {
			beat := &busv1.GatewayBeat{GatewayId: fmt.Sprint("g", g), Delta: n.numbers[g]}
			n.s.change(func(now time.Time) { n.s.intake.beat(beat, now) })
		}
	}
}

// load has things happen so many times a second: of ten changes four are joins
// and four leaves of a room, and a session comes and goes.
func (n *nation) load(ctx context.Context, perSecond int) {
	const every = 10 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	guests := n.sessions
	for round := 0; ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for range perSecond / int(time.Second/every) / 10 {
			g := rand.IntN(nationGateways)
			var changes []*busv1.PresenceChange
			for range 4 {
				id, room := name('s', rand.IntN(n.sessions/nationGateways)*nationGateways+g), fmt.Sprint("room-", rand.IntN(n.sessions/50))
				changes = append(changes, changeOf(id, join(room)), changeOf(id, leave(room)))
			}
			guests++
			id := name('s', guests)
			changes = append(changes, changeOf(id, n.online(guests, fmt.Sprint("hall-", guests%1000))), changeOf(id, offline(0)))
			// One of each pair now and the other a little later, or they would
			// cancel each other out.
			var first, second []*busv1.PresenceChange
			for i, c := range changes {
				if i%2 == 0 {
					first = append(first, c)
				} else {
					second = append(second, c)
				}
			}
			n.say(g, first...)
			n.say(g, second...)
		}
		if round%100 == 0 {
			n.beat()
		}
	}
}

// delays are how long something took each time.
type delays []time.Duration

func (d delays) at(share float64) float64 {
	slices.Sort(d)
	return float64(d[min(len(d)-1, int(float64(len(d))*share))].Microseconds()) / 1000
}

// queries asks a few hundred times a second until ctx ends.
func (n *nation) queries(ctx context.Context) (list, members, counts, waits delays) {
	cursor, memberCursor := "", ""
	timed := func(d *delays, f func()) {
		began := time.Now()
		f()
		*d = append(*d, time.Since(began))
	}
	for ctx.Err() == nil {
		timed(&list, func() {
			page, err := n.s.ListOnline(context.Background(), &presencev1.ListOnlineRequest{Cursor: cursor})
			if err != nil {
				n.b.Error(err)
			}
			cursor = page.GetNextCursor()
		})
		timed(&members, func() {
			page, err := n.s.ListRoomMembers(context.Background(), &presencev1.ListRoomMembersRequest{RoomId: plaza, Cursor: memberCursor})
			if err != nil {
				n.b.Error(err)
			}
			memberCursor = page.GetNextCursor()
		})
		rooms := make([]string, 100)
		for i := range rooms {
			rooms[i] = fmt.Sprint("room-", rand.IntN(n.sessions/50))
		}
		timed(&counts, func() {
			if _, err := n.s.CountRooms(context.Background(), &presencev1.CountRoomsRequest{RoomIds: rooms}); err != nil {
				n.b.Error(err)
			}
		})
		for range 5 { // the lock alone, as anything waits for it
			timed(&waits, func() {
				n.s.mu.RLock()
				//lint:ignore SA2001 the wait is what is measured
				n.s.mu.RUnlock()
			})
			time.Sleep(time.Millisecond)
		}
	}
	return list, members, counts, waits
}

// during runs f under the load and gives the delays and how many cores the
// process used.
func (n *nation) during(f func()) (list, members, counts, waits delays, cores float64) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	before, began := cpu(), time.Now()
	done.Go(func() { n.load(ctx, 10_000) })
	done.Go(func() { list, members, counts, waits = n.queries(ctx) })
	f()
	cancel()
	done.Wait()
	return list, members, counts, waits, float64(cpu()-before) / float64(time.Since(began))
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for this process
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heapNow() uint64 {
	runtime.GC()
	runtime.GC() // what the first one's finalizers held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkNation is a replica with 100,000 sessions on 20 gateways (or as many as
// -sessions says: the aim is for 1,000,000), each of a user of its own, in two rooms of 50, every tenth in one
// of a tenth of all, while 10,000 things happen a second. It reports
//
//   - bytes/session: the heap after a collection, all of the service with its
//     buffers, less what it was before the first session;
//   - cores: processor time of the whole process, in which are the making of the
//     load, its decoding, the queries, the events that rooms are told, and the
//     NATS server that takes them;
//   - p99 of a page of 100 users online, of a page of 100 of the large room, and of the counts of 100 rooms, in the calm; and the longest that
//     anybody waited for the lock (calm, while the snapshot of a
//     twentieth of them is taken in, and while such a gateway goes);
//   - how long the snapshot and the going took.
//
// Run it once: -benchtime 1x.
func BenchmarkNation(b *testing.B) {
	srv, err := embedded.Start(embedded.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer srv.Shutdown()
	conn, err := bus.Connect(b.Context(), bus.Options{InProcess: srv, Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	for b.Loop() {
		benchNation(b, conn, *nationSessions)
	}
}

func benchNation(b *testing.B, conn *bus.Bus, sessions int) {
	s, err := New(Options{Bus: conn, StartWait: time.Millisecond, GatewayTimeout: 4 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}()
	for s.Ready(ctx) != nil {
		time.Sleep(time.Millisecond)
	}
	n := &nation{b: b, s: s, sessions: sessions}
	before := heapNow()
	began := time.Now()
	const together = 100
	for i := 0; i < sessions; i += nationGateways * together {
		for g := range nationGateways {
			var changes []*busv1.PresenceChange
			for k := range together {
				at := i + k*nationGateways + g
				id := name('s', at)
				changes = append(changes, changeOf(id, n.online(at)))
				for _, room := range n.rooms(at) {
					changes = append(changes, changeOf(id, join(room)))
				}
			}
			n.say(g, changes...)
		}
		if i%(sessions/50) == 0 {
			n.beat()
		}
	}
	b.Logf("%d sessions came in %v", sessions, time.Since(began).Round(time.Millisecond))
	// What rooms are told of them is over.
	for moves := 1; moves > 0; time.Sleep(10 * time.Millisecond) {
		n.beat()
		s.mu.RLock()
		moves = len(s.roster.rooms)
		s.mu.RUnlock()
	}
	b.ReportMetric(float64(heapNow()-before)/float64(sessions), "bytes/session")

	calm := 2 * time.Second
	if sessions >= 1_000_000 {
		calm *= 4
	}
	list, members, counts, waits, cores := n.during(func() { time.Sleep(calm) })
	b.ReportMetric(cores, "cores")
	b.ReportMetric(list.at(.99), "list-p99-ms")
	b.ReportMetric(members.at(.99), "members-p99-ms")
	b.ReportMetric(counts.at(.99), "counts-p99-ms")
	b.ReportMetric(waits.at(1), "longest-wait-ms")

	// A delta of gateway 7 was lost, and its snapshot comes.
	const share = 7
	var took time.Duration
	_, _, _, waits, _ = n.during(func() {
		texts := n.snapshot(share)
		n.mu.Lock()
		n.numbers[share]++ // the lost one
		number := n.numbers[share]
		n.mu.Unlock()
		n.beat()
		n.until(func() bool { return !s.intake.feeds["g7"].settled }) // or the snapshot is passed over
		a := &answer{parts: make(map[source]*parts)}
		began := time.Now()
		for i, text := range texts {
			part := new(busv1.PresenceSnapshot)
			if err := proto.Unmarshal(text, part); err != nil {
				b.Fatal(err)
			}
			part.Number, part.Part, part.Last = number, uint32(i), i == len(texts)-1
			s.hearSnapshot(a, part)
		}
		n.until(func() bool { return s.intake.feeds["g7"].known >= number })
		took = time.Since(began)
	})
	b.ReportMetric(float64(took.Milliseconds()), "snapshot-ms")
	b.ReportMetric(waits.at(1), "snapshot-wait-ms")

	// Gateway 13 is killed.
	const dead = 13
	_, _, _, waits, _ = n.during(func() {
		n.mu.Lock()
		n.dead[dead] = true
		n.mu.Unlock()
		n.until(func() bool { return s.intake.feeds["g13"].silent })
		began := time.Now()
		n.until(func() bool { return s.intake.picture.gateways["g13"] == nil })
		took = time.Since(began)
	})
	b.ReportMetric(float64(took.Milliseconds()), "gone-ms")
	b.ReportMetric(waits.at(1), "gone-wait-ms")
	if got := s.intake.picture.users.Len(); got > sessions-sessions/nationGateways+1000 {
		b.Errorf("%d users are left of %d", got, sessions)
	}
}

// until waits until f, which is called under the lock, is true. A benchmark has
// no time limit of go test's.
func (n *nation) until(f func() bool) {
	for deadline := time.Now().Add(time.Minute); ; {
		n.s.mu.RLock()
		ok := f()
		n.s.mu.RUnlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			n.b.Fatal("what is waited for has not come in a minute")
		}
		time.Sleep(time.Millisecond)
	}
}

// snapshot is all that a gateway announces, in parts as they travel.
func (n *nation) snapshot(gateway int) (parts [][]byte) {
	part := &busv1.PresenceSnapshot{GatewayId: fmt.Sprint("g", gateway)}
	for at := gateway; at < n.sessions; at += nationGateways {
		part.Sessions = append(part.Sessions, &busv1.SnapshotSession{SessionId: name('s', at), Online: n.online(at, n.rooms(at)...)})
		if len(part.Sessions) == 500 || at+nationGateways >= n.sessions {
			text, err := proto.Marshal(part)
			if err != nil {
				n.b.Fatal(err)
			}
			parts = append(parts, text)
			part.Sessions = nil
		}
	}
	return parts
}

// BenchmarkPagesOfALargeRoom pages through a room of 100,000 members, 100 at a
// time; a page is one operation, wherever in the room it lies.
func BenchmarkPagesOfALargeRoom(b *testing.B) {
	p := newPicture()
	for i := range 100_000 {
		p.applyDelta("g", []*busv1.PresenceChange{changeOf(name('s', i), announce(name('u', i), 1, plaza))}, time.Time{})
		p.take()
	}
	cursor, pages := "", 0
	for b.Loop() {
		page, more := p.usersAfter(plaza, cursor, 100)
		pages++
		if cursor = ""; more {
			cursor = page[len(page)-1].User.Id
		} else if want := 1000; pages%want != 0 {
			b.Fatalf("the room ended after %d pages", pages)
		}
	}
}

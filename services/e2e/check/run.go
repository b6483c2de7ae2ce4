package check

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// run is one run of the checker.
type run struct {
	opts    Options
	names   names
	began   time.Time
	clients []*client

	sent, acked, delivered, unknown atomic.Int64
	links, resumes, unrecovered     atomic.Int64

	mu      sync.Mutex
	rand    *mrand.Rand
	windows []*Window
	repeats []Again
	seen    []Violation
	notes   map[string]int // what went wrong and may
	refused error          // why the last attempt to connect came to nothing
}

// Run checks a deployment. Its error says that the run could not be made, and
// not that it found something: that is in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	name := make([]byte, 4)
	_, _ = rand.Read(name) // never fails
	r := &run{
		opts: o, names: names{"check-" + hex.EncodeToString(name)}, began: time.Now(),
		rand: mrand.New(mrand.NewPCG(o.Seed, 0)), notes: make(map[string]int),
	}
	if len(o.Secret) == 0 && o.Password == "" {
		r.opts.Password = rand.Text()
	}
	r.cast()

	ctx, cancel := context.WithCancel(ctx)
	var alive sync.WaitGroup
	defer alive.Wait()
	defer cancel()
	for _, c := range r.clients {
		alive.Go(func() { c.live(ctx) })
	}
	alive.Go(func() { r.progress(ctx) })
	if err := r.await(ctx, "all clients to join their rooms", r.whole); err != nil {
		if why := r.whyNot(); why != nil {
			err = fmt.Errorf("%w: %w", err, why)
		}
		return nil, err
	}
	r.say("%d clients are in %d rooms; seed %d", len(r.clients), o.Rooms, r.opts.Seed)
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	r.settle(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	logs := r.readLogs(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cancel()
	alive.Wait()
	return r.report(r.record(logs)), nil
}

func (r *run) now() time.Duration { return time.Since(r.began) }

func (r *run) roomNames() []string {
	list := make([]string, r.opts.Rooms)
	for i := range list {
		list[i] = r.names.room(i)
	}
	return list
}

// Rooms of one client.
const (
	writerRooms = 2
	readerRooms = 8
)

// cast makes the clients: writers with two rooms each, and readers that share
// the rooms so that each has as many as wanted.
func (r *run) cast() {
	rooms := r.opts.Rooms
	interval := time.Duration(float64(time.Second) * float64(r.opts.Writers) / r.opts.Rate)
	for i := range r.opts.Writers {
		c := r.client()
		for j := range min(writerRooms, rooms) {
			c.enterRoom((i + j*(1+i/rooms)) % rooms)
		}
		c.writer = &writer{c: c, interval: interval, waiting: make(map[int]time.Time)}
	}
	for range r.opts.Readers {
		for first := 0; first < rooms; first += readerRooms {
			c := r.client()
			for room := first; room < min(first+readerRooms, rooms); room++ {
				c.enterRoom(room)
			}
		}
	}
}

func (r *run) client() *client {
	i := len(r.clients)
	c := &client{
		run: r, index: i, byRoom: make(map[string]*place),
		account: &account{name: r.names.user(i), secret: r.opts.Secret, password: r.opts.Password},
		rand:    mrand.New(mrand.NewPCG(r.opts.Seed, uint64(i)+1)),
	}
	if i%2 == 1 {
		c.encoding = frame.Proto
	}
	r.clients = append(r.clients, c)
	return c
}

func (c *client) enterRoom(room int) {
	name := c.run.names.room(room)
	if c.byRoom[name] != nil {
		return
	}
	p := &place{Place: Place{Client: c.index, Room: room}, name: name}
	c.places = append(c.places, p)
	c.byRoom[name] = p
}

// load has messages sent for as long as wanted.
func (r *run) load(ctx context.Context) error {
	during, cancel := context.WithTimeout(ctx, r.opts.Duration)
	defer cancel()
	var writing sync.WaitGroup
	writing.Go(func() { r.makeMessages(during) })
	defer writing.Wait()
	if r.opts.During != nil {
		// A During that ends its goroutine ends the writing too.
		returned := false
		defer func() {
			if !returned {
				cancel()
			}
		}()
		err := r.opts.During(during, &Control{r, cancel})
		returned = true
		if err != nil {
			cancel()
			return fmt.Errorf("during the run: %w", err)
		}
	}
	<-during.Done()
	return ctx.Err()
}

// makeMessages makes the writers' messages as they become due.
func (r *run) makeMessages(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.eachWriter(func(w *writer) { w.stopped = true })
			return
		case <-tick.C:
			r.eachWriter(func(w *writer) { w.make(r.now()) })
		}
	}
}

func (r *run) eachWriter(f func(*writer)) {
	for _, c := range r.clients {
		if c.writer != nil {
			c.mu.Lock()
			f(c.writer)
			c.mu.Unlock()
		}
	}
}

// settle waits until everything that was sent has been acknowledged or given
// up and has come to all; then it has every client connect anew, and looks
// whether that brought something which should have come before.
func (r *run) settle(ctx context.Context) {
	r.say("waiting for what is under way")
	open := func() bool {
		open := 0
		r.eachWriter(func(w *writer) { open += w.open() + len(w.waiting) + len(w.later) + len(w.queue) })
		return open == 0 && r.whole()
	}
	if err := r.awaitFor(ctx, r.opts.Patience+r.opts.Window, "the acknowledgements", open); err != nil {
		r.violated(Violation{Kind: Refused, Client: -1, Detail: err.Error()})
	}
	_ = r.awaitFor(ctx, r.opts.Patience/2, "the last messages", r.complete) // what is missing is told below
	r.noteLate()
	for _, c := range r.clients {
		c.cut()
	}
	_ = r.awaitFor(ctx, r.opts.Patience/2, "all to come back", func() bool { return r.whole() && r.complete() })
}

// whole says whether all clients are connected and in all their rooms.
func (r *run) whole() bool {
	for _, c := range r.clients {
		c.mu.Lock()
		ok := c.link != nil && c.ready
		for _, p := range c.places {
			ok = ok && p.joined && p.started
		}
		c.mu.Unlock()
		if !ok {
			return false
		}
	}
	return true
}

// newest gives the newest seq of each room that anybody was told of.
func (r *run) newest() []uint64 {
	newest := make([]uint64, r.opts.Rooms)
	for _, c := range r.clients {
		c.mu.Lock()
		for _, p := range c.places {
			newest[p.Room] = max(newest[p.Room], p.last)
		}
		if c.writer != nil {
			for i := range c.writer.messages {
				m := &c.writer.messages[i]
				newest[m.Room] = max(newest[m.Room], m.Seq)
			}
		}
		c.mu.Unlock()
	}
	return newest
}

// complete says whether everybody has come to the end of every room.
func (r *run) complete() bool { return r.eachBehind(r.newest(), nil) == 0 }

func (r *run) eachBehind(newest []uint64, f func(*client, *place)) int {
	behind := 0
	for _, c := range r.clients {
		c.mu.Lock()
		for _, p := range c.places {
			if p.last < newest[p.Room] {
				behind++
				if f != nil {
					f(c, p)
				}
			}
		}
		c.mu.Unlock()
	}
	return behind
}

// noteLate notes the members that are connected and have not got the end of a
// room.
func (r *run) noteLate() {
	newest := r.newest()
	r.eachBehind(newest, func(c *client, p *place) {
		r.violated(Violation{Kind: Late, Room: p.name, Client: c.index, Seq: p.last,
			Detail: fmt.Sprintf("the room is at %d, and this member was not told in %v", newest[p.Room], r.opts.Patience/2)})
	})
}

// judge says whether a message that came is one of this run, as it was sent.
func (r *run) judge(m *wirev1.Message, id string) (Key, bool) {
	k, ok := r.names.key(id)
	ok = ok && m.GetUser().GetId() != "" && r.names.isContent(m.GetContent(), m.RoomId, id, k)
	if ok && k.Writer() < r.opts.Writers {
		// In tokens of our own the id is the service's to choose.
		ok = m.User.Username == r.names.user(k.Writer())
	}
	return k, ok && k.Writer() < r.opts.Writers
}

func (r *run) violated(v Violation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, v)
}

func (r *run) again(a Again) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.repeats = append(r.repeats, a)
}

func (r *run) count(note string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes[note]++
}

// notReached keeps why a gateway could not be reached, for who looks at a run
// that does not begin.
func (r *run) notReached(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = err
}

func (r *run) whyNot() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// awaitPatience is how long all clients may take to be there.
const awaitPatience = 2 * time.Minute

func (r *run) await(ctx context.Context, what string, f func() bool) error {
	return r.awaitFor(ctx, awaitPatience, what, f)
}

func (r *run) awaitFor(ctx context.Context, patience time.Duration, what string, f func() bool) error {
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s", patience, what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.opts.Progress, "%7.1fs  %s\n", r.now().Seconds(), fmt.Sprintf(format, args...))
}

func (r *run) progress(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			connected := 0
			for _, c := range r.clients {
				c.mu.Lock()
				if c.ready {
					connected++
				}
				c.mu.Unlock()
			}
			r.say("%d sent, %d acknowledged, %d delivered; %d of %d clients connected",
				r.sent.Load(), r.acked.Load(), r.delivered.Load(), connected, len(r.clients))
			if why := r.whyNot(); connected == 0 && why != nil {
				r.say("not connected: %v", why)
			}
		}
	}
}

// record puts together what the clients have recorded.
func (r *run) record(logs []Log) *Record {
	rec := &Record{Rooms: r.roomNames(), Retention: r.opts.Retention, Logs: logs, Again: r.repeats, Seen: r.seen}
	for _, c := range r.clients {
		if c.writer != nil {
			rec.Messages = append(rec.Messages, c.writer.messages)
		}
		for _, p := range c.places {
			rec.Places = append(rec.Places, &p.Place)
		}
	}
	end := r.now()
	for _, w := range r.windows {
		if w.End == 0 {
			w.End = end
		}
		rec.Windows = append(rec.Windows, *w)
	}
	return rec
}

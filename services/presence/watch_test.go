package presence

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
)

// recorder is the server's side of a stream whose reader keeps everything, and
// waits at the gate where there is one.
type recorder struct {
	grpc.ServerStream
	ctx  context.Context
	gate chan struct{}

	mu   sync.Mutex
	sent []*presencev1.WatchResponse
}

func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Send(m *presencev1.WatchResponse) error {
	if r.gate != nil {
		select {
		case <-r.gate:
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, m)
	return nil
}

// folded is what a reader makes of a Watch.
type folded struct {
	rooms    map[string]int64
	users    map[string]bool
	members  map[string]bool // "room user"
	complete bool
	version  uint64
}

func newFolded() folded {
	return folded{rooms: map[string]int64{}, users: map[string]bool{}, members: map[string]bool{}}
}

// want compares it with the picture.
func (f *folded) want(t *testing.T, p *picture) {
	t.Helper()
	rooms, members := map[string]int64{}, map[string]bool{}
	p.roomsAfter("", func(r *room) bool {
		rooms[r.id] = int64(r.members.len())
		r.members.after("", func(u *user) bool {
			members[r.id+" "+u.id] = true
			return true
		})
		return true
	})
	if !maps.Equal(f.rooms, rooms) || !maps.Equal(f.members, members) || len(f.users) != p.users.Len() {
		t.Fatalf("the reader has %d rooms, %d members and %d users, the picture %d, %d and %d",
			len(f.rooms), len(f.members), len(f.users), len(rooms), len(members), p.users.Len())
	}
}

func (f *folded) take(t *testing.T, m *presencev1.WatchResponse) {
	t.Helper()
	if m.Version < f.version {
		t.Fatalf("version %d after %d", m.Version, f.version)
	}
	f.version = m.Version
	f.complete = f.complete || m.Complete
	if r := m.GetRoom(); r != nil {
		f.rooms[r.RoomId] = r.Count
		if r.Count == 0 {
			delete(f.rooms, r.RoomId)
		}
	}
	if c := m.GetMember(); c != nil {
		at := c.RoomId + " " + c.User.Id
		if f.complete && f.members[at] == c.Present {
			t.Fatalf("%s: present %v twice", at, c.Present)
		}
		f.members[at] = true
		if !c.Present {
			delete(f.members, at)
		}
	}
	if u := m.GetUser(); u != nil {
		f.users[u.User.User.Id] = true
		if !u.Online {
			delete(f.users, u.User.User.Id)
		}
	}
}

func TestWatchIsThePictureAndThenItsChanges(t *testing.T) {
	w := newWorld(t)
	p := w.start().ready(t)
	g := w.gateway("g")
	const users = 3 * watchPage
	for i := range users {
		g.does(fmt.Sprint("s", i), announce(fmt.Sprintf("u%04d", i), 1, fmt.Sprint("r", i)))
	}
	p.sees(t, g)
	stream, err := p.PresenceClient.Watch(t.Context(), &presencev1.WatchRequest{Rooms: true, Users: true})
	if err != nil {
		t.Fatal(err)
	}
	f := newFolded()
	until := func(what string, done func() bool) {
		t.Helper()
		for !done() {
			m, err := stream.Recv()
			if err != nil {
				t.Fatalf("before %s: %v", what, err)
			}
			f.take(t, m)
			if f.complete && len(f.rooms) > users {
				t.Fatalf("%d rooms, want %d", len(f.rooms), users)
			}
		}
	}
	// Changes while it is walked through, before, at and behind the walk.
	for i := range users {
		g.does(fmt.Sprint("s", i), leave(fmt.Sprint("r", i)), join("hall"))
	}
	until("complete", func() bool { return f.complete })
	until("all are in the hall", func() bool { return len(f.rooms) == 1 && f.rooms["hall"] == users })
	if len(f.users) != users {
		t.Errorf("%d users, want %d", len(f.users), users)
	}
	g.does("s7", offline(0))
	until("one has left", func() bool { return len(f.users) == users-1 && f.rooms["hall"] == users-1 })
	before := f.version
	g.does("s8", leave("hall"))
	until("another has left", func() bool { return f.rooms["hall"] == users-2 })
	if f.version != before+1 {
		t.Errorf("version %d after %d and one change", f.version, before)
	}
	p.stop()
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream outlived the replica")
	}
}

// TestWalkMissesNoChange changes the picture between the pages of a walk, and
// wants the reader to have it right when the walk is over; and again after a
// time away.
func TestWalkMissesNoChange(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 7))
		p, j := newPicture(), newJournal(Options{WatchBuffer: 10_000})
		change := func() {
			n := r.IntN(3 * watchPage)
			id := fmt.Sprintf("%04d", n)
			var what any = announce("u"+id, 1, "r"+id, fmt.Sprintf("r%04d", r.IntN(3*watchPage)))
			if r.IntN(2) == 0 {
				what = offline(0)
			}
			p.applyDelta("g", []*busv1.PresenceChange{changeOf("s"+id, what)}, time.Time{})
			for _, c := range p.take() {
				j.add(c)
			}
		}
		for range 10 * watchPage {
			change()
		}
		f := newFolded()
		w := &watcher{rooms: true, users: true, members: true}
		now := &presencev1.Position{Epoch: "e", Version: p.version}
		if first := w.begin(nil, now, j); first.Resumed {
			t.Fatal("a first watch goes on")
		}
		follow := func() {
			for more := true; more; {
				var batch []*presencev1.WatchResponse
				batch, more = w.next(p, j)
				for _, m := range batch {
					f.take(t, m)
				}
				if !f.complete { // a few changes each, fewer than are told at a time
					for range watchPage / 10 {
						change()
					}
				}
			}
			if !f.complete {
				t.Fatal("the watch follows and is not complete")
			}
			f.want(t, p)
		}
		follow()
		for range watchPage {
			change()
		}
		w = &watcher{rooms: true, users: true, members: true}
		now.Version = p.version
		if first := w.begin(&presencev1.Position{Epoch: "e", Version: f.version}, now, j); !first.Resumed || first.Version != f.version {
			t.Fatalf("a watch from %d on at %d: %v", f.version, p.version, first)
		}
		follow()
	}
}

func TestWatchGoesOnOnlyWhereItCan(t *testing.T) {
	p, j := newPicture(), newJournal(Options{WatchBuffer: 100})
	come := func(i int) {
		p.applyDelta("g", []*busv1.PresenceChange{changeOf(fmt.Sprint("s", i), announce(fmt.Sprint("u", i), 1))}, time.Time{})
		for _, c := range p.take() {
			j.add(c)
		}
	}
	for i := range 250 {
		come(i)
	}
	now := &presencev1.Position{Epoch: "e", Version: p.version}
	for _, c := range []struct {
		after *presencev1.Position
		want  bool
	}{
		{nil, false},
		{&presencev1.Position{Epoch: "another", Version: p.version}, false},
		{&presencev1.Position{Epoch: "e", Version: p.version}, true},
		{&presencev1.Position{Epoch: "e", Version: p.version - 100}, true},
		{&presencev1.Position{Epoch: "e", Version: p.version - 101}, false},
		{&presencev1.Position{Epoch: "e", Version: p.version + 1}, false}, // what never was
	} {
		w := &watcher{users: true}
		if first := w.begin(c.after, now, j); first.Resumed != c.want || first.Epoch != "e" {
			t.Errorf("after %v: %v, want resumed %v", c.after, first, c.want)
		}
		if batch, _ := w.next(p, j); c.want && uint64(len(batch)) != p.version-c.after.Version {
			t.Errorf("after %v: %d changes", c.after, len(batch))
		}
	}
	// One that follows too slowly falls out.
	w := &watcher{users: true}
	w.begin(now, now, j)
	for i := range 101 {
		come(1000 + i)
	}
	if batch, more := w.next(p, j); len(batch) != 0 || more || j.has(w.position) {
		t.Errorf("a watcher that is too slow is given %d changes", len(batch))
	}
}

func TestWatchOfRoomsAloneTellsNoUsers(t *testing.T) {
	w := newWorld(t)
	p := w.start().ready(t)
	g := w.gateway("g")
	g.does("s", announce("u", 1, "r"))
	p.sees(t, g)
	ctx, cancel := context.WithCancel(t.Context())
	r := &recorder{ctx: ctx}
	done := make(chan error, 1)
	go func() { done <- p.Service.Watch(&presencev1.WatchRequest{Rooms: true}, r) }()
	sent := func() []*presencev1.WatchResponse {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.sent
	}
	eventually(t, "the picture is sent", func() bool { return len(sent()) == 3 })
	g.does("s", offline(0))
	eventually(t, "the change is sent", func() bool { return len(sent()) == 4 })
	if m := sent()[1:]; m[0].GetRoom().GetCount() != 1 || !m[1].Complete || m[2].GetRoom().GetRoomId() != "r" || m[2].GetRoom().GetCount() != 0 {
		t.Errorf("sent %v", m)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a watch whose reader went ended well")
	}
}

func TestSlowWatcherIsEnded(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.WatchBuffer = 10 }).ready(t)
	g := w.gateway("g")
	r := &recorder{ctx: t.Context(), gate: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- p.Service.Watch(&presencev1.WatchRequest{Users: true}, r) }()
	eventually(t, "it is watched", func() bool {
		p.mu.RLock()
		defer p.mu.RUnlock()
		return len(p.watchers) == 1
	})
	for i := range 11 {
		g.does(fmt.Sprint("s", i), announce(fmt.Sprint("u", i), 1))
	}
	p.sees(t, g)
	close(r.gate)
	if err := <-done; errs.CodeOf(err) != errs.Unavailable {
		t.Errorf("ended with %v, want unavailable", err)
	}
}

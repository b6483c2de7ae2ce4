package registry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const patience = 15 * time.Second

// eventually waits until what holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	within(t, patience, what, holds)
}

func within(t testing.TB, patience time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func startNATS(t testing.TB, dir, addr string) *embedded.Server {
	t.Helper()
	srv, err := embedded.Start(embedded.Options{Dir: dir, Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	return srv
}

// connect reaches srv in this process, or over TCP where it listens.
func connect(t testing.TB, o bus.Options) *bus.Bus {
	t.Helper()
	o.Name = "test"
	b, err := bus.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// replica is a running Service with what tests ask of it.
type replica struct {
	*Service
	t    testing.TB
	stop func()
}

func start(t testing.TB, o Options) *replica {
	t.Helper()
	r := begin(t, o)
	eventually(t, "ready", func() bool { return r.Ready(t.Context()) == nil })
	return r
}

// begin is start without waiting until the replica is ready.
func begin(t testing.TB, o Options) *replica {
	t.Helper()
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.times = endingTimes{claim: 2 * time.Second, erase: 400 * time.Millisecond, settle: 200 * time.Millisecond, clear: time.Second, sanctions: 100 * time.Millisecond}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop := sync.OnceFunc(func() { cancel(); run.Wait() })
	t.Cleanup(stop)
	return &replica{s, t, stop}
}

// alone starts NATS and one replica.
func alone(t testing.TB, o Options) *replica {
	t.Helper()
	o.Bus = connect(t, bus.Options{InProcess: startNATS(t, t.TempDir(), "")})
	return start(t, o)
}

// pair starts NATS and two replicas with connections of their own.
func pair(t testing.TB, o Options) (a, b *replica) {
	t.Helper()
	srv := startNATS(t, t.TempDir(), "")
	o.Bus = connect(t, bus.Options{InProcess: srv})
	a = start(t, o)
	o.Bus = connect(t, bus.Options{InProcess: srv})
	return a, start(t, o)
}

func as(user string, roles ...string) *registryv1.Actor {
	return &registryv1.Actor{User: &wirev1.User{Id: user, Username: "name of " + user}, Roles: roles}
}

func (r *replica) mustCreate(req *registryv1.CreateRoomRequest) *registryv1.Room {
	r.t.Helper()
	room, err := r.CreateRoom(r.t.Context(), req)
	if err != nil {
		r.t.Fatalf("CreateRoom(%v): %v", req, err)
	}
	return room
}

func (r *replica) mustSet(room, user string, role registryv1.Role) {
	r.t.Helper()
	if _, err := r.SetMember(r.t.Context(), &registryv1.SetMemberRequest{
		RoomId: room, User: &wirev1.User{Id: user, Username: "name of " + user}, Role: role,
	}); err != nil {
		r.t.Fatalf("SetMember(%s, %s): %v", room, user, err)
	}
}

// roles gives the role of everybody in a room.
func (r *replica) roles(room string) map[string]registryv1.Role {
	r.t.Helper()
	all := make(map[string]registryv1.Role)
	for cursor := ""; ; {
		page, err := r.ListMembers(r.t.Context(), &registryv1.ListMembersRequest{RoomId: room, Limit: 3, Cursor: cursor})
		if err != nil {
			r.t.Fatalf("ListMembers(%s): %v", room, err)
		}
		for _, m := range page.Members {
			if _, twice := all[m.User.Id]; twice {
				r.t.Fatalf("%s is on two pages", m.User.Id)
			}
			all[m.User.Id] = m.Role
		}
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

// list gives the ids of all rooms that the actor sees, page by page.
func (r *replica) list(actor *registryv1.Actor, prefix string, limit int32) (all []string) {
	r.t.Helper()
	for cursor := ""; ; {
		page, err := r.ListRooms(r.t.Context(), &registryv1.ListRoomsRequest{Actor: actor, Prefix: prefix, Limit: limit, Cursor: cursor})
		if err != nil {
			r.t.Fatalf("ListRooms: %v", err)
		}
		for _, room := range page.Rooms {
			all = append(all, room.Id)
		}
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

func wantCode(t testing.TB, what string, err error, want errs.Code) {
	t.Helper()
	if got := errs.CodeOf(err); got != want {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

// logs is an Eraser that counts, and fails while it is told to.
type logs struct {
	mu     sync.Mutex
	away   bool
	erased map[string]int
	// trimmed is how much was kept by the last Trim.
	trimmed map[string]uint32
}

func (l *logs) Erase(_ context.Context, room string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return errors.New("history is away")
	}
	if l.erased == nil {
		l.erased = make(map[string]int)
	}
	l.erased[room]++
	return nil
}

func (l *logs) Trim(_ context.Context, room string, keep uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trimmed == nil {
		l.trimmed = make(map[string]uint32)
	}
	l.trimmed[room] = keep
	return nil
}

func (l *logs) kept(room string) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trimmed[room]
}

func (l *logs) set(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

func (l *logs) count(room string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.erased[room]
}

// crowd is a presence feed: who watches gets the counts and every change of
// them, until the feed is cut.
type crowd struct {
	mu       sync.Mutex
	counts   map[string]int64
	watchers map[chan RoomCount]struct{}
	cut      bool
}

func (c *crowd) set(room string, count int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]int64)
	}
	c.counts[room] = count
	for w := range c.watchers {
		w <- RoomCount{RoomID: room, Count: count}
	}
}

// interrupt ends every feed, and as long as it is on no new one begins.
func (c *crowd) interrupt(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = on
	if on {
		for w := range c.watchers {
			close(w)
		}
		c.watchers = nil
	}
}

func (c *crowd) WatchRooms(ctx context.Context, changed func(RoomCount)) error {
	feed := make(chan RoomCount, 1024)
	c.mu.Lock()
	if c.cut {
		c.mu.Unlock()
		return errors.New("presence is away")
	}
	if c.watchers == nil {
		c.watchers = make(map[chan RoomCount]struct{})
	}
	c.watchers[feed] = struct{}{}
	for room, count := range c.counts {
		feed <- RoomCount{RoomID: room, Count: count}
	}
	feed <- RoomCount{Complete: true}
	c.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case step, ok := <-feed:
			if !ok {
				return errors.New("presence went away")
			}
			changed(step)
		}
	}
}

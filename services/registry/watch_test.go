package registry

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/loopback"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	"google.golang.org/protobuf/proto"
)

func TestRestartRemembersEverything(t *testing.T) {
	b := connect(t, bus.Options{InProcess: startNATS(t, t.TempDir(), "")})
	r := start(t, Options{Bus: b})
	for i := range 10 {
		id := fmt.Sprintf("room-%d", i)
		r.mustCreate(&registryv1.CreateRoomRequest{RoomId: id, Visibility: private, Actor: as("ann")})
		r.mustSet(id, "bob", moderator)
	}
	rooms, roles := r.list(as("bob"), "", 3), r.roles("room-3")
	epoch := r.picture.room("room-3").Epoch
	r.stop()
	r = start(t, Options{Bus: b})
	if got := r.list(as("bob"), "", 3); !slices.Equal(got, rooms) || len(got) != 10 {
		t.Errorf("rooms = %v, want %v", got, rooms)
	}
	if got := r.roles("room-3"); len(got) != 2 || got["bob"] != roles["bob"] || got["ann"] != owner {
		t.Errorf("roles = %v, want %v", got, roles)
	}
	if got := r.picture.room("room-3").Epoch; got != epoch {
		t.Errorf("epoch = %s, want %s", got, epoch)
	}
}

func TestUnavailableBeforeRun(t *testing.T) {
	s, err := New(Options{Bus: connect(t, bus.Options{InProcess: startNATS(t, t.TempDir(), "")})})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "Ready", s.Ready(t.Context()), errs.Unavailable)
	_, err = s.ListRooms(t.Context(), &registryv1.ListRoomsRequest{})
	wantCode(t, "ListRooms", err, errs.Unavailable)
}

// TestNATSAwayAndBack restarts the server under two replicas.
func TestNATSAwayAndBack(t *testing.T) {
	dir, addr := t.TempDir(), loopback.For(t)

	srv := startNATS(t, dir, addr)
	a := start(t, Options{Bus: connect(t, bus.Options{URL: "nats://" + addr})})
	b := start(t, Options{Bus: connect(t, bus.Options{URL: "nats://" + addr})})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "before", Actor: as("ann")})
	eventually(t, "the room at b", func() bool { return b.picture.room("before") != nil })
	srv.Shutdown()
	eventually(t, "cut", func() bool { return !a.bus.Connected() && !b.bus.Connected() })

	if got := b.list(as("eve"), "", 10); !slices.Equal(got, []string{"before"}) {
		t.Errorf("while NATS is away the rooms are %v", got)
	}
	if got, err := b.Admit(t.Context(), &registryv1.AdmitRequest{RoomId: "before", Actor: as("eve"), Create: true}); err != nil || got.Role != member {
		t.Errorf("Admit while NATS is away: %v, %v", got, err)
	}
	if err := b.Ready(t.Context()); err != nil {
		t.Errorf("not ready while NATS is away: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := b.CreateRoom(ctx, &registryv1.CreateRoomRequest{RoomId: "during"})
	wantCode(t, "CreateRoom while NATS is away", err, errs.Unavailable)

	startNATS(t, dir, addr)
	eventually(t, "writing again", func() bool {
		_, err := a.CreateRoom(t.Context(), &registryv1.CreateRoomRequest{RoomId: "after"})
		return err == nil || errs.CodeOf(err) == errs.AlreadyExists
	})
	eventually(t, "the new room at b", func() bool { return b.picture.room("after") != nil })
	if err := a.deleteRoom("before"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end at b", func() bool { return b.picture.room("before") == nil })
}

// entries makes what a watch would tell.
func roomEntryOf(t *testing.T, id string, revision uint64) bus.Entry {
	t.Helper()
	value, err := encodeRoom(&registryv1.Room{Id: id, Visibility: public})
	if err != nil {
		t.Fatal(err)
	}
	return bus.Entry{Key: roomKey(id), Value: value, Revision: revision}
}

func TestThePictureNeverGoesBack(t *testing.T) {
	p := newPicture(func(r uint64) string { return fmt.Sprint(r) }, func(string, *registryv1.Room) {})
	apply := func(entries ...bus.Entry) {
		t.Helper()
		for _, e := range entries {
			if err := p.apply(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	deleted := func(id string, revision uint64) bus.Entry {
		return bus.Entry{Key: roomKey(id), Revision: revision, Deleted: true}
	}
	want := func(what, id string, revision uint64) {
		t.Helper()
		if got := p.room(id).GetRevision(); got != revision {
			t.Errorf("%s: revision %d, want %d", what, got, revision)
		}
	}
	p.begin()
	apply(roomEntryOf(t, "r", 5), roomEntryOf(t, "r", 3))
	want("an older record", "r", 5)
	apply(deleted("r", 4))
	want("an older deletion", "r", 5)
	p.forget(roomKey("r"), 5)
	want("deleted by ourselves", "r", 0)
	apply(roomEntryOf(t, "r", 5))
	want("told late", "r", 0)
	apply(roomEntryOf(t, "r", 8), deleted("r", 6))
	want("made again", "r", 8)
	apply(roomEntryOf(t, "s", 9))
	p.forget(roomKey("s"), 9)
	apply(deleted("s", 10))
	if len(p.gone) != 0 {
		t.Errorf("%d keys are kept as deleted, though the watch has told of it", len(p.gone))
	}
	p.forget(roomKey("s"), 9)
	if len(p.gone) != 0 {
		t.Error("a key is kept as deleted that the watch has told of before")
	}

	// A watch that begins anew, after r was deleted and its marker too.
	apply(roomEntryOf(t, "t", 11))
	p.begin()
	apply(roomEntryOf(t, "t", 11))
	p.sweep()
	want("not told any more", "r", 0)
	want("told again", "t", 11)
	if got := p.list("", true, "", "", 10); len(got) != 1 {
		t.Errorf("listed: %v", got)
	}
	if p.apply(bus.Entry{Key: roomKey("u"), Value: []byte{0xff}, Revision: 12}) == nil {
		t.Error("a value that is no record passed")
	}
	apply(bus.Entry{Key: "z.unknown", Revision: 13}, bus.Entry{Key: "r.not!base64", Revision: 14}, bus.Entry{Key: "", Revision: 15})
}

// TestChangesDuringACut cuts one replica off while the other goes on.
func TestChangesDuringACut(t *testing.T) {
	srv := startNATS(t, t.TempDir(), "127.0.0.1:0")
	wire := newWire(t, strings.TrimPrefix(srv.URL(), "nats://"))
	a := start(t, Options{Bus: connect(t, bus.Options{InProcess: srv})})
	b := start(t, Options{Bus: connect(t, bus.Options{URL: "nats://" + wire.addr})})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "ends", Actor: as("ann")})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "stays", Actor: as("ann")})
	a.mustSet("stays", "bob", moderator)
	eventually(t, "everything at b", func() bool { return b.picture.room("ends") != nil && len(b.membersIfAny("stays")) == 2 })

	wire.cut(true)
	eventually(t, "cut", func() bool { return !b.bus.Connected() })
	if err := a.deleteRoom("ends"); err != nil {
		t.Fatal(err)
	}
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "new"})
	if _, err := a.RemoveMember(t.Context(), &registryv1.RemoveMemberRequest{RoomId: "stays", UserId: "bob"}); err != nil {
		t.Fatal(err)
	}
	if b.picture.room("ends") == nil || b.picture.room("new") != nil {
		t.Fatal("the cut does not cut")
	}
	wire.cut(false)
	eventually(t, "connected", b.bus.Connected)
	// The watch by itself would notice only after two missed heartbeats, 10 s.
	began := time.Now()
	eventually(t, "what has changed", func() bool {
		return b.picture.room("ends") == nil && b.picture.room("new") != nil && len(b.membersIfAny("stays")) == 1
	})
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %s to see what had changed", took)
	}
}

// wire passes TCP connections on to another address until it is cut.
type wire struct {
	addr  string
	mu    sync.Mutex
	off   bool
	conns map[net.Conn]struct{}
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: l.Addr().String(), conns: make(map[net.Conn]struct{})}
	var work sync.WaitGroup
	t.Cleanup(func() { l.Close(); w.cut(true); work.Wait() })
	work.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil || !w.keep(in, out) {
				in.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				work.Go(func() {
					_, _ = io.Copy(way[0], way[1]) // ends with either side
					in.Close()
					out.Close()
				})
			}
		}
	})
	return w
}

func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		if w.off {
			c.Close()
		}
		w.conns[c] = struct{}{}
	}
	return !w.off
}

func (w *wire) cut(off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off = off
	if off {
		for c := range w.conns {
			c.Close()
		}
		clear(w.conns)
	}
}

// An answer that was on its way while the watch told of a deletion brings
// nothing back; what is newer than the watch does.
func TestLateAnswerBringsNothingBack(t *testing.T) {
	p := newPicture(func(uint64) string { return "e" }, func(string, *registryv1.Room) {})
	room, member := roomEntryOf(t, "a", 8), bus.Entry{Key: memberKey("a", "ann"), Value: encoded(t, &registryv1.Member{User: as("ann").User, Role: owner}), Revision: 9}
	ending := bus.Entry{Key: endingKey("a"), Value: []byte("{}"), Revision: 10}
	all := []bus.Entry{room, member, ending}
	for _, e := range all {
		if err := p.watched(e); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range all {
		if err := p.watched(bus.Entry{Key: e.Key, Revision: 20 + uint64(i), Deleted: true}); err != nil {
			t.Fatal(err)
		}
	}
	holds := func() int { return len(p.byID) + p.standings + len(p.endings) }
	for _, e := range all {
		if err := p.apply(e); err != nil || holds() != 0 {
			t.Errorf("%s is back (%v)", e.Key, err)
		}
	}
	for i, e := range all {
		e.Revision = 30 + uint64(i)
		if err := p.apply(e); err != nil || holds() != i+1 {
			t.Errorf("%s, made anew, is not there (%v)", e.Key, err)
		}
	}
}

func encoded(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

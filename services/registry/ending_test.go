package registry

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

func (r *replica) deleteRoom(room string) error {
	_, err := r.DeleteRoom(r.t.Context(), &registryv1.DeleteRoomRequest{RoomId: room})
	return err
}

func TestDeleteAndMakeAgain(t *testing.T) {
	erased := new(logs)
	a, b := pair(t, Options{Eraser: erased})
	first := a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Visibility: private, Actor: as("ann")})
	a.mustSet("room", "bob", moderator)
	eventually(t, "bob's standing at b", func() bool { return len(b.membersIfAny("room")) == 2 })
	if err := b.deleteRoom("room"); err != nil {
		t.Fatal(err)
	}
	if erased.count("room") == 0 {
		t.Error("the log is still there")
	}
	_, err := b.GetRoom(t.Context(), &registryv1.GetRoomRequest{RoomId: "room"})
	wantCode(t, "the deleted room", err, errs.NotFound)
	wantCode(t, "deleting it again", a.deleteRoom("room"), errs.NotFound)
	if got := b.list(as("bob"), "", 10); len(got) != 0 {
		t.Errorf("bob still sees %v", got)
	}

	// a makes it again at once, whether or not it has heard of the end.
	second := a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Actor: as("cid")})
	if second.Epoch == first.Epoch {
		t.Errorf("the new room has the old epoch %s", first.Epoch)
	}
	if got := a.roles("room"); len(got) != 1 || got["cid"] != owner {
		t.Errorf("roles = %v, want only the new owner", got)
	}
	before := erased.count("room")
	eventually(t, "nothing left of the end", func() bool {
		return a.picture.end("room") == nil && b.picture.end("room") == nil && b.picture.room("room") != nil
	})
	if got := erased.count("room"); got != before {
		t.Error("the log of the new room was erased")
	}
	_, err = b.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Topic: proto.String("x"), Actor: as("ann")})
	wantCode(t, "the old owner", err, errs.Forbidden)
}

// membersIfAny gives the first members of a room that may not be there yet.
func (r *replica) membersIfAny(room string) []*registryv1.Member {
	page, err := r.ListMembers(r.t.Context(), &registryv1.ListMembersRequest{RoomId: room})
	if err != nil {
		return nil
	}
	return page.Members
}

func TestWhatTheEndLeavesIsCleared(t *testing.T) {
	erased := new(logs)
	a, b := pair(t, Options{Eraser: erased})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Actor: as("ann")})
	a.mustSet("room", "bob", moderator)
	if err := a.deleteRoom("room"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an empty bucket but for the lobby", func() bool {
		keys, err := a.kv.Load().Keys(t.Context(), ">")
		return err == nil && len(keys) == 1
	})
	if got := erased.count("room"); got < 2 {
		t.Errorf("the log was erased %d times, want once more after the gateways heard", got)
	}
	for _, r := range []*replica{a, b} {
		eventually(t, "an empty picture", func() bool {
			r.picture.mu.RLock()
			defer r.picture.mu.RUnlock()
			return r.picture.standings == 0 && len(r.picture.endings) == 0 && len(r.picture.gone) == 0 &&
				len(r.picture.rosters) == 0 && len(r.picture.byID) == 1
		})
	}
}

func TestNoRoomIsMadeOverALogThatIsThere(t *testing.T) {
	erased := new(logs)
	r := alone(t, Options{Eraser: erased})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room"})
	erased.set(true)
	if err := r.deleteRoom("room"); err != nil {
		t.Fatalf("deleting while the log is out of reach: %v", err)
	}
	_, err := r.GetRoom(t.Context(), &registryv1.GetRoomRequest{RoomId: "room"})
	wantCode(t, "the deleted room", err, errs.NotFound)
	_, err = r.CreateRoom(t.Context(), &registryv1.CreateRoomRequest{RoomId: "room"})
	wantCode(t, "making it again", err, errs.Unavailable)
	_, err = r.Admit(t.Context(), &registryv1.AdmitRequest{RoomId: "room", Actor: as("ann"), Create: true})
	wantCode(t, "making it by joining", err, errs.Unavailable)
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "another"})

	erased.set(false)
	eventually(t, "a new room once the log is erased", func() bool {
		_, err := r.CreateRoom(t.Context(), &registryv1.CreateRoomRequest{RoomId: "room"})
		return err == nil
	})
	if erased.count("room") == 0 {
		t.Error("the old log is still there")
	}
}

// TestHalfAnEnd is what a process leaves that ends between two writes.
func TestHalfAnEnd(t *testing.T) {
	srv := startNATS(t, t.TempDir(), "")
	b := connect(t, bus.Options{InProcess: srv})
	erased := new(logs)
	r := start(t, Options{Bus: b, Eraser: erased})
	kept := r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "kept"})
	gone := r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "gone"})
	for _, room := range []*registryv1.Room{kept, gone} {
		if _, err := r.writeEnding(t.Context(), room.Id, ending{Epoch: room.Epoch, Claimed: true}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.delete(t.Context(), roomKey("gone"), gone.Revision); err != nil {
		t.Fatal(err)
	}
	r.stop()

	r = start(t, Options{Bus: b, Eraser: erased})
	eventually(t, "both ends dealt with", func() bool {
		return r.picture.end("kept") == nil && r.picture.end("gone") == nil
	})
	if erased.count("gone") == 0 || erased.count("kept") != 0 {
		t.Errorf("erased = %v, want only gone", erased.erased)
	}
	if r.picture.room("kept") == nil {
		t.Error("the room whose end was called off has ended")
	}
}

// TestMadeAgainWhileErased: who makes a room anew while another replica erases
// what an earlier life has left waits for that, and not for ever.
func TestMadeAgainWhileErased(t *testing.T) {
	door := &gate{erasing: make(chan struct{}), open: make(chan struct{})}
	srv := startNATS(t, t.TempDir(), "")
	a := start(t, Options{Bus: connect(t, bus.Options{InProcess: srv}), Eraser: new(logs)})
	b := start(t, Options{Bus: connect(t, bus.Options{InProcess: srv}), Eraser: door})
	makes := func() error {
		return second(a.CreateRoom(t.Context(), &registryv1.CreateRoomRequest{RoomId: "room"}))
	}
	joins := func() error {
		return second(a.Admit(t.Context(), &registryv1.AdmitRequest{RoomId: "room", Actor: as("ann"), Create: true}))
	}

	for _, again := range []func() error{makes, joins} {
		if err := makes(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "b knows the room", func() bool { return b.picture.room("room") != nil })
		door.shut.Store(true)
		deleted := make(chan error, 1)
		go func() { deleted <- b.deleteRoom("room") }()
		<-door.erasing
		eventually(t, "a knows that it ended", func() bool { return a.picture.room("room") == nil && a.picture.end("room") != nil })
		made := make(chan error, 1)
		go func() { made <- again() }()
		select {
		case err := <-made:
			t.Errorf("made while the log of its earlier life is being erased: %v", err)
			made <- nil
		case <-time.After(50 * time.Millisecond):
		}
		door.open <- struct{}{}
		if err := <-deleted; err != nil {
			t.Error(err)
		}
		if err := <-made; err != nil {
			t.Errorf("made again: %v", err)
		}
		if err := a.deleteRoom("room"); err != nil {
			t.Error(err)
		}
	}

	// A claim whose owner is gone is not waited for until it ends.
	room := a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "claimed"})
	if _, err := a.writeEnding(t.Context(), room.Id, ending{Epoch: room.Epoch, Claimed: true}, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.delete(t.Context(), roomKey(room.Id), room.Revision); err != nil {
		t.Fatal(err)
	}
	_, err := a.CreateRoom(t.Context(), &registryv1.CreateRoomRequest{RoomId: room.Id})
	wantCode(t, "made over a claim", err, errs.Unavailable)
}

// gate is an Eraser that says when it erases, and waits then, after it was shut.
type gate struct {
	logs
	shut          atomic.Bool
	erasing, open chan struct{}
}

func (g *gate) Erase(ctx context.Context, room string) error {
	if g.shut.Swap(false) {
		g.erasing <- struct{}{}
		<-g.open
	}
	return g.logs.Erase(ctx, room)
}

func TestConcurrentDeletesAndJoins(t *testing.T) {
	erased := new(logs)
	a, b := pair(t, Options{Eraser: erased})
	for range 20 {
		a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Actor: as("ann")})
		var work sync.WaitGroup
		for _, r := range []*replica{a, b} {
			work.Go(func() {
				if err := r.deleteRoom("room"); err != nil && errs.CodeOf(err) != errs.NotFound {
					t.Errorf("deleting: %v", err)
				}
			})
		}
		work.Wait()
	}
}

package registry

import (
	"fmt"
	"sync"
	"testing"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

func (r *replica) mustMark(room, user string, seq uint64) uint64 {
	r.t.Helper()
	mark, err := r.MarkRead(r.t.Context(), &registryv1.MarkReadRequest{RoomId: room, Actor: as(user), Seq: seq})
	if err != nil {
		r.t.Fatalf("MarkRead(%s, %s, %d): %v", room, user, seq, err)
	}
	return mark.GetSeq()
}

// mark gives a user's mark, -1 for none.
func (r *replica) mark(room, user string) int64 {
	r.t.Helper()
	mark, err := r.GetReadMark(r.t.Context(), &registryv1.GetReadMarkRequest{RoomId: room, UserId: user})
	if err != nil {
		r.t.Fatalf("GetReadMark(%s, %s): %v", room, user, err)
	}
	if mark.Seq == nil {
		return -1
	}
	return int64(mark.GetSeq())
}

func TestReadMarkMovesOnlyForward(t *testing.T) {
	a, b := pair(t, Options{})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "general", Actor: as("ada")})
	if got := b.mark("general", "ada"); got != -1 {
		t.Errorf("before any: %d", got)
	}
	for _, step := range []struct{ mark, want uint64 }{{5, 5}, {3, 5}, {5, 5}, {9, 9}} {
		if got := a.mustMark("general", "ada", step.mark); got != step.want {
			t.Errorf("marking %d gave %d, want %d", step.mark, got, step.want)
		}
		if got := b.mark("general", "ada"); got != int64(step.want) {
			t.Errorf("the other replica tells %d, want %d", got, step.want)
		}
	}
	if got := a.mark("general", "bob"); got != -1 {
		t.Errorf("another user: %d", got)
	}
	var wg sync.WaitGroup
	for i, r := range []*replica{a, b, a, b} { // the user's devices
		wg.Go(func() {
			for n := range 10 {
				if _, err := r.MarkRead(t.Context(), &registryv1.MarkReadRequest{RoomId: "general", Actor: as("ada"), Seq: uint64(10 + 4*n + i)}); err != nil {
					t.Errorf("MarkRead: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := a.mark("general", "ada"); got != 10+4*9+3 {
		t.Errorf("after all at once: %d, want the greatest", got)
	}
}

func TestReadMarkRefusals(t *testing.T) {
	r := alone(t, Options{})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "secret", Actor: as("ada"), Visibility: registryv1.Visibility_VISIBILITY_PRIVATE})
	for _, c := range []struct {
		name string
		req  *registryv1.MarkReadRequest
		want errs.Code
	}{
		{"nobody", &registryv1.MarkReadRequest{RoomId: "secret", Seq: 1}, errs.InvalidArgument},
		{"no seq", &registryv1.MarkReadRequest{RoomId: "secret", Actor: as("ada")}, errs.InvalidArgument},
		{"beyond 2^53", &registryv1.MarkReadRequest{RoomId: "secret", Actor: as("ada"), Seq: 1<<53 + 1}, errs.InvalidArgument},
		{"no room", &registryv1.MarkReadRequest{RoomId: "nowhere", Actor: as("ada"), Seq: 1}, errs.NotFound},
		{"a stranger", &registryv1.MarkReadRequest{RoomId: "secret", Actor: as("eve"), Seq: 1}, errs.NotFound},
		{"a member", &registryv1.MarkReadRequest{RoomId: "secret", Actor: as("ada"), Seq: 1 << 53}, ""},
	} {
		_, err := r.MarkRead(t.Context(), c.req)
		wantCode(t, c.name, err, c.want)
	}
	_, err := r.GetReadMark(t.Context(), &registryv1.GetReadMarkRequest{RoomId: "nowhere", UserId: "ada"})
	wantCode(t, "reading: no room", err, errs.NotFound)
	_, err = r.GetReadMark(t.Context(), &registryv1.GetReadMarkRequest{RoomId: "secret"})
	wantCode(t, "reading: no user", err, errs.InvalidArgument)
}

func TestReadMarksEndWithTheRoom(t *testing.T) {
	r := alone(t, Options{Eraser: new(logs)})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "a", Actor: as("ada")})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "ab", Actor: as("ada")})
	r.mustMark("a", "ada", 7)
	r.mustMark("a", "bob", 8)
	r.mustMark("ab", "ada", 9)
	if _, err := r.DeleteRoom(t.Context(), &registryv1.DeleteRoomRequest{RoomId: "a"}); err != nil {
		t.Fatal(err)
	}
	kv, err := r.bus.Bucket(t.Context(), bus.Reads)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the marks have gone", func() bool {
		keys, err := kv.Keys(t.Context(), ">")
		return err == nil && len(keys) == 1
	})
	if got := r.mark("ab", "ada"); got != 9 {
		t.Errorf("the other room's mark: %d", got)
	}
	// A mark of an earlier life that was written too late counts for nothing.
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "a", Actor: as("ada")})
	if _, err := kv.Put(t.Context(), readsKey("a", "ada"), []byte(`{"seq":7,"epoch":"before"}`)); err != nil {
		t.Fatal(err)
	}
	if got := r.mark("a", "ada"); got != -1 {
		t.Errorf("of an earlier life: %d", got)
	}
	if got := r.mustMark("a", "ada", 2); got != 2 || r.mark("a", "ada") != 2 {
		t.Errorf("in the new life: %d", got)
	}
}

// admitMark gives a user's mark as Admit tells it, -1 for none.
func (r *replica) admitMark(room, user string) int64 {
	r.t.Helper()
	answer, err := r.Admit(r.t.Context(), &registryv1.AdmitRequest{RoomId: room, Actor: as(user), ReadMark: true})
	if err != nil {
		r.t.Fatalf("Admit(%s, %s): %v", room, user, err)
	}
	if answer.ReadSeq == nil {
		return -1
	}
	return int64(answer.GetReadSeq())
}

func TestAdmitTellsReadMarks(t *testing.T) {
	a, b := pair(t, Options{})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "general", Actor: as("ada")})
	const users = 50
	for i := range users {
		if i%2 == 0 {
			a.mustMark("general", fmt.Sprint("user-", i), uint64(i+1))
		}
	}
	eventually(t, "the room is on both", func() bool { return b.picture.room("general") != nil })
	var wg sync.WaitGroup
	for i := range users {
		for _, r := range []*replica{a, b} {
			wg.Go(func() {
				want := int64(-1)
				if i%2 == 0 {
					want = int64(i + 1)
				}
				if got := r.admitMark("general", fmt.Sprint("user-", i)); got != want {
					t.Errorf("user-%d: %d, want %d", i, got, want)
				}
			})
		}
	}
	wg.Wait()
	answer, err := a.Admit(t.Context(), &registryv1.AdmitRequest{RoomId: "general", Actor: as("user-0")})
	if err != nil || answer.ReadSeq != nil {
		t.Errorf("not asked for: %v, %v", answer, err)
	}
}

// TestAdmitWithoutNATS: the mark is not worth keeping anybody out for, nor
// anybody waiting once NATS is known to be away.
func TestAdmitWithoutNATS(t *testing.T) {
	srv := startNATS(t, t.TempDir(), "")
	r := start(t, Options{Bus: connect(t, bus.Options{InProcess: srv})})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "general", Actor: as("ada")})
	r.mustMark("general", "ada", 7)
	if got := r.admitMark("general", "ada"); got != 7 {
		t.Errorf("before: %d", got)
	}
	srv.Shutdown()
	if got := r.admitMark("general", "ada"); got != -1 {
		t.Errorf("without NATS: %d", got)
	}
}

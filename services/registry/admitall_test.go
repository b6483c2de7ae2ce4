package registry

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// AdmitAll tells what Admit tells, of each, or leaves it to Admit: it lets nobody
// in whom Admit keeps out, and does nothing itself.
func TestAdmitAllTellsWhatAdmitTells(t *testing.T) {
	r := alone(t, Options{})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "open", Actor: as("ann")})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "secret", Visibility: private, Actor: as("ann")})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "members", Actor: as("ann"), Policy: &registryv1.Policy{Read: registryv1.Who_WHO_MEMBERS.Enum()}})
	r.mustSet("secret", "bob", moderator)
	if err := r.ban("open", "mallory", nil, as("ann")); err != nil {
		t.Fatal(err)
	}
	if err := r.mute("open", "bob", timestamppb.New(time.Now().Add(time.Hour)), as("ann")); err != nil {
		t.Fatal(err)
	}
	r.mustMark("open", "bob", 7)
	r.mustMark("open", "ann", 3)

	users := []*registryv1.Actor{as("ann"), as("bob"), as("mallory"), as("eve"), as("root", "admin"), {}, nil}
	var requests []*registryv1.AdmitRequest
	for _, room := range []string{"open", "secret", "members", "nowhere", "dm:x", "a.b", ""} {
		for _, user := range users {
			for _, marked := range []bool{false, true} {
				requests = append(requests, &registryv1.AdmitRequest{RoomId: room, Actor: user, ReadMark: marked})
			}
		}
	}
	together, err := r.AdmitAll(t.Context(), &registryv1.AdmitAllRequest{Requests: requests})
	if err != nil || len(together.Admissions) != len(requests) {
		t.Fatal(together, err)
	}
	known := 0
	for i, request := range requests {
		alone, err := r.Admit(t.Context(), request)
		got := together.Admissions[i].Admitted
		if (err == nil) != (got != nil) || err == nil && !proto.Equal(alone, got) {
			t.Errorf("%v: together %v, alone %v %v", request, got, alone, err)
		}
		if got.GetReadSeq() > 0 {
			known++
		}
	}
	if known != 2 {
		t.Errorf("%d read marks, want those of ann and bob", known)
	}

	// What takes a write is left to Admit.
	created := &registryv1.AdmitAllRequest{Requests: []*registryv1.AdmitRequest{{RoomId: "new", Actor: as("ann"), Create: true}}}
	if answer, err := r.AdmitAll(t.Context(), created); err != nil || answer.Admissions[0].Admitted != nil || r.picture.room("new") != nil {
		t.Errorf("a room to be made: %v, %v", answer, err)
	}
}

func TestAdmitAllTakesSoMany(t *testing.T) {
	r := alone(t, Options{})
	for _, n := range []int{0, maxAdmissions + 1} {
		req := new(registryv1.AdmitAllRequest)
		for range n {
			req.Requests = append(req.Requests, &registryv1.AdmitRequest{RoomId: "open"})
		}
		_, err := r.AdmitAll(t.Context(), req)
		wantCode(t, "so many", err, errs.InvalidArgument)
	}
}

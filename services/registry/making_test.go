package registry

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// A user makes so many rooms, in whichever way, and then waits; others do not,
// and neither do those who may everything.
func TestRoomsPerHour(t *testing.T) {
	r := alone(t, Options{RoomsPerHour: 3})
	ctx := t.Context()
	create := func(a *registryv1.Actor, id string) error {
		_, err := r.CreateRoom(ctx, &registryv1.CreateRoomRequest{RoomId: id, Actor: a})
		return err
	}
	join := func(a *registryv1.Actor, id string) error {
		_, err := r.Admit(ctx, &registryv1.AdmitRequest{RoomId: id, Create: true, Actor: a})
		return err
	}
	direct := func(a *registryv1.Actor, user string) error {
		_, err := r.OpenDirect(ctx, &registryv1.OpenDirectRequest{UserId: user, Actor: a})
		return err
	}
	for what, err := range map[string]error{
		"create": create(as("ann"), "one"), "join": join(as("ann"), "two"), "open": direct(as("ann"), "bob"),
		// What is there is not made, and counts nobody's.
		"join again": join(as("ann"), "two"), "open again": direct(as("ann"), "bob"), "join of another": join(as("bob"), "one"),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for field, err := range map[string]error{"roomId": create(as("ann"), "three"), "userId": direct(as("ann"), "carol")} {
		refused := (*errs.Error)(nil)
		if !errors.As(err, &refused) || refused.Code != errs.RateLimited || refused.Field != field ||
			refused.RetryAfter < 19*time.Minute || refused.RetryAfter > 20*time.Minute {
			t.Errorf("one more: %#v, want rate-limited for 20 minutes, of %s", err, field)
		}
	}
	wantCode(t, "a join that makes one more", join(as("ann"), "three"), errs.RateLimited)
	wantCode(t, "a taken id", create(as("ann"), "one"), errs.AlreadyExists)
	if n := r.making.len(); n != 1 {
		t.Errorf("%d users are counted, want 1", n)
	}
	if r.picture.room("three") != nil {
		t.Error("the room was made")
	}
	for i := range 5 {
		if err := errors.Join(create(as("root", "admin"), fmt.Sprint("of-admin-", i)), create(nil, fmt.Sprint("of-back-end-", i))); err != nil {
			t.Error(err)
		}
	}
	if err := join(as("ann"), "of-admin-0"); err != nil {
		t.Errorf("joining what others have made: %v", err)
	}
	if err := join(&registryv1.Actor{User: &wirev1.User{Id: "carol"}}, "three"); err != nil {
		t.Error(err)
	}
}

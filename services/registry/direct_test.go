package registry

import (
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

func TestDirectRooms(t *testing.T) {
	a, b := pair(t, Options{})
	ctx := t.Context()
	var made sync.Map
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			r, from, to := a, "ann", "bob"
			if i%2 == 1 {
				r, from, to = b, to, from
			}
			room, err := r.OpenDirect(ctx, &registryv1.OpenDirectRequest{UserId: to, Actor: as(from)})
			if err != nil {
				t.Error(err)
				return
			}
			made.Store(room.Id+" "+room.Epoch, true)
		})
	}
	all.Wait()
	var rooms []any
	made.Range(func(room, _ any) bool { rooms = append(rooms, room); return true })
	if len(rooms) != 1 {
		t.Fatalf("one room was made as %v", rooms)
	}
	room, err := a.OpenDirect(ctx, &registryv1.OpenDirectRequest{UserId: "ann", Actor: as("bob")})
	if err != nil {
		t.Fatal(err)
	}
	two := map[string]registryv1.Role{"ann": member, "bob": member}
	for _, r := range []*replica{a, b} {
		eventually(t, "both replicas have it", func() bool { return r.picture.room(room.Id) != nil })
		if got := r.roles(room.Id); !maps.Equal(got, two) {
			t.Errorf("roles = %v", got)
		}
		for _, user := range []string{"ann", "bob"} {
			if got := r.list(as(user), "dm:", 10); !slices.Equal(got, []string{room.Id}) {
				t.Errorf("%s sees %v", user, got)
			}
			if answer, err := r.admit(room.Id, as(user)); err != nil || answer.Role != member {
				t.Errorf("%s is admitted as %v, %v", user, answer, err)
			}
		}
		_, err := r.admit(room.Id, as("eve"))
		wantCode(t, "a third one", err, errs.NotFound)
	}
	// A standing beside what the record says: only a muting can be.
	if err := a.mute(room.Id, "bob", nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := a.roles(room.Id); !maps.Equal(got, two) {
		t.Errorf("roles = %v", got)
	}
	if answer, err := a.admit(room.Id, as("bob")); err != nil || answer.Mute == nil {
		t.Errorf("admitted with %v, %v", answer, err)
	}
	// A room that ended begins anew.
	if err := a.deleteRoom(room.Id); err != nil {
		t.Fatal(err)
	}
	again, err := a.OpenDirect(ctx, &registryv1.OpenDirectRequest{UserId: "bob", Actor: as("ann")})
	if err != nil || again.Id != room.Id || again.Epoch == room.Epoch {
		t.Errorf("opened %v after %v, %v", again, room, err)
	}
	for _, req := range []*registryv1.OpenDirectRequest{{UserId: "ann", Actor: as("ann")}, {Actor: as("ann")}, {UserId: "ann"}} {
		_, err := a.OpenDirect(ctx, req)
		wantCode(t, "OpenDirect", err, errs.InvalidArgument)
	}
}

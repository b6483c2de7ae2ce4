package registry

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// A direct room belongs to two users. Who they are is in its record, so that
// making one is a single write and neither can be made without the other; its
// id follows from theirs, so that there is one.

// OpenDirect gives the room of two.
func (s *Service) OpenDirect(ctx context.Context, req *registryv1.OpenDirectRequest) (*registryv1.Room, error) {
	a, err := s.begin(ctx, req.Actor)
	if err != nil {
		return nil, err
	}
	if a.user == nil {
		return nil, errs.Invalid("actor", "is missing")
	}
	if err := ids.CheckUser("userId", req.UserId); err != nil {
		return nil, err
	}
	if req.UserId == a.user.Id {
		return nil, errs.Invalid("userId", "is your own")
	}
	if err := a.notGuest("open no direct rooms"); err != nil {
		return nil, err
	}
	two := []*wirev1.User{a.user, {Id: req.UserId}}
	if two[1].Id < two[0].Id {
		two[0], two[1] = two[1], two[0]
	}
	id := ids.Direct(two[0].Id, two[1].Id)
	var room *registryv1.Room
	if s.picture.room(id) == nil {
		if err := s.mayMake(a, "userId"); err != nil {
			return nil, err
		}
	}
	made := false
	err = s.optimistic(ctx, subject{actor: a, room: id}, func() error {
		if room = s.picture.room(id); room != nil {
			return nil
		}
		if err := s.clearWay(ctx, id); err != nil {
			return err
		}
		room, err = s.create(ctx, &registryv1.Room{
			Id:         id,
			Name:       id,
			Visibility: registryv1.Visibility_VISIBILITY_PRIVATE,
			Persistent: true,
			CreatedAt:  timestamppb.Now(),
			Direct:     two,
		})
		made = err == nil
		return err
	})
	if err != nil {
		return nil, err
	}
	if made {
		for _, one := range two {
			s.tellGiven(room, one.Id, a.user)
		}
	}
	return room, nil
}

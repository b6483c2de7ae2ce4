package session

import (
	"context"

	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// userInRoom is a request about a user's standing in a room.
type userInRoom interface {
	GetRoomId() string
	GetUserId() string
}

// standingCommand has the registry act on a user's standing in a room. The
// registry says who may, and tells all gateways. check looks at what the request
// has beside the room and the user; nil where that is nothing.
func standingCommand[R userInRoom](get func(*wirev1.ClientFrame) R, check func(R) error, do func(context.Context, registryv1.RegistryClient, R, *registryv1.Actor) error) *command {
	return &command{
		slow: true,
		room: func(f *wirev1.ClientFrame) string { return get(f).GetRoomId() },
		check: func(_ *Session, f *wirev1.ClientFrame) error {
			r := get(f)
			if err := ids.CheckRoom("roomId", r.GetRoomId()); err != nil {
				return err
			}
			if err := ids.CheckUser("userId", r.GetUserId()); err != nil || check == nil {
				return err
			}
			return check(r)
		},
		run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
			if err := do(ctx, s.hub.opts.Registry, get(f), s.who().actor()); err != nil {
				return err
			}
			s.done(f, get(f).GetRoomId())
			return nil
		},
	}
}

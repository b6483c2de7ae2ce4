package session

import (
	"bytes"
	"context"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const maxRoomName = 128 // characters

var createRoomCommand = &command{
	slow: true,
	room: func(f *wirev1.ClientFrame) string { return f.GetCreateRoom().RoomId },
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		c := f.GetCreateRoom()
		if err := ids.CheckNewRoom("roomId", c.RoomId); err != nil {
			return err
		}
		if c.Name != nil {
			if *c.Name == "" {
				return errs.Invalid("name", "is empty")
			}
			if err := checkLine("name", *c.Name, maxRoomName); err != nil {
				return err
			}
		}
		if err := checkLine("topic", c.GetTopic(), maxTopic); err != nil {
			return err
		}
		if err := checkAttributes(c.Attributes); err != nil {
			return err
		}
		if _, err := rights.Asked(c.Policy); err != nil {
			return err
		}
		_, err := visibility(c.Visibility)
		return err
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		c := f.GetCreateRoom()
		v, err := visibility(c.Visibility)
		if err != nil {
			return err
		}
		policy, err := rights.Asked(c.Policy)
		if err != nil {
			return err
		}
		_, err = s.hub.opts.Registry.CreateRoom(ctx, &registryv1.CreateRoomRequest{
			RoomId: c.RoomId, Name: c.GetName(), Topic: c.GetTopic(), Visibility: v, Persistent: c.GetPersistent(),
			Attributes: c.Attributes, Policy: policy, Actor: s.who().actor(),
		})
		exists := errs.CodeOf(err) == errs.AlreadyExists
		if err != nil && !exists {
			return err
		}
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_RoomCreated{RoomCreated: &wirev1.RoomCreated{
			RoomId: c.RoomId, Success: !exists,
		}}})
		return nil
	},
}

// checkAttributes looks at what an application keeps with a room. The registry
// bounds what that comes to.
func checkAttributes(value []byte) error {
	if value != nil && !bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("{")) {
		return errs.Invalid("attributes", "are not a JSON object")
	}
	return nil
}

func visibility(word *string) (registryv1.Visibility, error) {
	switch {
	case word == nil, *word == "public":
		return registryv1.Visibility_VISIBILITY_PUBLIC, nil
	case *word == "private":
		return registryv1.Visibility_VISIBILITY_PRIVATE, nil
	}
	return 0, errs.Invalid("visibility", `is neither "public" nor "private"`)
}

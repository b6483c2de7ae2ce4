package session

import (
	"context"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const maxTopic = 256 // characters

// updateRoomCommand changes a room's record; the registry says who may, and
// tells the members.
var updateRoomCommand = &command{
	slow: true,
	room: func(f *wirev1.ClientFrame) string { return f.GetUpdateRoom().RoomId },
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		u := f.GetUpdateRoom()
		if err := ids.CheckRoom("roomId", u.RoomId); err != nil {
			return err
		}
		if u.Name != nil && *u.Name == "" {
			return errs.Invalid("name", "is empty")
		}
		if err := checkLine("name", u.GetName(), maxRoomName); err != nil {
			return err
		}
		if err := checkLine("topic", u.GetTopic(), maxTopic); err != nil {
			return err
		}
		if err := checkAttributes(u.Attributes); err != nil {
			return err
		}
		if u.Revision != nil && *u.Revision < 1 {
			return errs.Invalid("revision", "is less than 1")
		}
		if _, err := rights.Asked(u.Policy); err != nil {
			return err
		}
		_, err := visibility(u.Visibility)
		return err
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		u := f.GetUpdateRoom()
		policy, err := rights.Asked(u.Policy)
		if err != nil {
			return err
		}
		request := &registryv1.UpdateRoomRequest{
			RoomId: u.RoomId, Name: u.Name, Topic: u.Topic, Persistent: u.Persistent,
			Attributes: u.Attributes, Policy: policy, Revision: uint64(u.GetRevision()), Actor: s.who().actor(),
		}
		if u.Visibility != nil {
			v, err := visibility(u.Visibility)
			if err != nil {
				return err
			}
			request.Visibility = &v
		}
		if _, err := s.hub.opts.Registry.UpdateRoom(ctx, request); err != nil {
			return err
		}
		s.done(f, u.RoomId)
		return nil
	},
}

// deleteRoomCommand ends a room; the registry says who may, and tells the
// members.
var deleteRoomCommand = &command{
	slow: true,
	room: func(f *wirev1.ClientFrame) string { return f.GetDeleteRoom().RoomId },
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		return ids.CheckRoom("roomId", f.GetDeleteRoom().RoomId)
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		room := f.GetDeleteRoom().RoomId
		if _, err := s.hub.opts.Registry.DeleteRoom(ctx, &registryv1.DeleteRoomRequest{RoomId: room, Actor: s.who().actor()}); err != nil {
			return err
		}
		s.done(f, room)
		return nil
	},
}

// done acknowledges a request that has changed something about a room.
func (s *Session) done(f *wirev1.ClientFrame, room string) {
	if f.Id != nil {
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_Ack{Ack: &wirev1.Ack{RoomId: room}}})
	}
}

package session

import (
	"context"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

var leaveRoomCommand = &command{
	room: func(f *wirev1.ClientFrame) string { return f.GetLeaveRoom().RoomId },
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		room := f.GetLeaveRoom().RoomId
		if err := ids.CheckRoom("roomId", room); err != nil {
			return err
		}
		return notLobby("roomId", room, "cannot be left")
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		room := f.GetLeaveRoom().RoomId
		place := s.room(room)
		if place == nil {
			return notJoined(room)
		}
		s.hub.opts.Rooms.Leave(ctx, place)
		s.forget(room)
		// Delivered, not replied: it comes behind what is collected of the room.
		f2 := &wirev1.ServerFrame{Id: f.Id, Event: &wirev1.ServerFrame_RoomLeft{RoomLeft: &wirev1.RoomLeft{RoomId: room}}}
		s.deliverReply(f2)
		return nil
	},
}

func notJoined(room string) error {
	return errs.New(errs.NotJoined, "you are not in room %q", room)
}

package session

import (
	"context"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const maxEvent = 64 // characters

var signalCommand = &command{
	room: func(f *wirev1.ClientFrame) string { return f.GetSignal().RoomId },
	check: func(s *Session, f *wirev1.ClientFrame) error {
		signal := f.GetSignal()
		if err := ids.CheckRoom("roomId", signal.RoomId); err != nil {
			return err
		}
		if signal.Event == "" {
			return errs.Invalid("event", "is missing")
		}
		if err := checkLine("event", signal.Event, maxEvent); err != nil {
			return err
		}
		return s.checkData(signal.Data)
	},
	run: func(_ context.Context, s *Session, f *wirev1.ClientFrame) error {
		signal := f.GetSignal()
		if _, err := s.may(rights.Signal, signal.RoomId); err != nil {
			return err
		}
		err := s.hub.opts.Bus.PublishLive(signal.RoomId, &busv1.LiveEvent{Event: &busv1.LiveEvent_Signal{Signal: &busv1.LiveSignal{
			SessionId: s.SessionID(), User: s.who().User, Event: signal.Event, Data: signal.Data,
		}}})
		if err != nil {
			return errs.Missing("the room", err)
		}
		return nil
	},
}

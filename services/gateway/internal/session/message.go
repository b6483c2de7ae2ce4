package session

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
	"github.com/parley-im/parley/services/gateway/internal/fanout"
)

var chatMessageCommand = messageCommand(busv1.LogEntry_KIND_CHAT_MESSAGE, (*wirev1.ClientFrame).GetChatMessage)
var roomMessageCommand = messageCommand(busv1.LogEntry_KIND_ROOM_MESSAGE, (*wirev1.ClientFrame).GetRoomMessage)

// messageCommand stores a message in a room that the session is in.
func messageCommand(kind busv1.LogEntry_Kind, get func(*wirev1.ClientFrame) *wirev1.SendMessage) *command {
	return &command{
		publishes: true, later: true,
		room: func(f *wirev1.ClientFrame) string { return get(f).RoomId },
		check: func(s *Session, f *wirev1.ClientFrame) error {
			m := get(f)
			if err := ids.CheckRoom("roomId", m.RoomId); err != nil {
				return err
			}
			if m.RoomId == ids.Lobby && m.Data != nil {
				return errs.Invalid("data", "has no place in the lobby, whose messages are text")
			}
			return s.checkContent(m.Content, m.Data)
		},
		run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
			m := get(f)
			return s.publish(ctx, f.Id, m.RoomId, &busv1.LogEntry{Kind: kind, Content: m.Content, Data: m.Data})
		},
	}
}

// chatCommand stores a message in the lobby.
var chatCommand = &command{
	publishes: true, later: true,
	room: func(*wirev1.ClientFrame) string { return ids.Lobby },
	check: func(s *Session, f *wirev1.ClientFrame) error {
		text := f.GetChat().Message
		if text == "" {
			return errs.Invalid("message", "is missing")
		}
		return s.checkText("message", text)
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		return s.publish(ctx, f.Id, ids.Lobby, &busv1.LogEntry{
			Kind: busv1.LogEntry_KIND_CHAT_MESSAGE, Content: proto.String(f.GetChat().Message),
		})
	},
}

// publish stores an entry in a room's log and acknowledges it once the log has
// it; members get it from there. It waits while the session has too many on
// their way, which makes the client wait too. ctx tells the trace, which ends
// with the answer.
func (s *Session) publish(ctx context.Context, id *string, room string, entry *busv1.LogEntry) error {
	if _, err := s.may(rights.Post, room); err != nil {
		return err
	}
	if err := s.mayPublish(ctx, id, room, entry); err != nil {
		return err
	}
	user := s.who().User
	began := s.hub.now()
	entry.User, entry.Id, entry.TimeMs = user, "", time.Now().UnixMilli()
	var unique string
	if id != nil {
		entry.Id = *id
		unique = ids.Message(room, user.Id, *id)
	}
	if !s.flight.take() {
		s.traced(ctx, nil)
		return nil // the connection is closing; what comes now has no effect
	}
	s.hub.opts.Rooms.Publish(ctx, room, unique, entry, func(f *conn.Flusher, ack bus.Ack, err error) {
		defer s.flight.give() // behind the answer
		s.hub.published(began, err)
		defer s.traced(ctx, err)
		if err != nil {
			s.failed(ctx, id, err)
			return
		}
		if id == nil {
			return
		}
		answer := s.hub.ack(room, ack.Seq, ack.Duplicate)
		if !ack.Duplicate {
			answer.Timestamp = timestamppb.New(time.UnixMilli(entry.TimeMs))
		}
		s.send(fanout.NewOutgoing(&wirev1.ServerFrame{Id: id, Event: &wirev1.ServerFrame_Ack{Ack: answer}}), f)
	})
	return nil
}

// ack says that something is stored, and how safely.
func (h *Hub) ack(room string, seq uint64, duplicate bool) *wirev1.Ack {
	ack := &wirev1.Ack{RoomId: room, Seq: proto.Int64(int64(seq)), Duplicate: duplicate}
	durability := h.opts.Bus.Durability()
	if durability.Kept != "" {
		ack.Durability = &durability.Kept
	}
	if durability.Synced {
		ack.Synced = &durability.Synced
	}
	return ack
}

// deliverReply sends a reply behind what is collected of its room.
func (s *Session) deliverReply(f *wirev1.ServerFrame) {
	if out := fanout.NewOutgoing(f); !s.gate.hold(out) {
		s.pass(out, nil)
	}
}

package history

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

// message writes an entry of the log as callers see it. Edits and deletions
// are messages of their own; readers fold them.
func message(s bus.Stored) *historyv1.Message {
	e := s.Entry
	return &historyv1.Message{
		RoomId:    s.Room,
		Seq:       s.Seq,
		Kind:      kind(e.Kind),
		Id:        e.Id,
		User:      e.User,
		Content:   e.Content,
		Data:      e.Data,
		Timestamp: timestamppb.New(time.UnixMilli(e.TimeMs)),
		Target:    e.Target,
	}
}

func kind(k busv1.LogEntry_Kind) historyv1.Message_Kind {
	switch k {
	case busv1.LogEntry_KIND_CHAT_MESSAGE:
		return historyv1.Message_KIND_CHAT_MESSAGE
	case busv1.LogEntry_KIND_ROOM_MESSAGE:
		return historyv1.Message_KIND_ROOM_MESSAGE
	case busv1.LogEntry_KIND_EDIT:
		return historyv1.Message_KIND_EDIT
	case busv1.LogEntry_KIND_DELETION:
		return historyv1.Message_KIND_DELETION
	}
	return historyv1.Message_KIND_UNSPECIFIED // of a newer version
}

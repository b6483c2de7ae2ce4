package session

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/fanout"
)

var getHistoryCommand = &command{
	slow: true, history: true,
	room: func(f *wirev1.ClientFrame) string { return f.GetGetHistory().RoomId },
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		g := f.GetGetHistory()
		if err := ids.CheckRoom("roomId", g.RoomId); err != nil {
			return err
		}
		if err := checkSeq("before", g.Before); err != nil {
			return err
		}
		if err := checkSeq("after", g.After); err != nil {
			return err
		}
		if g.Before != nil && g.After != nil {
			return errs.Invalid("before", "is given together with after")
		}
		_, err := checkLimit("limit", g.Limit, 1, defaultMessages)
		return err
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		g := f.GetGetHistory()
		limit, err := checkLimit("limit", g.Limit, 1, defaultMessages)
		if err != nil {
			return err
		}
		keep := uint32(0)
		if place := s.room(g.RoomId); place != nil {
			keep = place.Keep()
		} else {
			// A public room is open to everybody unless its policy says
			// otherwise, a private one to those who belong to it; for others it
			// does not exist.
			record, err := s.hub.opts.Registry.GetRoom(ctx, &registryv1.GetRoomRequest{RoomId: g.RoomId, Actor: s.who().actor(), Read: true})
			if err != nil {
				return err
			}
			keep = record.GetPolicy().GetRetention()
		}
		if keep > 0 { // fewer than the deployment: what is beyond goes now
			if _, err := s.hub.opts.History.Trim(ctx, &historyv1.TrimRequest{RoomId: g.RoomId, Keep: keep}); err != nil {
				return err
			}
			limit = min(limit, int(keep)) // a replica of the log may lag
		}
		request := &historyv1.ListMessagesRequest{RoomId: g.RoomId, Limit: int32(limit)}
		answer := &wirev1.MessageHistory{RoomId: g.RoomId}
		switch {
		case g.After != nil:
			request.After = proto.Uint64(uint64(*g.After))
		case g.Before != nil && *g.Before <= 1:
			// Nothing has a seq below 1, and 0 would ask for the newest.
			s.replyHistory(f.Id, answer)
			return nil
		case g.Before != nil:
			request.Before = uint64(*g.Before)
		}
		page, err := s.hub.opts.History.ListMessages(ctx, request)
		if err != nil {
			return err
		}
		for _, m := range page.Messages {
			answer.Messages = append(answer.Messages, fanout.Event(stored(m)))
		}
		answer.HasMore = page.HasMore
		s.replyHistory(f.Id, answer)
		return nil
	},
}

func (s *Session) replyHistory(id *string, history *wirev1.MessageHistory) {
	s.send(&fanout.Outgoing{History: true, Frame: &wirev1.ServerFrame{
		Id: id, Event: &wirev1.ServerFrame_MessageHistory{MessageHistory: history},
	}}, nil)
}

// stored turns what history tells back into what the log holds.
func stored(m *historyv1.Message) bus.Stored {
	return bus.Stored{Room: m.RoomId, Seq: m.Seq, Entry: &busv1.LogEntry{
		Kind:    busv1.LogEntry_Kind(m.Kind), // the same numbers
		Id:      m.Id,
		User:    m.User,
		Content: m.Content,
		Data:    m.Data,
		TimeMs:  m.Timestamp.AsTime().UnixMilli(),
		Target:  m.Target,
	}}
}

package events

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

func logName(shard int) string { return "log-" + strconv.Itoa(shard) }

// followLog makes events of one shard of the log, until ctx ends or a failure.
func (m *maker) followLog(ctx context.Context, shard int) error {
	name := logName(shard)
	at, told := m.state.source(name)
	if !told {
		// Events begin here; of what was said before nobody has been promised any.
		tail, err := m.s.bus.ShardTail(ctx, shard)
		if err != nil {
			return err
		}
		at = place{seq: tail}
		var begin []*eventsv1.Event
		if tail > 0 {
			begin = append(begin, m.gap(name, 1, tail, at, time.Now()))
		}
		if err := m.emit(ctx, name, at, begin); err != nil {
			return err
		}
	}
	reader := m.s.bus.ReadLog(shard, at.seq)
	defer reader.Close()
	last := at.seq
	var lastStored time.Time
	for {
		var events []*eventsv1.Event
		for size, more := 0, true; more; {
			stored, read, err := reader.Next(ctx)
			if err != nil {
				return err
			}
			if read.Seq > last+1 {
				dropped, err := m.dropped(ctx, shard, last+1, lastStored)
				if err != nil {
					return err
				}
				if dropped {
					events = append(events, m.gap(name, last+1, read.Seq-1, place{seq: read.Seq - 1}, read.Stored))
				}
			}
			last, lastStored = read.Seq, read.Stored
			if event := m.message(name, stored, read); event != nil {
				if stored.Entry.Kind == busv1.LogEntry_KIND_DELETION && !strip(events, stored.Room, stored.Entry.Target) {
					if err := m.eraseMessage(ctx, stored.Room, stored.Entry.Target); err != nil {
						return err
					}
				}
				events = append(events, event)
				size += len(stored.Entry.GetContent()) + len(stored.Entry.GetData())
			}
			more = read.Pending > 0 && len(events) < batchEvents && size < batchBytes
			m.s.noteLag(shard, read.Pending)
		}
		if err := m.emit(ctx, name, place{seq: last}, events); err != nil {
			return err
		}
	}
}

// dropped says whether entries that are not in the log any more, from a seq on,
// may have fallen to its limits. Otherwise they were erased, and what has erased
// them is told.
//
// A room's oldest entry falls when there are `retention` newer ones in it: not
// before the shard has given away as many seqs behind it. before is when the
// entry in front of them was stored.
func (m *maker) dropped(ctx context.Context, shard int, from uint64, before time.Time) (bool, error) {
	limits, err := m.s.bus.LogLimits(ctx)
	if err != nil {
		return false, err
	}
	if limits.MaxAge > 0 && time.Since(before) >= limits.MaxAge {
		return true, nil
	}
	if limits.Retention <= 0 {
		return false, nil
	}
	tail, err := m.s.bus.ShardTail(ctx, shard)
	return tail >= from+uint64(limits.Retention), err
}

// message makes the event of an entry; nil for what is not to be told.
func (m *maker) message(source string, stored bus.Stored, read bus.Place) *eventsv1.Event {
	e := stored.Entry
	if e == nil {
		return nil
	}
	event := &eventsv1.Event{
		Id: m.eventID(source, stored.Seq), Time: timestamppb.New(read.Stored),
		Source: &eventsv1.Source{Name: source, Seq: stored.Seq},
	}
	told := &eventsv1.MessageEvent{Message: &historyv1.Message{
		RoomId: stored.Room, Seq: stored.Seq, Id: e.Id, User: e.User, Content: e.Content, Data: e.Data,
		Timestamp: timestamppb.New(time.UnixMilli(e.TimeMs)), Target: e.Target,
	}}
	switch e.Kind {
	case busv1.LogEntry_KIND_CHAT_MESSAGE:
		told.Message.Kind = historyv1.Message_KIND_CHAT_MESSAGE
		event.Event = &eventsv1.Event_MessageStored{MessageStored: told}
	case busv1.LogEntry_KIND_ROOM_MESSAGE:
		told.Message.Kind = historyv1.Message_KIND_ROOM_MESSAGE
		event.Event = &eventsv1.Event_MessageStored{MessageStored: told}
	case busv1.LogEntry_KIND_EDIT:
		told.Message.Kind = historyv1.Message_KIND_EDIT
		event.Event = &eventsv1.Event_MessageEdited{MessageEdited: told}
	case busv1.LogEntry_KIND_DELETION:
		told.Message.Kind = historyv1.Message_KIND_DELETION
		event.Event = &eventsv1.Event_MessageDeleted{MessageDeleted: told}
	default:
		return nil // of a newer version
	}
	return event
}

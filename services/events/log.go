package events

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/run"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

func logName(shard int) string { return "log-" + strconv.Itoa(shard) }

// follows is how long a batch is kept for what was still to come when NATS sent
// the one before: it may have been erased since, and then nothing comes.
const follows = 50 * time.Millisecond

// followLog makes events of one shard of the log, until ctx ends or a failure.
func (m *maker) followLog(ctx context.Context, shard int) error {
	name := logName(shard)
	at, err := m.startLog(ctx, shard)
	if err != nil {
		return err
	}
	reader := m.s.bus.ReadLog(shard, at.seq)
	defer reader.Close()
	last := at.seq
	var lastStored time.Time
	for {
		var events []*eventsv1.Event
		wait := time.Duration(0) // for the first, as long as it takes
		for size, more := 0, true; more; wait = follows {
			stored, read, err := reader.Next(ctx, wait)
			if errors.Is(err, bus.ErrQuiet) {
				break
			}
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

// confirm is how long a log that is shorter than what was told of it is given to
// turn out not to be.
const confirm = time.Second

// startLog gives where to read on, when it is certain that nothing is missing
// silently: of a log that was told of, what fell to its limits while it was not
// read is told at once, for it may be long until there is something behind it.
func (m *maker) startLog(ctx context.Context, shard int) (at place, err error) {
	name := logName(shard)
	first, last, err := m.s.bus.ShardBounds(ctx, shard)
	if err != nil {
		return at, err
	}
	at, told := m.state.source(name)
	if told && last < at.seq {
		// Not by a leader that was elected only now.
		run.Sleep(ctx, confirm)
		if first, last, err = m.s.bus.ShardBounds(ctx, shard); err != nil {
			return at, err
		}
	}
	var missing []*eventsv1.Event
	switch {
	case !told:
		// Events begin here; of what was said before nobody has been promised any.
		if at.seq = last; last > 0 {
			missing = append(missing, m.gap(name, 1, last, at, time.Now()))
		}
	case last < at.seq:
		// The log was restored, or has lost its end: its seqs are given away anew.
		end := place{seq: last}
		missing = append(missing, m.gap(name, last+1, at.seq, end, time.Now()))
		at = end
	case first > at.seq+1:
		fallen, err := m.dropped(ctx, shard, at.seq+1, time.Time{})
		if err != nil {
			return at, err
		}
		if !fallen {
			return at, nil
		}
		end := place{seq: first - 1}
		missing = append(missing, m.gap(name, at.seq+1, end.seq, end, time.Now()))
		at = end
	default:
		return at, nil
	}
	if err := m.emit(ctx, name, at, missing); err != nil || told {
		return at, err
	}
	// What comes now is promised: a successor must not begin behind it.
	return at, m.state.save(ctx, m.kv)
}

// dropped says whether entries that are not in the log any more, from a seq on,
// may have fallen to its limits. Otherwise they were erased, and what has erased
// them is told.
//
// A room's oldest entry falls when there are `retention` newer ones in it: not
// before the shard has given away as many seqs behind it. before is when the
// entry in front of them was stored.
func (m *maker) dropped(ctx context.Context, shard int, from uint64, before time.Time) (bool, error) {
	limits, err := m.s.bus.LogLimits(ctx, shard)
	if err != nil {
		return false, err
	}
	if limits.MaxAge > 0 && time.Since(before) >= limits.MaxAge {
		return true, nil
	}
	if limits.Retention <= 0 {
		return false, nil
	}
	_, tail, err := m.s.bus.ShardBounds(ctx, shard)
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

package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/ids"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
)

// What is erased from the log is erased from the events too, before it is told
// that it is gone: a failure in between is made good by doing both again.

const (
	kindStored = "message.stored"
	kindEdited = "message.edited"
)

// strip takes content and data out of events that are not stored yet and about
// a message that is deleted; true if the message itself was among them, and so
// nothing of it is stored.
func strip(events []*eventsv1.Event, room string, target uint64) (found bool) {
	for _, e := range events {
		for _, about := range []*eventsv1.MessageEvent{e.GetMessageStored(), e.GetMessageEdited()} {
			message := about.GetMessage()
			if message == nil || message.RoomId != room || message.Seq != target && message.Target != target {
				continue
			}
			message.Content, message.Data = nil, nil
			found = found || message.Seq == target
		}
	}
	return found
}

// eraseMessage takes a message and all edits of it out of the events.
func (m *maker) eraseMessage(ctx context.Context, room string, target uint64) error {
	b := m.s.bus
	first, _, last, err := b.EventsState(ctx)
	if err != nil {
		return err
	}
	at, err := b.SearchEvent(ctx, kindStored, room, first, last+1, func(e *eventsv1.Event) bool {
		return e.GetMessageStored().GetMessage().GetSeq() >= target
	})
	if err != nil {
		return err
	}
	event, err := b.NextEvent(ctx, kindStored, room, at)
	if err != nil {
		return err
	}
	if event != nil && event.GetMessageStored().GetMessage().GetSeq() == target {
		if err := b.EraseEvent(ctx, event.Position); err != nil {
			return err
		}
		m.s.metrics.erased.Add(ctx, 1)
	} else {
		at = first // the message has gone by age, maybe not its edits
	}
	return m.eraseEdits(ctx, room, target, at)
}

// eraseEdits takes the edits of a message out of the events, which are behind a
// position.
func (m *maker) eraseEdits(ctx context.Context, room string, target, after uint64) error {
	b := m.s.bus
	last, err := b.LastEvent(ctx, kindEdited, room)
	if err != nil || last <= after {
		return err
	}
	reader := b.ReadEvents(after, bus.EventSubjects([]string{kindEdited}, []string{room}, nil))
	defer reader.Close()
	for position := after; position < last; {
		event, _, err := reader.Next(ctx, time.Second)
		if errors.Is(err, bus.ErrQuiet) { // some of them may have gone meanwhile
			if last, err = b.LastEvent(ctx, kindEdited, room); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("looking for edits of %d in %s: %w", target, room, err)
		}
		position = event.Position
		if event.GetMessageEdited().GetMessage().GetTarget() != target {
			continue
		}
		if err := b.EraseEvent(ctx, position); err != nil {
			return err
		}
		m.s.metrics.erased.Add(ctx, 1)
	}
	return nil
}

// eraseRoom takes the messages of a life of a room that has ended out of the
// events. The room may have been made anew, and talked in, before this is read;
// ended is when the end was copied, which may be after that too.
func (m *maker) eraseRoom(ctx context.Context, room string, ended time.Time) error {
	b := m.s.bus
	first, _, last, err := b.EventsState(ctx)
	if err != nil {
		return err
	}
	// In this order: what is told up to last is of earlier lives if there is no
	// later one now.
	anew, err := m.exists(ctx, room)
	if err != nil {
		return err
	}
	stays := func(*eventsv1.Event) bool { return false }
	if anew {
		// Nobody makes a room before the log is rid of its earlier lives. So what
		// the log has stays; and what this life has lost to retention is younger
		// than the end.
		kept, err := b.First(ctx, room)
		if err != nil {
			return err
		}
		stays = func(e *eventsv1.Event) bool {
			message := cmp.Or(e.GetMessageStored(), e.GetMessageEdited()).GetMessage()
			return kept > 0 && message.GetSeq() >= kept || !e.Time.AsTime().Before(ended)
		}
	}
	for _, kind := range []string{kindStored, kindEdited} {
		until, err := b.SearchEvent(ctx, kind, room, first, last+1, stays)
		if err != nil {
			return err
		}
		if err := b.EraseEvents(ctx, kind, room, until); err != nil {
			return err
		}
	}
	return nil
}

// exists says whether a room is there now.
func (m *maker) exists(ctx context.Context, room string) (bool, error) {
	kv, err := m.s.bus.Bucket(ctx, bus.Rooms)
	if err != nil {
		return false, err
	}
	_, err = kv.Get(ctx, "r."+ids.Token(room)) // services/registry/keys.go
	if errors.Is(err, bus.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

package events

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-im/parley/pkg/bus"
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
		if err != nil {
			return fmt.Errorf("looking for edits of %d in %s: %w", target, room, err)
		}
		if event == nil { // some of them may have gone meanwhile
			if last, err = b.LastEvent(ctx, kindEdited, room); err != nil {
				return err
			}
			continue
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

// eraseRoom takes all messages of a room out of the events that were stored
// before it ended; those behind are another life's.
func (m *maker) eraseRoom(ctx context.Context, room string, ended time.Time) error {
	b := m.s.bus
	first, _, last, err := b.EventsState(ctx)
	if err != nil {
		return err
	}
	for _, kind := range []string{kindStored, kindEdited} {
		until, err := b.SearchEvent(ctx, kind, room, first, last+1, func(e *eventsv1.Event) bool {
			return !e.Time.AsTime().Before(ended)
		})
		if err != nil {
			return err
		}
		if err := b.EraseEvents(ctx, kind, room, until); err != nil {
			return err
		}
	}
	return nil
}

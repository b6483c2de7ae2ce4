package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const sourceRooms = "rooms"

// followRooms makes events of the changes of the bucket of rooms, until ctx ends
// or a failure.
func (m *maker) followRooms(ctx context.Context) error {
	at, told := m.state.source(sourceRooms)
	if !told {
		begin, err := m.s.bus.ChangesBegin(ctx)
		if err != nil {
			return err
		}
		at.revision = begin - 1
	}
	reader := m.s.bus.ReadChanges(at.seq)
	defer reader.Close()
	for {
		var events []*eventsv1.Event
		wait := time.Duration(0) // for the first, as long as it takes
		for more := true; more; wait = follows {
			change, read, err := reader.Next(ctx, wait)
			if errors.Is(err, bus.ErrQuiet) {
				break
			}
			if err != nil {
				return err
			}
			made, err := m.change(ctx, change, read, at)
			if err != nil {
				return err
			}
			events = append(events, made...)
			at = place{read.Seq, change.Revision}
			more = read.Pending > 0 && len(events) < batchEvents
		}
		if err := m.emit(ctx, sourceRooms, at, events); err != nil {
			return err
		}
	}
}

// change makes the events of one change. at is the place of the one before:
// revisions in between were over before NATS could copy them.
//
// Each event names the place up to which all is told with it, so a failure
// between any two of them goes on with the next.
func (m *maker) change(ctx context.Context, change bus.Change, read bus.Place, at place) ([]*eventsv1.Event, error) {
	event := m.roomEvent(place{read.Seq, change.Revision}, change)
	var events []*eventsv1.Event
	next := at.revision + 1
	// missed tells that the revisions up to one are not there.
	missed := func(upTo uint64) {
		if next <= upTo {
			events = append(events, m.gap(sourceRooms, next, upTo, place{read.Seq - 1, upTo}, change.Stored))
		}
	}
	switch {
	case change.Kind == "r" && (len(change.Value) > 0 || change.Deleted):
		room, err := m.room(change)
		if err != nil {
			m.s.log.Error("passed over a record", "key", change.Key, "error", err)
			break
		}
		created := &eventsv1.Event_RoomCreated{RoomCreated: &eventsv1.RoomEvent{Room: room}}
		if c := room.CreationRevision; next <= c && c < change.Revision {
			// The record as it was made is not there any more, but that it was is
			// in the later one.
			missed(c - 1)
			before := m.roomEvent(place{read.Seq - 1, c}, change)
			before.Event = created
			events = append(events, before)
			next = c + 1
		}
		switch {
		case change.Deleted:
			if err := m.eraseRoom(ctx, change.Room, change.Stored); err != nil {
				return nil, err
			}
			event.Event = &eventsv1.Event_RoomDeleted{RoomDeleted: &eventsv1.RoomEvent{Room: room}}
		case room.CreationRevision == change.Revision:
			event.Event = created
		default:
			event.Event = &eventsv1.Event_RoomUpdated{RoomUpdated: &eventsv1.RoomEvent{Room: room}}
		}
	case change.Kind == "e" && change.Deleted:
		// What was on its way into the log when the room ended is erased by now.
		if err := m.eraseRoom(ctx, change.Room, change.Stored); err != nil {
			return nil, err
		}
	case change.Kind == "m" && len(change.Value) > 0:
		member := new(registryv1.Member)
		if err := proto.Unmarshal(change.Value, member); err != nil {
			m.s.log.Error("passed over a record", "key", change.Key, "error", err)
			break
		}
		moderated(event, change, member)
	}
	missed(change.Revision - 1)
	if event.Event != nil {
		events = append(events, event)
	}
	return events, nil
}

// roomEvent makes an event without saying what has happened.
func (m *maker) roomEvent(at place, change bus.Change) *eventsv1.Event {
	return &eventsv1.Event{
		Id: m.eventID(sourceRooms, at.revision), Time: timestamppb.New(change.Stored),
		Source: &eventsv1.Source{Name: sourceRooms, Seq: at.seq, Revision: at.revision},
	}
}

// room reads a record as the registry tells it (services/registry/keys.go).
func (m *maker) room(change bus.Change) (*registryv1.Room, error) {
	room := new(registryv1.Room)
	if err := proto.Unmarshal(change.Value, room); err != nil {
		return nil, fmt.Errorf("decoding a room: %w", err)
	}
	room.Id = change.Room // of one deleted by an older version it is all there is
	if len(change.Value) == 0 {
		return room, nil
	}
	if room.CreationRevision == 0 {
		room.CreationRevision = change.Revision
	}
	room.Revision = change.Revision
	room.Epoch = m.s.bus.Epoch(room.CreationRevision)
	return room, nil
}

// moderated says what was done to a standing; nothing of one that was not
// changed by anybody.
func moderated(event *eventsv1.Event, change bus.Change, member *registryv1.Member) {
	done := member.GetChange()
	told := &eventsv1.ModerationEvent{RoomId: change.Room, Member: member, By: done.GetBy(), Reason: done.GetReason()}
	if member.User == nil {
		member.User = &wirev1.User{Id: change.User}
	}
	switch done.GetKind() {
	case registryv1.StandingChange_KIND_KICK:
		event.Event = &eventsv1.Event_ModerationKicked{ModerationKicked: told}
	case registryv1.StandingChange_KIND_BAN:
		event.Event = &eventsv1.Event_ModerationBanned{ModerationBanned: told}
	case registryv1.StandingChange_KIND_UNBAN:
		event.Event = &eventsv1.Event_ModerationUnbanned{ModerationUnbanned: told}
	case registryv1.StandingChange_KIND_MUTE:
		event.Event = &eventsv1.Event_ModerationMuted{ModerationMuted: told}
	case registryv1.StandingChange_KIND_UNMUTE:
		event.Event = &eventsv1.Event_ModerationUnmuted{ModerationUnmuted: told}
	case registryv1.StandingChange_KIND_ROLE:
		event.Event = &eventsv1.Event_ModerationRole{ModerationRole: told}
	}
	member.Change, member.Revision = nil, change.Revision // the change is told beside it
	if change.Deleted {
		member.Revision = 0
	}
}

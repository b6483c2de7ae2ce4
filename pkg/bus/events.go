package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
)

// EventsConfig says how much of the events is kept.
type EventsConfig struct {
	// MaxAge is how long an event is kept, and how long a change of a room can
	// wait to be made one; default 72 h.
	MaxAge time.Duration
	// MaxBytes bounds the events; 0 does not.
	MaxBytes int64
}

// Complete puts in what is not set.
func (c *EventsConfig) Complete() error {
	if c.MaxAge == 0 {
		c.MaxAge = 72 * time.Hour
	}
	switch {
	case c.MaxAge < time.Second:
		return fmt.Errorf("events-max-age: %s is less than 1s", c.MaxAge)
	case c.MaxBytes < 0:
		return fmt.Errorf("events-max-bytes: %d is negative", c.MaxBytes)
	}
	return nil
}

// EnsureEvents makes the streams of the events and of the changes that they are
// made of, or brings those that are there to this configuration. New ones begin
// with what happens from now on.
func (b *Bus) EnsureEvents(ctx context.Context, c EventsConfig) error {
	if err := c.Complete(); err != nil {
		return err
	}
	events := jetstream.StreamConfig{
		Name:        streamEvents,
		Description: "What happened in Parley, for back ends: proto/events/v1.",
		Subjects:    []string{subjectEvents + ">"},
		Storage:     jetstream.FileStorage,
		Replicas:    b.opts.Replicas,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxMsgs:     -1, MaxMsgsPerSubject: -1, MaxBytes: -1,
		MaxAge:      c.MaxAge,
		AllowDirect: true,
		// Who writes names the sequence that it expects: nothing is there twice.
		Duplicates:         time.Second,
		AllowAtomicPublish: true, // of AppendEvents
	}
	if c.MaxBytes > 0 {
		events.MaxBytes = c.MaxBytes
	}
	if err := b.makeStream(ctx, events); err != nil {
		return err
	}
	if _, err := b.Bucket(ctx, Rooms); err != nil {
		return err
	}
	changes := jetstream.StreamConfig{
		Name:        streamChanges,
		Description: "Every revision of parley_rooms, copied by NATS.",
		Storage:     jetstream.FileStorage,
		Replicas:    b.opts.Replicas,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxMsgs:     -1, MaxMsgsPerSubject: -1, MaxBytes: -1,
		MaxAge:      c.MaxAge,
		AllowDirect: true,
	}
	// A stream that is there goes on where it is: another place to start from
	// would be another source.
	stream, err := b.js.Stream(ctx, streamChanges)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		origin, err := b.streamState(ctx, "KV_"+string(Rooms))
		if err != nil {
			return err
		}
		changes.Sources = []*jetstream.StreamSource{{Name: "KV_" + string(Rooms), OptStartSeq: origin.LastSeq + 1}}
	case err != nil:
		return fmt.Errorf("making stream %s: %w", streamChanges, err)
	default:
		changes.Sources = stream.CachedInfo().Config.Sources
	}
	return b.makeStream(ctx, changes)
}

// EventKind gives an event's kind, like "message.stored"; "" for one of a newer
// version.
func EventKind(e *eventsv1.Event) string {
	field := e.ProtoReflect().WhichOneof(eventOneof)
	if field == nil {
		return ""
	}
	return kindName(field)
}

var eventOneof = new(eventsv1.Event).ProtoReflect().Descriptor().Oneofs().ByName("event")

func kindName(field protoreflect.FieldDescriptor) string {
	return strings.Replace(string(field.Name()), "_", ".", 1)
}

// EventKinds lists the kinds of events.
func EventKinds() []string {
	fields := eventOneof.Fields()
	kinds := make([]string, fields.Len())
	for i := range kinds {
		kinds[i] = kindName(fields.Get(i))
	}
	return kinds
}

// eventSubject gives the subject that an event is stored under.
func eventSubject(e *eventsv1.Event) string {
	of := ""
	switch kind := e.Event.(type) {
	case *eventsv1.Event_RoomCreated:
		of = kind.RoomCreated.GetRoom().GetId()
	case *eventsv1.Event_RoomUpdated:
		of = kind.RoomUpdated.GetRoom().GetId()
	case *eventsv1.Event_RoomDeleted:
		of = kind.RoomDeleted.GetRoom().GetId()
	case *eventsv1.Event_MessageStored:
		of = kind.MessageStored.GetMessage().GetRoomId()
	case *eventsv1.Event_MessageEdited:
		of = kind.MessageEdited.GetMessage().GetRoomId()
	case *eventsv1.Event_MessageDeleted:
		of = kind.MessageDeleted.GetMessage().GetRoomId()
	case *eventsv1.Event_MemberJoined:
		of = kind.MemberJoined.GetRoomId()
	case *eventsv1.Event_MemberLeft:
		of = kind.MemberLeft.GetRoomId()
	case *eventsv1.Event_UserOnline:
		of = ids.Token(kind.UserOnline.GetUser().GetId())
	case *eventsv1.Event_UserOffline:
		of = ids.Token(kind.UserOffline.GetUser().GetId())
	case *eventsv1.Event_Gap:
		of = kind.Gap.GetSource()
	default:
		if m, ok := moderation(e); ok {
			of = m.GetRoomId()
		}
	}
	return subjectEvents + EventKind(e) + "." + of
}

func moderation(e *eventsv1.Event) (*eventsv1.ModerationEvent, bool) {
	field := e.ProtoReflect().WhichOneof(eventOneof)
	if field == nil {
		return nil, false
	}
	m, ok := e.ProtoReflect().Get(field).Message().Interface().(*eventsv1.ModerationEvent)
	return m, ok
}

// EventSubjects gives the subjects of some kinds ("message.stored", "message"
// for all of it; none for all) that are about some rooms or users; none for
// all.
func EventSubjects(kinds, rooms, users []string) []string {
	if len(kinds) == 0 {
		kinds = []string{"*"}
	}
	var subjects []string
	for _, kind := range kinds {
		family, _, whole := strings.Cut(kind, ".")
		if !whole {
			kind += ".*"
		}
		if family == "gap" {
			continue
		}
		if len(rooms) == 0 && len(users) == 0 {
			subjects = append(subjects, subjectEvents+kind+".*")
			continue
		}
		if family != "user" {
			for _, room := range rooms {
				subjects = append(subjects, subjectEvents+kind+"."+room)
			}
		}
		if family == "*" {
			family, kind = "user", "user.*"
		}
		if family == "user" {
			for _, user := range users {
				subjects = append(subjects, subjectEvents+kind+"."+ids.Token(user))
			}
		}
	}
	return append(subjects, subjectEvents+"gap.*")
}

// EventsState tells the first and the last position of the events that are
// kept, and which was given out last, as the leader knows it. 0 is none.
func (b *Bus) EventsState(ctx context.Context) (first, newest, last uint64, err error) {
	state, err := b.streamState(ctx, streamEvents)
	if err != nil {
		return 0, 0, 0, err
	}
	newest, err = b.eventAt(ctx, map[string]any{"last_by_subj": subjectEvents + ">"})
	return state.FirstSeq, newest, state.LastSeq, err
}

// eventAt asks the leader for an event and gives its position, 0 where there is
// none.
func (b *Bus) eventAt(ctx context.Context, which map[string]any) (uint64, error) {
	found, err := b.eventMessage(ctx, which)
	return found.Seq, err
}

type storedMessage struct {
	Seq  uint64 `json:"seq"`
	Hdrs []byte `json:"hdrs"`
	Data []byte `json:"data"`
}

// askTimeout bounds a question to the leader: one that it got while it was
// none any more is answered by nobody.
const askTimeout = 2 * time.Second

func (b *Bus) eventMessage(ctx context.Context, which map[string]any) (storedMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := json.Marshal(which)
	if err != nil {
		return storedMessage{}, err
	}
	var answer struct {
		apiAnswer
		Message storedMessage `json:"message"`
	}
	err = b.askLeader(ctx, "STREAM.MSG.GET."+streamEvents, request, &answer)
	if err == nil {
		err = answer.error()
	}
	if errors.Is(err, ErrNotFound) {
		return storedMessage{}, nil
	}
	if err != nil {
		return storedMessage{}, fmt.Errorf("reading an event: %w", err)
	}
	return answer.Message, nil
}

// EventReader reads events in order. One goroutine has it.
type EventReader struct{ cursor cursor }

// ReadEvents begins to read behind a position: the subjects given, all where
// there are none.
func (b *Bus) ReadEvents(after uint64, subjects []string) *EventReader {
	return &EventReader{cursor{b: b, stream: streamEvents, subjects: subjects, last: after}}
}

// Next gives the next event with its position, and waits for it until ctx ends.
// With a patience it waits no longer, and fails with ErrQuiet then. An event that
// cannot be decoded is an empty one.
func (r *EventReader) Next(ctx context.Context, patience time.Duration) (*eventsv1.Event, Place, error) {
	msg, meta, err := r.cursor.next(ctx, patience)
	if err != nil {
		return nil, Place{}, err
	}
	event := new(eventsv1.Event)
	if err := proto.Unmarshal(msg.Data(), event); err != nil {
		event.Reset()
	}
	event.Position = meta.Sequence.Stream
	return event, placeOf(meta), nil
}

// Close ends the reading.
func (r *EventReader) Close() { r.cursor.close() }

// MaxEvents is how many events one AppendEvents may have; NATS takes 1,000.
const MaxEvents = 512

// AppendEvents stores events behind the position after, all or none, on the
// condition that no other event has been stored since; they get the positions
// that follow it. An error other than ErrConflict leaves open whether they are
// stored, and to try again is right: they cannot be stored twice. name is told
// of no other call.
// Errors: ErrConflict, when there was another event.
func (b *Bus) AppendEvents(ctx context.Context, after uint64, name string, events []*eventsv1.Event) error {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for i, event := range events {
		payload, err := proto.Marshal(event)
		if err != nil {
			return fmt.Errorf("encoding an event: %w", err)
		}
		msg := &nats.Msg{Subject: eventSubject(event), Data: payload, Header: make(nats.Header)}
		if i == 0 {
			msg.Header[headerExpectedLast] = []string{strconv.FormatUint(after, 10)}
		}
		// An atomic batch (NATS ADR-50). To expect the sequence in each message
		// is not enough: where another writer's event comes in place of the first
		// one, the second finds what it expects.
		if len(events) > 1 {
			msg.Header[headerBatch] = []string{name}
			msg.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
		}
		if i < len(events)-1 {
			if err := b.nc.PublishMsg(msg); err != nil {
				return errs.Missing("the stream of events", err)
			}
			continue
		}
		if len(events) > 1 {
			msg.Header["Nats-Batch-Commit"] = []string{"1"}
		}
		answer, err := b.nc.RequestMsgWithContext(asking, msg)
		if err != nil {
			return errs.Missing("the stream of events", err)
		}
		ack, err, _ := parseAck(answer)
		last := after + uint64(len(events))
		switch {
		case errors.Is(err, errWrongLast):
			return b.appended(asking, last, name, events)
		case err != nil:
			return errs.Missing("the stream of events", err)
		case ack.Seq != last:
			return ErrConflict // cannot be
		}
	}
	return nil
}

// appended is nil if what stands at the position of the last event is what an
// earlier try stored there, whose answer was lost.
func (b *Bus) appended(ctx context.Context, last uint64, name string, events []*eventsv1.Event) error {
	found, err := b.eventMessage(ctx, map[string]any{"seq": last})
	if err != nil {
		return err
	}
	if len(events) > 1 {
		header, err := nats.DecodeHeadersMsg(found.Hdrs)
		if err == nil && header.Get(headerBatch) == name {
			return nil
		}
		return ErrConflict
	}
	stored := new(eventsv1.Event)
	if proto.Unmarshal(found.Data, stored) == nil && stored.Id == events[0].Id {
		return nil
	}
	return ErrConflict
}

// EraseEvent takes one event out of the stream and overwrites its bytes; one
// that is not there is erased already.
func (b *Bus) EraseEvent(ctx context.Context, position uint64) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	request, err := json.Marshal(map[string]uint64{"seq": position})
	if err != nil {
		return err
	}
	var answer apiAnswer
	if err := b.api(ctx, "STREAM.MSG.DELETE."+streamEvents, request, &answer); err != nil {
		return fmt.Errorf("erasing event %d: %w", position, err)
	}
	if err := answer.error(); err != nil {
		if there, lookErr := b.eventAt(ctx, map[string]any{"seq": position}); lookErr == nil && there == 0 {
			return nil
		}
		return fmt.Errorf("erasing event %d: %w", position, err)
	}
	return nil
}

// EraseEvents takes the events of a kind about a room out of the stream that
// stand before a position.
func (b *Bus) EraseEvents(ctx context.Context, kind, room string, before uint64) error {
	if before <= 1 {
		return nil
	}
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	request, err := json.Marshal(map[string]any{"filter": subjectEvents + kind + "." + room, "seq": before})
	if err != nil {
		return err
	}
	var answer apiAnswer
	err = b.api(ctx, "STREAM.PURGE."+streamEvents, request, &answer)
	if err == nil {
		err = answer.error()
	}
	if err != nil {
		return fmt.Errorf("erasing events %s of %s: %w", kind, room, err)
	}
	return nil
}

// NextEvent gives the first event of a kind about a room at a position or
// later, from the leader; nil where there is none.
func (b *Bus) NextEvent(ctx context.Context, kind, room string, from uint64) (*eventsv1.Event, error) {
	found, err := b.eventMessage(ctx, map[string]any{"seq": max(from, 1), "next_by_subj": subjectEvents + kind + "." + room})
	if err != nil || found.Seq == 0 {
		return nil, err
	}
	event := new(eventsv1.Event)
	if err := proto.Unmarshal(found.Data, event); err != nil {
		event.Reset()
	}
	event.Position = found.Seq
	return event, nil
}

// SearchEvent gives the position of the first event of a kind about a room that
// reached says true of, from first on and before end; end where there is none.
// reached must say so of all later ones as well.
func (b *Bus) SearchEvent(ctx context.Context, kind, room string, first, end uint64, reached func(*eventsv1.Event) bool) (uint64, error) {
	found := end
	for low, high := max(first, 1), end; low < high; {
		middle := low + (high-low)/2
		event, err := b.NextEvent(ctx, kind, room, middle)
		switch {
		case err != nil:
			return 0, err
		case event == nil || event.Position >= high:
			high = middle
		case reached(event):
			found, high = event.Position, middle
		default:
			low = event.Position + 1
		}
	}
	return found, nil
}

// LastEvent gives the position of the newest event of a kind about a room, 0
// where there is none.
func (b *Bus) LastEvent(ctx context.Context, kind, room string) (uint64, error) {
	return b.eventAt(ctx, map[string]any{"last_by_subj": subjectEvents + kind + "." + room})
}

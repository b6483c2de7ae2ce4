package events

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// state is what the events that are stored amount to: how far each source has
// been told, and who was last told to be online and where. It is written down
// now and then (save); what was stored since is read back from the stream
// itself (load), so it need never be written down in time.
//
// Applying events again that were applied before, in their order and up to the
// last, changes nothing: of each thing the last event counts. So the parts of
// what is written down may be of different moments, as long as none is older
// than the position that is written after them.
type state struct {
	mu      sync.Mutex
	event   uint64 // position of the last event that is in here
	sources map[string]place
	parts   [presenceParts]map[string]*presence // by user id
	users   int
	dirty   map[int]struct{} // parts that have changed since they were saved
	moved   bool             // event or sources have

	saving    sync.Mutex        // one save at a time
	revisions map[string]uint64 // of what is written down, by key; guarded by saving
}

// presenceParts is in how many records presence is written down. A record holds
// a megabyte at most, which is some 10,000 users who are in several rooms.
const presenceParts = 1024

// place is how far a source has been told.
type place struct{ seq, revision uint64 }

// presence is where a user was last told to be.
type presence struct {
	user   *wirev1.User
	online bool
	rooms  []string // few
}

const (
	keyPosition = "position"
	keyPresence = "presence."
)

func partOf(user string) int {
	h := fnv.New32a()
	h.Write([]byte(user))
	return int(h.Sum32() % presenceParts)
}

func newState() *state {
	return &state{sources: make(map[string]place), dirty: make(map[int]struct{}), revisions: make(map[string]uint64)}
}

// load gives the state as of all events that are stored now.
func load(ctx context.Context, b *bus.Bus, kv *bus.KV, log *slog.Logger) (*state, error) {
	s := newState()
	if err := s.read(ctx, kv); err != nil {
		return nil, err
	}
	first, newest, last, err := b.EventsState(ctx)
	if err != nil {
		return nil, err
	}
	if last < s.event {
		// What was written down tells of events that are there no more. What the
		// stream itself says of its sources is true of what is in it; of a source
		// of which it has none, events begin anew, with a gap.
		log.Error("the stream of events has lost its end, or was restored; going on from what it has", "ends", last, "ended", s.event)
		revisions := s.revisions
		s = newState()
		s.revisions, s.moved = revisions, true
		for part := range presenceParts {
			s.dirty[part] = struct{}{}
		}
	}
	reader := b.ReadEvents(max(s.event, max(first, 1)-1), nil)
	defer reader.Close()
	for moved := time.Now(); s.event < newest; {
		event, _, err := reader.Next(ctx, time.Second)
		if err == nil {
			s.apply(event)
			moved = time.Now()
			continue
		}
		if !errors.Is(err, bus.ErrQuiet) {
			return nil, fmt.Errorf("reading events back: %w", err)
		}
		if time.Since(moved) > time.Minute {
			return nil, fmt.Errorf("reading events back: nothing comes behind %d, though there is %d", s.event, newest)
		}
		// Nothing comes though there was more: it may have been erased since.
		if _, newest, _, err = b.EventsState(ctx); err != nil {
			return nil, err
		}
	}
	s.event = last // what is behind the newest was erased
	return s, nil
}

// read takes in what was saved.
func (s *state) read(ctx context.Context, kv *bus.KV) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	entries, err := kv.Watch(ctx, ">")
	if err != nil {
		return err
	}
	for entry := range entries {
		if entry.Key != "" && !entry.Deleted {
			s.revisions[entry.Key] = entry.Revision
		}
		switch {
		case entry.Key == "":
			return nil
		case entry.Deleted:
		case entry.Key == keyPosition:
			record := new(busv1.EventsPosition)
			if err := proto.Unmarshal(entry.Value, record); err != nil {
				return fmt.Errorf("decoding how far events are made: %w", err)
			}
			s.event = record.Event
			for name, at := range record.Sources {
				s.sources[name] = place{at.Seq, at.Revision}
			}
		case strings.HasPrefix(entry.Key, keyPresence):
			record := new(busv1.EventsPresence)
			if err := proto.Unmarshal(entry.Value, record); err != nil {
				return fmt.Errorf("decoding who was online: %w", err)
			}
			for _, u := range record.Users {
				p := s.presence(u.User)
				p.online, p.rooms = u.Online, u.Rooms
			}
		}
	}
	return fmt.Errorf("reading how far events are made: %w", ctx.Err())
}

// save writes down what has changed. Who makes events no more, and does not know
// it yet, must not put an old part beside a new position: who reads both would
// tell again what was told between them. So each write expects what was there.
// Errors: bus.ErrConflict, when another has written.
func (s *state) save(ctx context.Context, kv *bus.KV) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	parts := slices.Collect(maps.Keys(s.dirty))
	moved := s.moved
	s.moved = false
	position := &busv1.EventsPosition{Event: s.event, Sources: make(map[string]*busv1.EventsSource)}
	for name, at := range s.sources {
		position.Sources[name] = &busv1.EventsSource{Seq: at.seq, Revision: at.revision}
	}
	s.mu.Unlock()
	for _, part := range parts {
		s.mu.Lock()
		record := new(busv1.EventsPresence)
		for _, p := range s.parts[part] {
			record.Users = append(record.Users, &busv1.EventsUser{User: p.user, Online: p.online, Rooms: p.rooms})
		}
		value, err := proto.Marshal(record)
		delete(s.dirty, part)
		s.mu.Unlock()
		if err == nil {
			err = s.write(ctx, kv, keyPresence+strconv.Itoa(part), value)
		}
		if err != nil {
			return fmt.Errorf("saving who is online: %w", err)
		}
	}
	if !moved {
		return nil
	}
	value, err := proto.Marshal(position)
	if err != nil {
		return fmt.Errorf("saving how far events are made: %w", err)
	}
	if err := s.write(ctx, kv, keyPosition, value); err != nil {
		return fmt.Errorf("saving how far events are made: %w", err)
	}
	return nil
}

// write writes a key over what this state was read from or has written itself;
// s.saving is held. An empty part is an empty value: the keys are few.
func (s *state) write(ctx context.Context, kv *bus.KV, key string, value []byte) (err error) {
	before, known := s.revisions[key]
	switch {
	case known:
		before, err = kv.Update(ctx, key, value, before)
	case len(value) == 0:
		return nil
	default:
		if before, err = kv.Create(ctx, key, value); errors.Is(err, bus.ErrExists) {
			err = bus.ErrConflict
		}
	}
	if err == nil {
		s.revisions[key] = before
	}
	return err
}

// apply takes in an event that is stored, at its position.
func (s *state) apply(e *eventsv1.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.event, s.moved = e.Position, true
	if name := e.Source.GetName(); name != "" && name != sourcePresence {
		s.sources[name] = place{e.Source.Seq, e.Source.Revision}
	}
	switch kind := e.Event.(type) {
	case *eventsv1.Event_UserOnline:
		s.setOnline(kind.UserOnline.GetUser(), true)
	case *eventsv1.Event_UserOffline:
		s.setOnline(kind.UserOffline.GetUser(), false)
	case *eventsv1.Event_MemberJoined:
		s.setMember(kind.MemberJoined, true)
	case *eventsv1.Event_MemberLeft:
		s.setMember(kind.MemberLeft, false)
	}
}

// advance notes that a source has been read so far, whether or not anything was
// to be told.
func (s *state) advance(name string, to place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, known := s.sources[name]; !known || at != to {
		s.sources[name], s.moved = to, true
	}
}

// source tells how far a source has been told; ok is false for one that nothing
// was told of yet.
func (s *state) source(name string) (at place, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok = s.sources[name]
	return at, ok
}

// presence gives a user's entry, and makes it; s.mu is held, or nobody else has
// s yet.
func (s *state) presence(user *wirev1.User) *presence {
	part := partOf(user.GetId())
	if s.parts[part] == nil {
		s.parts[part] = make(map[string]*presence)
	}
	p := s.parts[part][user.GetId()]
	if p == nil {
		p = &presence{user: user}
		s.parts[part][user.GetId()] = p
		s.users++
	}
	p.user = user
	return p
}

func (s *state) setOnline(user *wirev1.User, online bool) {
	p := s.presence(user)
	p.online = online
	s.changed(p)
}

func (s *state) setMember(m *eventsv1.MemberEvent, there bool) {
	p := s.presence(m.GetUser())
	i := slices.Index(p.rooms, m.RoomId)
	switch {
	case there && i < 0:
		p.rooms = append(p.rooms, m.RoomId)
	case !there && i >= 0:
		p.rooms = slices.Delete(p.rooms, i, i+1)
	}
	s.changed(p)
}

// changed marks a user's part, and drops who is nowhere.
func (s *state) changed(p *presence) {
	part := partOf(p.user.GetId())
	s.dirty[part] = struct{}{}
	if !p.online && len(p.rooms) == 0 {
		delete(s.parts[part], p.user.GetId())
		s.users--
	}
}

// whereabouts tells where a user was last told to be.
func (s *state) whereabouts(user string) (online bool, rooms []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[partOf(user)][user]
	if p == nil {
		return false, nil
	}
	return p.online, slices.Clone(p.rooms)
}

// present lists the users of one part who were last told to be somewhere.
func (s *state) present(part int) []*wirev1.User {
	s.mu.Lock()
	defer s.mu.Unlock()
	var users []*wirev1.User
	for _, p := range s.parts[part] {
		users = append(users, p.user)
	}
	return users
}

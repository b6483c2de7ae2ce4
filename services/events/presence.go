package events

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/run"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const sourcePresence = "presence"

// followPresence tells who comes online and into rooms, until ctx ends. Presence
// keeps no log: at the beginning of each watch its picture is compared with what
// was told, and the difference told.
func (m *maker) followPresence(ctx context.Context) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		began := time.Now()
		err := m.watchPresence(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		m.s.log.Info("watching presence anew", "pause", pause, "because", err)
		if !run.Sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// watchPresence follows one watch to its end.
func (m *maker) watchPresence(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	steps := make(chan *presencev1.WatchResponse, batchEvents)
	ended := make(chan error, 1)
	received := make(chan struct{})
	defer func() {
		cancel()
		<-received
	}()
	// Presence may start later, and is waited for.
	stream, err := m.s.opts.Presence.Watch(ctx, &presencev1.WatchRequest{Users: true, Members: true}, grpc.WaitForReady(true))
	if err != nil {
		close(received)
		return err
	}
	go func() {
		defer close(received)
		for {
			step, err := stream.Recv()
			if err != nil {
				ended <- err
				return
			}
			select {
			case steps <- step:
			case <-ctx.Done():
				ended <- ctx.Err()
				return
			}
		}
	}()
	next := func() (*presencev1.WatchResponse, error) {
		select {
		case step := <-steps:
			return step, nil
		case err := <-ended:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	found := newState()
	for complete := false; !complete; {
		step, err := next()
		if err != nil {
			return err
		}
		found.see(step)
		complete = step.Complete
	}
	if err := m.compare(ctx, found); err != nil {
		return err
	}
	for {
		step, err := next()
		if err != nil {
			return err
		}
		t := telling{m: m}
		t.step(step)
		for len(steps) > 0 && len(t.events) < batchEvents {
			t.step(<-steps)
		}
		if err := t.flush(ctx); err != nil {
			return err
		}
	}
}

// see takes a step of a watch in as if it had been told.
func (s *state) see(step *presencev1.WatchResponse) {
	if user := step.GetUser(); user != nil {
		s.setOnline(user.User.GetUser(), user.Online)
	}
	if member := step.GetMember(); member != nil {
		s.setMember(&eventsv1.MemberEvent{RoomId: member.RoomId, User: member.User}, member.Present)
	}
}

// compare tells how presence's picture differs from what was told.
func (m *maker) compare(ctx context.Context, found *state) error {
	for part := range presenceParts {
		t := telling{m: m}
		for _, user := range found.present(part) {
			online, rooms := found.whereabouts(user.GetId())
			t.bring(user, online, rooms)
		}
		for _, user := range m.state.present(part) {
			if online, rooms := found.whereabouts(user.GetId()); !online && len(rooms) == 0 {
				t.bring(user, false, nil)
			}
		}
		if err := t.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// telling gathers events that differ from what was told, and from each other.
type telling struct {
	m      *maker
	events []*eventsv1.Event
	// what the events will have told; the state knows the rest.
	users map[string]*presence
}

// told gives where a user is told to be, with these events.
func (t *telling) told(user *wirev1.User) *presence {
	if p := t.users[user.GetId()]; p != nil {
		return p
	}
	p := &presence{user: user}
	p.online, p.rooms = t.m.state.whereabouts(user.GetId())
	if t.users == nil {
		t.users = make(map[string]*presence)
	}
	t.users[user.GetId()] = p
	return p
}

func (t *telling) step(step *presencev1.WatchResponse) {
	if change := step.GetUser(); change != nil {
		t.online(change.User.GetUser(), change.Online)
	}
	if change := step.GetMember(); change != nil {
		t.member(change.User, change.RoomId, change.Present)
	}
}

// bring tells what brings a user from where it was told to be to where it is.
func (t *telling) bring(user *wirev1.User, online bool, rooms []string) {
	if online {
		t.online(user, true)
	}
	for _, room := range slices.Clone(t.told(user).rooms) {
		if !slices.Contains(rooms, room) {
			t.member(user, room, false)
		}
	}
	for _, room := range rooms {
		t.member(user, room, true)
	}
	if !online {
		t.online(user, false)
	}
}

func (t *telling) online(user *wirev1.User, online bool) {
	p := t.told(user)
	if p.online == online {
		return
	}
	p.online = online
	event := t.add()
	if online {
		event.Event = &eventsv1.Event_UserOnline{UserOnline: &eventsv1.UserEvent{User: user}}
	} else {
		event.Event = &eventsv1.Event_UserOffline{UserOffline: &eventsv1.UserEvent{User: user}}
	}
}

func (t *telling) member(user *wirev1.User, room string, present bool) {
	p := t.told(user)
	i := slices.Index(p.rooms, room)
	if (i >= 0) == present {
		return
	}
	event := t.add()
	if present {
		p.rooms = append(p.rooms, room)
		event.Event = &eventsv1.Event_MemberJoined{MemberJoined: &eventsv1.MemberEvent{RoomId: room, User: user}}
	} else {
		p.rooms = slices.Delete(p.rooms, i, i+1)
		event.Event = &eventsv1.Event_MemberLeft{MemberLeft: &eventsv1.MemberEvent{RoomId: room, User: user}}
	}
}

func (t *telling) add() *eventsv1.Event {
	event := &eventsv1.Event{
		Id: ids.New(sourcePresence + "-"), Time: timestamppb.Now(),
		Source: &eventsv1.Source{Name: sourcePresence},
	}
	t.events = append(t.events, event)
	return event
}

func (t *telling) flush(ctx context.Context) error {
	if len(t.events) == 0 {
		return nil
	}
	return t.m.emit(ctx, sourcePresence, place{}, t.events)
}

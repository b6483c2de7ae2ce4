package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/frame"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// told reads a subscription until what it has told is what is wanted.
func told(t *testing.T, events eventsv1.EventsClient, r *eventsv1.SubscribeRequest, want string) []*eventsv1.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), client.Patience)
	defer cancel()
	stream, err := events.Subscribe(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	var got []*eventsv1.Event
	text := ""
	for text != want {
		e, err := stream.Recv()
		if err != nil {
			t.Fatalf("%v after\n%s, want\n%s", err, text, want)
		}
		got = append(got, e)
		text = strings.TrimPrefix(text+" "+summary(e), " ")
	}
	return got
}

// summary says what an event tells in a word.
func summary(e *eventsv1.Event) string {
	about := ""
	switch kind := e.Event.(type) {
	case *eventsv1.Event_MessageStored:
		about = kind.MessageStored.GetMessage().GetContent()
	case *eventsv1.Event_MessageEdited:
		about = kind.MessageEdited.GetMessage().GetContent()
	case *eventsv1.Event_MemberJoined:
		about = kind.MemberJoined.GetUser().GetId()
	case *eventsv1.Event_MemberLeft:
		about = kind.MemberLeft.GetUser().GetId()
	case *eventsv1.Event_UserOnline:
		about = kind.UserOnline.GetUser().GetId()
	case *eventsv1.Event_UserOffline:
		about = kind.UserOffline.GetUser().GetId()
	}
	return strings.TrimSuffix(bus.EventKind(e)+":"+about, ":")
}

// What clients and back ends do is told, each thing once and in its order, also
// what they did while no replica made events.
func TestEvents(t *testing.T) {
	t.Parallel()
	s := stack.Start(t, stack.Options{Gateways: 2, Gateway: func(o *gateway.Options) { o.JWTSecret = []byte(secret) }})
	events, stop := s.StartEvents(t)
	from := func(after uint64, kinds ...string) *eventsv1.SubscribeRequest {
		return &eventsv1.SubscribeRequest{From: &eventsv1.SubscribeRequest_After{After: after}, Kinds: kinds, RoomIds: []string{"office"}}
	}
	owner := signedIn(t, s, 0, frame.JSON, "owner")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: "office"}))
	owner.Join("office")
	told(t, events, from(0, "room"), "room.created")
	told(t, events, from(0, "member"), "member.joined:owner")

	bob := signedIn(t, s, 1, frame.Proto, "bob")
	bob.Join("office")
	again := signedIn(t, s, 0, frame.JSON, "bob") // another device makes no difference
	again.Join("office")
	said := bob.Say("office", "hello")
	gone := bob.Say("office", "a secret")
	bob.Ask(ask.EditMessage(&wirev1.EditMessage{RoomId: "office", Target: said.GetSeq(), Content: proto.String("hello!")}))
	bob.Ask(ask.DeleteMessage("office", gone.GetSeq()))
	told(t, events, from(0, "message.deleted"), "message.deleted") // and so what it is about is gone
	messages := told(t, events, from(0, "message"), "message.stored:hello message.edited:hello! message.deleted")
	if first := messages[0].GetMessageStored().GetMessage(); first.Seq != uint64(said.GetSeq()) || first.RoomId != "office" || first.User.GetId() != "bob" {
		t.Errorf("the first message is told as %v", first)
	}

	on := func() *wirev1.Moderate { return &wirev1.Moderate{RoomId: "office", UserId: "bob"} }
	owner.Ask(ask.Mute(on()))
	owner.Ask(ask.Unmute(on()))
	again.Ask(ask.LeaveRoom("office"))
	again.Close()
	told(t, events, from(0, "member"), "member.joined:owner member.joined:bob")
	owner.Ask(ask.Kick(on()))
	told(t, events, from(0, "member"), "member.joined:owner member.joined:bob member.left:bob")
	if _, err := s.Registry.SetMember(t.Context(), &registryv1.SetMemberRequest{
		RoomId: "office", User: &wirev1.User{Id: "eve"}, Role: registryv1.Role_ROLE_MEMBER,
	}); err != nil {
		t.Fatal(err)
	}
	seen := told(t, events, from(0, "moderation"), "moderation.muted moderation.unmuted moderation.kicked moderation.role")
	if mute, role := seen[0].GetModerationMuted(), seen[3].GetModerationRole(); mute.Member.GetUser().GetId() != "bob" ||
		mute.By.GetId() != "owner" || role.Member.GetUser().GetId() != "eve" || role.Member.Role != registryv1.Role_ROLE_MEMBER || role.By != nil {
		t.Errorf("told as %v and %v", mute, role)
	}
	last := seen[3].Position
	stop()

	// Nobody makes events.
	bob.Ask(ask.JoinRoom(&wirev1.JoinRoom{RoomId: "office"}))
	bob.Say("office", "unheard?")
	owner.Ask(ask.LeaveRoom("office"))
	owner.Ask(ask.Ban(on()))
	bob.Want("kicked")
	owner.Ask(ask.DeleteRoom("office"))

	events, _ = s.StartEvents(t)
	missed := told(t, events, from(last, "moderation", "room"), "moderation.banned room.deleted")
	told(t, events, from(0, "member"), "member.joined:owner member.joined:bob member.left:bob member.left:owner")
	var positions []uint64
	for _, e := range append(seen, missed...) {
		positions = append(positions, e.Position)
	}
	if !slices.IsSorted(positions) {
		t.Errorf("the positions are %v", positions)
	}
	bob.Close()
	online := told(t, events, &eventsv1.SubscribeRequest{
		From: &eventsv1.SubscribeRequest_After{}, UserIds: []string{"bob"}}, "user.online:bob user.offline:bob")
	if online[0].Position == 0 || online[0].Id == "" || !online[0].Time.IsValid() {
		t.Errorf("told as %v", online[0])
	}

	for field, r := range map[string]*eventsv1.SubscribeRequest{
		"after":   {},
		"now":     {From: &eventsv1.SubscribeRequest_Now{}},
		"kinds":   {From: &eventsv1.SubscribeRequest_Now{Now: true}, Kinds: []string{"message.forgotten"}},
		"roomIds": {From: &eventsv1.SubscribeRequest_Now{Now: true}, RoomIds: []string{"a b"}},
		"userIds": {From: &eventsv1.SubscribeRequest_Now{Now: true}, UserIds: []string{""}},
	} {
		stream, err := events.Subscribe(t.Context(), r)
		if err == nil {
			_, err = stream.Recv()
		}
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := beyond(t, events); err == nil {
		t.Error("a position that nothing has was taken")
	}
}

// beyond subscribes from a position that nothing has.
func beyond(t *testing.T, events eventsv1.EventsClient) (*eventsv1.Event, error) {
	t.Helper()
	stream, err := events.Subscribe(t.Context(), &eventsv1.SubscribeRequest{From: &eventsv1.SubscribeRequest_After{After: 1 << 40}})
	if err != nil {
		return nil, fmt.Errorf("subscribing: %w", err)
	}
	return stream.Recv()
}

// Whatever users do on however many devices and gateways, and whichever replica
// of the service tells it: a user comes online, joins, leaves and goes offline in
// this order, and each of them once.
func TestEventsOfUsersAreInOrder(t *testing.T) {
	t.Parallel()
	s := stack.Start(t, stack.Options{Gateways: 2, Gateway: func(o *gateway.Options) {
		o.JWTSecret, o.Lease = []byte(secret), time.Second
	}})
	_, stop := s.StartEvents(t)
	events, _ := s.StartEvents(t) // waits until the other ends
	users := []string{"ann", "ben", "cem", "dee"}
	live := func(times int) {
		var all sync.WaitGroup
		for _, user := range users {
			all.Go(func() {
				for range times {
					var devices []*client.Client
					for range 2 {
						c := signedIn(t, s, rand.IntN(2), frame.JSON, user)
						devices = append(devices, c)
						c.Join(fmt.Sprint("room-", rand.IntN(2)))
						c.Join("both")
					}
					devices[0].Ask(ask.LeaveRoom("both"))
					for _, c := range devices {
						if rand.IntN(2) == 0 {
							c.Cut() // its session goes later
						} else {
							c.Close()
						}
					}
				}
			})
		}
		all.Wait()
	}
	live(5)
	stop()
	live(5)
	signedIn(t, s, 0, frame.JSON, "last")

	ctx, cancel := context.WithTimeout(t.Context(), client.Patience)
	defer cancel()
	stream, err := events.Subscribe(ctx, &eventsv1.SubscribeRequest{
		From: &eventsv1.SubscribeRequest_After{}, Kinds: []string{"user", "member"}})
	if err != nil {
		t.Fatal(err)
	}
	online, rooms := make(map[string]bool), make(map[string]map[string]bool)
	for _, user := range users {
		rooms[user] = make(map[string]bool)
	}
	for !online["last"] || len(online) > 1 {
		e, err := stream.Recv()
		if err != nil {
			t.Fatalf("%v; still online: %v", err, online)
		}
		wrong := false
		switch kind := e.Event.(type) {
		case *eventsv1.Event_UserOnline:
			user := kind.UserOnline.User.GetId()
			wrong, online[user] = online[user], true
		case *eventsv1.Event_UserOffline:
			user := kind.UserOffline.User.GetId()
			wrong = !online[user] || len(rooms[user]) > 0
			delete(online, user)
		case *eventsv1.Event_MemberJoined:
			user, room := kind.MemberJoined.User.GetId(), kind.MemberJoined.RoomId
			wrong, rooms[user][room] = rooms[user][room] || !online[user], true
		case *eventsv1.Event_MemberLeft:
			user, room := kind.MemberLeft.User.GetId(), kind.MemberLeft.RoomId
			wrong = !rooms[user][room]
			delete(rooms[user], room)
		}
		if wrong {
			t.Fatalf("event %d comes out of turn: %v", e.Position, e)
		}
	}
}

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
	"github.com/parley-im/parley/services/registry"
)

func TestRooms(t *testing.T) {
	s := stack.Start(t, stack.Options{
		Gateways: 2,
		Gateway:  func(o *gateway.Options) { o.JWTSecret = secret },
		Registry: func(o *registry.Options) { o.EmptyGrace = 700 * time.Millisecond },
	})
	for _, part := range []struct {
		name string
		test func(*testing.T, *stack.Stack, frame.Encoding)
	}{
		{"create", testCreateRoom},
		{"join and leave", testJoinAndLeave},
		{"private", testPrivateRoom},
		{"list", testListRooms},
		{"info", testRoomInfo},
		{"members", testRoomMembers},
		{"online", testOnlineUsers},
		{"devices", testDevices},
		{"status", testStatus},
		{"signals", testSignals},
		{"lobby", testLobby},
		{"broadcast", testBroadcast},
		{"update", testUpdateRoom},
		{"delete", testDeleteRoom},
		{"empty", testEmptyRoom},
		{"deletion", testRoomDeletion},
	} {
		for _, encoding := range encodings {
			t.Run(part.name+"/"+encoding.String(), func(t *testing.T) { part.test(t, s, encoding) })
		}
	}
}

// signedIn connects a user to a gateway. Its id is its name.
func signedIn(t *testing.T, s *stack.Stack, n int, encoding frame.Encoding, user string, roles ...string) *client.Client {
	t.Helper()
	c := client.Dial(t, s.URLs[n], client.Options{Encoding: encoding})
	c.SignIn(signHS256(t, secret, claims{"sub": user, "roles": roles}))
	return c
}

// named gives a name that only this test has.
func named(t *testing.T, name string) string {
	return strings.NewReplacer("/", "-", "_", "-", " ", "-").Replace(t.Name()) + "-" + name
}

func testCreateRoom(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	room := named(t, "a")
	create := func(c *client.Client, r *wirev1.CreateRoom) *wirev1.RoomCreated {
		t.Helper()
		answer := c.Ask(ask.CreateRoom(r))
		if answer.GetRoomCreated().GetRoomId() != r.RoomId {
			t.Fatalf("create-room was answered %v", answer)
		}
		return answer.GetRoomCreated()
	}
	if !create(alice, &wirev1.CreateRoom{RoomId: room, Name: proto.String("A ☕ <b>")}).Success {
		t.Error("the room was there already")
	}
	if create(alice, &wirev1.CreateRoom{RoomId: room}).Success || create(bob, &wirev1.CreateRoom{RoomId: room, Visibility: proto.String("private")}).Success {
		t.Error("the room was made twice")
	}
	if create(bob, &wirev1.CreateRoom{RoomId: "lobby"}).Success {
		t.Error("somebody made the lobby")
	}
	info := bob.Ask(ask.GetRoomInfo(room)).GetRoomInfo() // unchanged by the others
	if info.GetName() != "A ☕ <b>" || info.GetVisibility() != "public" || info.GetPersistent() || info.Owner.GetId() != "alice" {
		t.Errorf("info %v", info)
	}
	// Two at the same moment: one of them makes it.
	race := named(t, "race")
	for _, c := range []*client.Client{alice, bob} {
		f := ask.CreateRoom(&wirev1.CreateRoom{RoomId: race})
		f.Id = proto.String("race")
		c.Send(f)
	}
	if first, second := alice.Reply("race").GetRoomCreated(), bob.Reply("race").GetRoomCreated(); first.Success == second.Success {
		t.Errorf("both were answered %v", first.Success)
	}
}

func testJoinAndLeave(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	alice.AskError(ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")}), "not-joined")
	joined, history := alice.Join(room) // makes it
	if joined.RoomId != room || joined.MemberCount != 1 || joined.Seq != 0 || joined.Recovered || joined.OldestSeq != nil || joined.Epoch == "" ||
		history.RoomId != room || len(history.Messages) != 0 || history.HasMore {
		t.Errorf("joined %v, %v", joined, history)
	}
	if info := bob.Ask(ask.GetRoomInfo(room)).GetRoomInfo(); !info.Exists || info.Owner != nil || info.GetPersistent() || info.GetVisibility() != "public" || info.GetEpoch() != joined.Epoch {
		t.Errorf("info %v", info)
	}
	for _, f := range []*wirev1.ClientFrame{
		ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")}),
		ask.RoomMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")}),
		ask.Signal(&wirev1.SendSignal{RoomId: room, Event: "typing"}),
		ask.LeaveRoom(room),
	} {
		bob.AskError(f, "not-joined")
	}
	first := alice.Say(room, "one")
	alice.Hear(room, "one")
	bobs, history := bob.Join(room)
	if bobs.Epoch != joined.Epoch || bobs.Seq != first.GetSeq() || bobs.MemberCount != 2 || len(history.Messages) != 1 || history.Messages[0].GetChatMessage().Prev != nil {
		t.Errorf("joined %v, %v", bobs, history)
	}
	if change := alice.Want("user-joined").GetUserJoined(); change.RoomId != room || change.User.Id != "bob" || change.User.Username != "bob" || change.MemberCount != 2 || change.Timestamp == nil {
		t.Errorf("user-joined %v", change)
	}
	// Joining again tells the past again and changes nothing.
	again, history := bob.Join(room)
	if again.MemberCount != 2 || again.Seq != first.GetSeq() || len(history.Messages) != 1 {
		t.Errorf("joined again: %v, %v", again, history)
	}
	bob.Say(room, "two")
	alice.Hear(room, "two")
	bob.Hear(room, "two")
	bob.Settle()
	if twice := bob.Untaken("chat-message"); len(twice) > 0 {
		t.Errorf("after joining twice a message came twice: %v", twice)
	}
	if left := bob.Ask(ask.LeaveRoom(room)).GetRoomLeft(); left.GetRoomId() != room {
		t.Errorf("leave-room was answered %v", left)
	}
	if change := alice.Want("user-left").GetUserLeft(); change.User.Id != "bob" || change.MemberCount != 1 {
		t.Errorf("user-left %v", change)
	}
	bob.AskError(ask.LeaveRoom(room), "not-joined")
	bob.AskError(ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")}), "not-joined")
	alice.Say(room, "three")
	alice.Hear(room, "three")
	back, history := bob.Join(room)
	if len(history.Messages) != 3 || back.MemberCount != 2 {
		t.Errorf("back: %v, %v", back, history)
	}
	if stray := bob.Untaken("chat-message"); len(stray) > 0 {
		t.Errorf("a message came after leaving: %v", stray)
	}
	alice.Want("user-joined")
	for _, event := range []string{"user-joined", "user-left"} {
		if list := alice.Untaken(event); len(list) > 0 {
			t.Errorf("a change of nothing: %v", list)
		}
		if list := bob.Untaken(event); len(list) > 0 {
			t.Errorf("bob was told of himself: %v", list)
		}
	}
	// Requests about one room keep their order without waiting for answers.
	quick := named(t, "quick")
	steps := []*wirev1.ClientFrame{
		ask.JoinRoom(&wirev1.JoinRoom{RoomId: quick}),
		ask.ChatMessage(&wirev1.SendMessage{RoomId: quick, Content: proto.String("quick")}),
		ask.LeaveRoom(quick),
		ask.ChatMessage(&wirev1.SendMessage{RoomId: quick, Content: proto.String("too late")}),
	}
	for i, f := range steps {
		f.Id = proto.String(fmt.Sprintf("q%d", i))
		bob.Send(f)
	}
	if bob.Reply("q0").GetRoomJoined() == nil || bob.Reply("q1").GetAck() == nil || bob.Reply("q2").GetRoomLeft() == nil {
		t.Error("a step failed")
	}
	bob.WantError("q3", "not-joined")
	// The field may be called room, in JSON.
	if encoding == frame.JSON {
		if answer := bob.AskText(fmt.Sprintf(`{"type":"join-room","room":%q}`, quick)); answer.GetRoomJoined().GetRoomId() != quick {
			t.Errorf("answered %v", answer)
		}
		if answer := bob.AskText(fmt.Sprintf(`{"type":"leave-room","room":%q}`, quick)); answer.GetRoomLeft().GetRoomId() != quick {
			t.Errorf("answered %v", answer)
		}
	}
}

// testPrivateRoom looks at a private room from outside: it is not there.
func testPrivateRoom(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, missing := named(t, "secret"), named(t, "missing")
	owner, outsider := signedIn(t, s, 0, encoding, "owner"), signedIn(t, s, 1, encoding, "outsider")
	if answer := owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room, Visibility: proto.String("private"), Name: proto.String("Secret")})); !answer.GetRoomCreated().GetSuccess() {
		t.Fatalf("create-room was answered %v", answer)
	}
	owner.Join(room)
	owner.Say(room, "between us")
	// A name that is taken cannot be hidden from who would make it.
	outsider.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: room}), "forbidden")
	for _, f := range []*wirev1.ClientFrame{
		ask.GetHistory(&wirev1.GetHistory{RoomId: room}),
		ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: room}),
		ask.GetOnlineUsers(&wirev1.GetOnlineUsers{RoomId: &room}),
	} {
		outsider.AskError(f, "not-found")
	}
	for _, f := range []*wirev1.ClientFrame{
		ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")}),
		ask.Signal(&wirev1.SendSignal{RoomId: room, Event: "e"}),
		ask.LeaveRoom(room),
	} {
		outsider.AskError(f, "not-joined")
	}
	hidden, absent := outsider.Ask(ask.GetRoomInfo(room)).GetRoomInfo(), outsider.Ask(ask.GetRoomInfo(missing)).GetRoomInfo()
	absent.RoomId = room
	if hidden.Exists || !proto.Equal(hidden, absent) {
		t.Errorf("a hidden room is %v, a missing one %v", hidden, absent)
	}
	lists := func(c *client.Client) bool {
		return slices.ContainsFunc(c.Ask(ask.GetRooms(&wirev1.GetRooms{Prefix: &room})).GetRoomsList().GetRooms(),
			func(r *wirev1.RoomSummary) bool { return r.Id == room })
	}
	if lists(outsider) {
		t.Error("the outsider sees it in the list")
	}
	if !lists(owner) {
		t.Error("the owner does not see it in the list")
	}
	if info := owner.Ask(ask.GetRoomInfo(room)).GetRoomInfo(); !info.Exists || info.GetVisibility() != "private" || info.GetName() != "Secret" {
		t.Errorf("to its owner it is %v", info)
	}
	if page := owner.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: room})).GetMessageHistory(); len(page.GetMessages()) != 1 {
		t.Errorf("the owner's history is %v", page)
	}
	if members := owner.Ask(ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: room})).GetRoomMembers().GetMembers(); len(members) != 1 || members[0].Role != "owner" {
		t.Errorf("members %v", members)
	}
	// Who belongs to it can join.
	_, err := s.Registry.SetMember(context.Background(), &registryv1.SetMemberRequest{
		RoomId: room, User: &wirev1.User{Id: "outsider", Username: "outsider"}, Role: registryv1.Role_ROLE_MEMBER,
		Actor: &registryv1.Actor{User: &wirev1.User{Id: "owner", Username: "owner"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, "the member joins", func() error {
		answer := outsider.Ask(ask.JoinRoom(&wirev1.JoinRoom{RoomId: room}))
		if answer.GetRoomJoined() == nil {
			return fmt.Errorf("answered %v", answer)
		}
		return nil
	})
	if !lists(outsider) {
		t.Error("a member does not see it in the list")
	}
}

func testListRooms(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	prefix := named(t, "p")
	var want []string
	for i := range 25 {
		room := fmt.Sprintf("%s-%02d", prefix, i)
		want = append(want, room)
		alice.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room, Name: proto.String(fmt.Sprintf("Room %d", i)), Persistent: proto.Bool(true)}))
	}
	alice.Join(want[3])
	bob.Join(want[3])
	bob.Join(want[7])
	list := func(limit *int32) (rooms []*wirev1.RoomSummary, pages int) {
		t.Helper()
		var cursor *string
		for {
			pages++
			answer := bob.Ask(ask.GetRooms(&wirev1.GetRooms{Prefix: &prefix, Limit: limit, Cursor: cursor}))
			page := answer.GetRoomsList()
			if page == nil || limit != nil && len(page.Rooms) > int(*limit) || pages > 100 {
				t.Fatalf("page %d is %v", pages, answer)
			}
			rooms = append(rooms, page.Rooms...)
			if page.NextCursor == "" {
				return rooms, pages
			}
			cursor = &page.NextCursor
		}
	}
	for _, limit := range []*int32{nil, proto.Int32(10), proto.Int32(1), proto.Int32(25), proto.Int32(1000)} {
		rooms, pages := list(limit)
		var got []string
		for _, r := range rooms {
			got = append(got, r.Id)
			count := map[string]int64{want[3]: 2, want[7]: 1}[r.Id]
			if r.MemberCount != count || !strings.HasPrefix(r.Name, "Room ") {
				t.Errorf("%v, want %d members", r, count)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("limit %v: %q", limit, got)
		}
		if limit != nil && *limit == 10 && pages != 3 {
			t.Errorf("25 rooms came on %d pages of 10", pages)
		}
	}
	if rooms := bob.Ask(ask.GetRooms(&wirev1.GetRooms{Prefix: proto.String(prefix + "-1")})).GetRoomsList(); len(rooms.GetRooms()) != 10 || rooms.NextCursor != "" {
		t.Errorf("by a longer prefix: %v", rooms)
	}
	if rooms := bob.Ask(ask.GetRooms(&wirev1.GetRooms{Prefix: proto.String("no-such-room")})); rooms.GetRoomsList() == nil || len(rooms.GetRoomsList().Rooms) != 0 {
		t.Errorf("by another prefix: %v", rooms)
	}
	if page := bob.Ask(ask.GetRooms(&wirev1.GetRooms{Limit: proto.Int32(5)})).GetRoomsList(); len(page.GetRooms()) != 5 {
		t.Errorf("without a prefix: %v", page)
	}
}

func testRoomInfo(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	if info := bob.Ask(ask.GetRoomInfo(room)).GetRoomInfo(); info.RoomId != room || info.Exists || info.MemberCount != 0 || info.Name != nil || info.Epoch != nil {
		t.Errorf("before it was made: %v", info)
	}
	alice.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room, Persistent: proto.Bool(true)}))
	joined, _ := alice.Join(room)
	info := bob.Ask(ask.GetRoomInfo(room)).GetRoomInfo()
	if !info.Exists || info.MemberCount != 1 || info.GetName() != room || info.GetEpoch() != joined.Epoch || !info.GetPersistent() ||
		info.Owner.GetId() != "alice" || time.Since(info.CreatedAt.AsTime()).Abs() > time.Minute {
		t.Errorf("info %v", info)
	}
}

package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

func testRoomMembers(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	owner := signedIn(t, s, 0, encoding, "a-owner")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	want := map[string]string{"a-owner": "owner", "b-mod": "moderator", "c-0": "member", "c-1": "member", "c-2": "member"}
	_, err := s.Registry.SetMember(context.Background(), &registryv1.SetMemberRequest{
		RoomId: room, User: &wirev1.User{Id: "b-mod", Username: "b-mod"}, Role: registryv1.Role_ROLE_MODERATOR,
		Actor: &registryv1.Actor{User: &wirev1.User{Id: "a-owner", Username: "a-owner"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for user := range want {
		c := owner
		if user != "a-owner" {
			n++
			c = signedIn(t, s, n%2, encoding, user)
		}
		c.Join(room)
	}
	outsider := signedIn(t, s, 1, encoding, "outsider") // of a public room
	for _, limit := range []*int32{nil, proto.Int32(2)} {
		got := map[string]string{}
		stack.Eventually(t, "all members are listed", func() error {
			clear(got)
			request := &wirev1.GetRoomMembers{RoomId: room, Limit: limit}
			for {
				page := outsider.Ask(ask.GetRoomMembers(request)).GetRoomMembers()
				for _, m := range page.GetMembers() {
					if _, twice := got[m.Id]; twice || m.Username != m.Id {
						return fmt.Errorf("%v", page)
					}
					got[m.Id] = m.Role
				}
				if page.GetNextCursor() == "" {
					break
				}
				request = &wirev1.GetRoomMembers{RoomId: room, Limit: limit, Cursor: &page.NextCursor}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				return fmt.Errorf("%v", got)
			}
			return nil
		})
	}
	outsider.AskError(ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: named(t, "missing")}), "not-found")
}

func testOnlineUsers(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	names := []string{named(t, "x"), named(t, "y"), named(t, "z")}
	var list []*client.Client
	for i, name := range names {
		c := client.Dial(t, s.URLs[i%2], client.Options{Encoding: encoding})
		c.SignIn(signHS256(t, secret, claims{"sub": name, "username": fmt.Sprintf("user %d", i)}))
		list = append(list, c)
	}
	list[0].Join(room)
	list[1].Join(room)
	online := func(c *client.Client, room *string, limit int32) map[string]*wirev1.OnlineUser {
		found := map[string]*wirev1.OnlineUser{}
		request := &wirev1.GetOnlineUsers{RoomId: room, Limit: &limit}
		for {
			page := c.Ask(ask.GetOnlineUsers(request)).GetOnlineUsers()
			for _, u := range page.GetUsers() {
				found[u.Id] = u
			}
			if page.GetNextCursor() == "" {
				return found
			}
			request.Cursor = &page.NextCursor
		}
	}
	want := func(what string, room *string, users ...string) {
		t.Helper()
		stack.Eventually(t, what, func() error {
			for _, limit := range []int32{1000, 1} {
				found := online(list[0], room, limit)
				for i, name := range names {
					u := found[name]
					if (u != nil) != slices.Contains(users, name) {
						return fmt.Errorf("%s is %v", name, u)
					}
					if u != nil && (u.Username != fmt.Sprintf("user %d", i) || time.Since(u.AuthenticatedAt.AsTime()).Abs() > time.Minute) {
						return fmt.Errorf("%v", u)
					}
				}
			}
			return nil
		})
	}
	want("all are online", nil, names...)
	want("two are in the room", &room, names[:2]...)
	want("all are in the lobby", proto.String("lobby"), names...)
	list[1].Close()
	want("one has gone", nil, names[0], names[2])
	want("one is in the room", &room, names[0])
	list[0].AskError(ask.GetOnlineUsers(&wirev1.GetOnlineUsers{RoomId: proto.String(named(t, "missing"))}), "not-found")
}

// testDevices connects one user several times: it comes once and goes once.
func testDevices(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	witness := signedIn(t, s, 0, encoding, "witness")
	witness.Join(room)
	var devices []*client.Client
	for i := range 3 {
		c := signedIn(t, s, i%2, encoding, "several")
		if joined, _ := c.Join(room); joined.MemberCount != 2 {
			t.Errorf("device %d joined %v", i, joined)
		}
		devices = append(devices, c)
	}
	if change := witness.Want("user-joined").GetUserJoined(); change.User.Id != "several" || change.MemberCount != 2 {
		t.Errorf("user-joined %v", change)
	}
	devices[0].Say(room, "to all of me too")
	for _, c := range append(devices, witness) {
		c.Hear(room, "to all of me too")
	}
	devices[1].Close()
	devices[0].Ask(ask.LeaveRoom(room))
	stack.Eventually(t, "one device is left", func() error {
		if info := witness.Ask(ask.GetRoomInfo(room)).GetRoomInfo(); info.MemberCount != 2 {
			return fmt.Errorf("%v", info)
		}
		return nil
	})
	// Another user's coming is told after all that was to be told before it.
	after := signedIn(t, s, 1, encoding, "after")
	after.Join(room)
	witness.Wait("user-joined", func(f *wirev1.ServerFrame) bool { return f.GetUserJoined().GetUser().GetId() == "after" })
	if list := append(witness.Untaken("user-joined"), witness.Untaken("user-left")...); len(list) > 0 {
		t.Errorf("a device was taken for a user: %v", list)
	}
	devices[2].Close()
	if change := witness.Want("user-left").GetUserLeft(); change.User.Id != "several" || change.MemberCount != 2 {
		t.Errorf("user-left %v", change)
	}
	for _, c := range devices {
		if list := append(c.Untaken("user-left"), c.Untaken("user-joined")...); len(list) > 0 && list[0].GetUserJoined().GetUser().GetId() != "after" {
			t.Errorf("a device was told of its own user: %v", list)
		}
	}
}

func testSignals(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	sender, other, twin := signedIn(t, s, 0, encoding, "sender"), signedIn(t, s, 1, encoding, "other"), signedIn(t, s, 0, encoding, "sender")
	for _, c := range []*client.Client{sender, other, twin} {
		c.Join(room)
	}
	f := ask.Signal(&wirev1.SendSignal{RoomId: room, Event: "cursor", Data: []byte(`{"x":1.50,"y":[null,"ü"]}`)})
	f.Id = proto.String("signal")
	sender.Send(f)
	for _, c := range []*client.Client{other, twin} {
		if got := c.Want("signal").GetSignal(); got.RoomId != room || got.Event != "cursor" || got.User.Id != "sender" || string(got.Data) != `{"x":1.50,"y":[null,"ü"]}` {
			t.Errorf("signal %v", got)
		}
	}
	sender.Say(room, "behind it")
	sender.Hear(room, "behind it")
	sender.Settle()
	if echo := sender.Untaken("signal"); len(echo) > 0 {
		t.Errorf("the sender got %v", echo)
	}
	if page := other.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: room})).GetMessageHistory(); len(page.GetMessages()) != 1 {
		t.Errorf("the log has %v", page)
	}
}

func testLobby(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	text := named(t, "hello")
	ack := alice.Ask(ask.Chat(text)).GetAck()
	if ack.GetRoomId() != "lobby" || ack.GetSeq() == 0 || ack.Timestamp == nil {
		t.Fatalf("chat was answered %v", ack)
	}
	for _, c := range []*client.Client{alice, bob} {
		f := c.Wait("chat", func(f *wirev1.ServerFrame) bool { return f.GetChat().GetMessage() == text })
		if m := f.GetChat(); m.User != "alice" || m.Seq != ack.GetSeq() || !m.Timestamp.AsTime().Equal(ack.Timestamp.AsTime()) {
			t.Errorf("chat %v", m)
		}
	}
	// It is a room like others, too.
	say := bob.Ask(ask.ChatMessage(&wirev1.SendMessage{RoomId: "lobby", Content: proto.String(text + "!")})).GetAck()
	if say.GetSeq() <= ack.GetSeq() {
		t.Errorf("chat-message to the lobby was answered %v", say)
	}
	f := alice.Wait("chat", func(f *wirev1.ServerFrame) bool { return f.GetChat().GetMessage() == text+"!" })
	if m := f.GetChat(); m.User != "bob" || m.GetPrev() != ack.GetSeq() {
		t.Errorf("chat %v", m)
	}
	page := bob.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: "lobby", Limit: proto.Int32(2)})).GetMessageHistory()
	if len(page.GetMessages()) != 2 || page.Messages[1].GetChatMessage().GetContent() != text+"!" {
		t.Errorf("history %v", page)
	}
	joined, history := bob.JoinWith(&wirev1.JoinRoom{RoomId: "lobby", After: ack.Seq})
	if !joined.Recovered || len(history.Messages) != 1 {
		t.Errorf("joined %v, %v", joined, history)
	}
	last := alice.Ask(ask.Chat(text + "?")).GetAck()
	bob.Wait("chat", func(f *wirev1.ServerFrame) bool { return f.GetChat().GetSeq() == last.GetSeq() })
	bob.Settle()
	if list := bob.Untaken("chat"); slices.ContainsFunc(list, func(f *wirev1.ServerFrame) bool { return f.GetChat().Seq == last.GetSeq() }) {
		t.Errorf("it came twice: %v", list)
	}
	for _, event := range []string{"user-joined", "user-left", "room-stats"} {
		if list := alice.Untaken(event); len(list) > 0 {
			t.Errorf("the lobby told %v", list)
		}
	}
	// As the tutorials of all the world do it.
	if encoding == frame.JSON {
		raw, _ := client.Upgrade(t, s.URLs[1], "/chat", nil)
		raw.ReadText()
		raw.Write(client.OpText, fmt.Appendf(nil, `{"type":"auth","token":%q}`, signHS256(t, secret, claims{"userId": "u-7", "username": "carol"})))
		raw.ReadText()
		raw.Write(client.OpText, []byte(`{"type":"chat","message":"Hello, world"}`))
		got := raw.ReadText()
		if got["type"] != "chat" || got["user"] != "carol" || got["message"] != "Hello, world" || got["id"] != nil || got["seq"] == nil || got["timestamp"] == nil {
			t.Errorf("chat came as %v", got)
		}
		alice.Wait("chat", func(f *wirev1.ServerFrame) bool { return f.GetChat().GetUser() == "carol" })
	}
}

func testBroadcast(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	admin := signedIn(t, s, 0, encoding, "root", "admin")
	others := []*client.Client{
		signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob", "administrator", "Admin"),
		client.Dial(t, s.URLs[1], client.Options{Encoding: encoding}), // not signed in: every connection
	}
	for _, c := range others[:2] {
		c.AskError(ask.AdminBroadcast("no"), "forbidden")
	}
	others[2].AskError(ask.AdminBroadcast("no"), "unauthenticated")
	if answer := admin.Ask(ask.AdminBroadcast("<b>attention</b>")); answer.GetAck() == nil {
		t.Fatalf("answered %v", answer)
	}
	for _, c := range append(others, admin) {
		if m := c.Want("admin-message").GetAdminMessage(); m.Content != "<b>attention</b>" || m.From.GetId() != "root" || time.Since(m.Timestamp.AsTime()).Abs() > time.Minute {
			t.Errorf("admin-message %v", m)
		}
	}
}

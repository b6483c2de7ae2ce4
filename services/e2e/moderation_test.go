package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/frame"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

func TestModeration(t *testing.T) {
	s := stack.Start(t, stack.Options{
		Gateways: 2,
		Gateway:  func(o *gateway.Options) { o.JWTSecret = secret },
	})
	for _, part := range []struct {
		name string
		test func(*testing.T, *stack.Stack, frame.Encoding)
	}{
		{"arguments", testModerationArguments},
		{"rights", testModerationRights},
		{"kick", testKick},
		{"ban", testBan},
		{"ban for a while", testBanForAWhile},
		{"turned private", testTurnedPrivate},
		{"mute", testMute},
		{"set role", testSetRole},
		{"invite", testInvite},
		{"direct", testOpenDirect},
		{"unheard", testUnheard},
		{"mute for a while", testMuteForAWhile},
		{"mute in the lobby", testMuteInTheLobby},
	} {
		for _, encoding := range encodings {
			t.Run(part.name+"/"+encoding.String(), func(t *testing.T) { part.test(t, s, encoding) })
		}
	}
}

// moderations are all requests that act on a user in a room.
var moderations = map[string]func(*wirev1.Moderate) *wirev1.ClientFrame{
	"kick": ask.Kick, "ban": ask.Ban, "unban": ask.Unban, "mute": ask.Mute, "unmute": ask.Unmute,
}

// wantAck sends a request about a room that must succeed.
func wantAck(t *testing.T, c *client.Client, room string, f *wirev1.ClientFrame) {
	t.Helper()
	if answer := c.Ask(f); answer.GetAck() == nil || answer.GetAck().RoomId != room {
		t.Fatalf("%s was answered %v", frame.RequestType(f), answer)
	}
}

// within holds a change of rights to the time in which it takes effect.
func within(t *testing.T, from time.Time, what string) {
	t.Helper()
	if took := time.Since(from); took > time.Second {
		t.Errorf("%s took %v", what, took)
	}
}

func testModerationArguments(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	owner := signedIn(t, s, 0, encoding, "owner")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	for name, request := range moderations {
		for field, m := range map[string]*wirev1.Moderate{
			"roomId": {RoomId: "a b", UserId: "eve"},
			"userId": {RoomId: room},
			"reason": {RoomId: room, UserId: "eve", Reason: proto.String(strings.Repeat("x", 257))},
			"until":  {RoomId: room, UserId: "eve", Until: timestamppb.New(time.Now().Add(-time.Second))},
		} {
			t.Run(name+" "+field, func(t *testing.T) {
				wantField(t, owner.Ask(request(m)), "invalid-argument", field)
			})
		}
		wantField(t, owner.Ask(request(&wirev1.Moderate{RoomId: room, UserId: "owner"})), "invalid-argument", "userId")
		owner.AskError(request(&wirev1.Moderate{RoomId: named(t, "missing"), UserId: "eve"}), "not-found")
	}
}

// testModerationRights: a moderator acts on members, an owner and an admin on
// everybody, and nobody else on anybody.
func testModerationRights(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, hidden := named(t, "a"), named(t, "hidden")
	owner, mod := signedIn(t, s, 0, encoding, "owner"), signedIn(t, s, 1, encoding, "mod")
	member, admin := signedIn(t, s, 1, encoding, "member"), signedIn(t, s, 1, encoding, "root", "admin")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: hidden, Visibility: proto.String("private")}))
	setRole(t, s, room, "mod", "moderator")
	setRole(t, s, room, "mod2", "moderator")
	for name, request := range moderations {
		m := &wirev1.Moderate{RoomId: room, UserId: "eve"}
		member.AskError(request(m), "forbidden")
		member.AskError(request(&wirev1.Moderate{RoomId: hidden, UserId: "eve"}), "not-found")
		for _, user := range []string{"owner", "mod2"} {
			mod.AskError(request(&wirev1.Moderate{RoomId: room, UserId: user}), "forbidden")
		}
		for _, c := range []*client.Client{owner, mod, admin} {
			wantAck(t, c, room, request(m))
		}
		if name == "kick" || name == "ban" {
			admin.AskError(request(&wirev1.Moderate{RoomId: "lobby", UserId: "eve"}), "forbidden")
		}
	}
	wantAck(t, owner, room, ask.Ban(&wirev1.Moderate{RoomId: room, UserId: "mod2"}))
}

func testKick(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, other := named(t, "a"), named(t, "b")
	owner, witness := signedIn(t, s, 0, encoding, "owner"), signedIn(t, s, 1, encoding, "witness")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	eves := []*client.Client{signedIn(t, s, 0, encoding, "eve"), signedIn(t, s, 1, encoding, "eve")}
	for _, c := range append(eves, owner, witness) {
		c.Join(room)
	}
	eves[0].Join(other)

	start := time.Now()
	wantAck(t, owner, room, ask.Kick(&wirev1.Moderate{RoomId: room, UserId: "eve", Reason: proto.String("spam")}))
	for _, c := range eves {
		if got := c.Want("kicked").GetKicked(); got.RoomId != room || got.GetReason() != "spam" {
			t.Errorf("kicked %v", got)
		}
		c.AskError(ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")}), "not-joined")
	}
	within(t, start, "kick")
	if left := witness.Want("user-left").GetUserLeft(); left.User.Id != "eve" || left.MemberCount != 2 {
		t.Errorf("user-left %v", left)
	}
	owner.Say(room, "without her")
	witness.Hear(room, "without her")
	for _, c := range eves {
		c.Settle()
		if heard := c.Untaken("chat-message"); len(heard) > 0 {
			t.Errorf("who was kicked heard %v", heard)
		}
	}
	// The other room is as it was, and she may come back.
	eves[0].Say(other, "still here")
	eves[0].Hear(other, "still here")
	eves[1].Join(room)
	eves[1].Say(room, "back")
	owner.Hear(room, "back")
}

func testBan(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	owner, cut := signedIn(t, s, 0, encoding, "owner"), client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	eves := []*client.Client{signedIn(t, s, 0, encoding, "eve"), signedIn(t, s, 1, encoding, "eve")}
	for _, c := range append(eves, owner) {
		c.Join(room)
	}
	setRole(t, s, room, "eve", "member")
	// A third connection is lost before, and comes back after.
	token := cut.SignIn(signHS256(t, secret, claims{"sub": "eve"})).ResumeToken
	joined, _ := cut.Join(room)
	cut.Cut()

	start := time.Now()
	wantAck(t, owner, room, ask.Ban(&wirev1.Moderate{RoomId: room, UserId: "eve", Reason: proto.String("again")}))
	for _, c := range eves {
		if got := c.Want("kicked").GetKicked(); got.RoomId != room || got.GetReason() != "again" {
			t.Errorf("kicked %v", got)
		}
		for _, f := range []*wirev1.ClientFrame{
			ask.JoinRoom(&wirev1.JoinRoom{RoomId: room}),
			ask.GetHistory(&wirev1.GetHistory{RoomId: room}),
			ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: room}),
			ask.GetRoomInfo(room),
		} {
			c.AskError(f, "banned")
		}
		c.AskError(ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")}), "not-joined")
	}
	within(t, start, "ban")
	back := client.Dial(t, s.URLs[1], client.Options{Encoding: encoding})
	resumed := back.Ask(ask.Resume(token, map[string]*wirev1.Position{room: {Seq: joined.Seq}})).GetResumed()
	if got := resumed.GetRooms()[room]; got.GetError() != "banned" {
		t.Errorf("resumed %v", resumed)
	}

	wantAck(t, owner, room, ask.Unban(&wirev1.Moderate{RoomId: room, UserId: "eve"}))
	for _, c := range append(eves, back) {
		c.Join(room)
	}
	eves[1].Say(room, "sorry")
	owner.Hear(room, "sorry")
	members, err := s.Registry.GetMembers(t.Context(), &registryv1.GetMembersRequest{RoomId: room, UserIds: []string{"eve"}})
	if err != nil || len(members.Members) != 0 {
		t.Errorf("her standing is %v, %v", members, err)
	}
}

func testBanForAWhile(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	owner, eve := signedIn(t, s, 0, encoding, "owner"), signedIn(t, s, 1, encoding, "eve")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	eve.Join(room)
	until := time.Now().Add(1500 * time.Millisecond)
	wantAck(t, owner, room, ask.Ban(&wirev1.Moderate{RoomId: room, UserId: "eve", Until: timestamppb.New(until)}))
	eve.Want("kicked")
	if after := eve.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: room}), "banned").GetRetryAfterMs(); after < 1 || after > 1500 {
		t.Errorf("retry after %d ms", after)
	}
	stack.Eventually(t, "the ban is over", func() error {
		if answer := eve.Ask(ask.JoinRoom(&wirev1.JoinRoom{RoomId: room})); answer.GetRoomJoined() == nil {
			return fmt.Errorf("answered %v", answer)
		}
		return nil
	})
	if left := time.Until(until); left > 0 {
		t.Errorf("it was over %v too early", left)
	}
}

// testTurnedPrivate: who does not belong to a room that becomes private is out
// of it.
func testTurnedPrivate(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	owner, member := signedIn(t, s, 0, encoding, "owner"), signedIn(t, s, 1, encoding, "member")
	guests := []*client.Client{signedIn(t, s, 0, encoding, "guest1"), signedIn(t, s, 1, encoding, "guest2")}
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	setRole(t, s, room, "member", "member")
	for _, c := range append(guests, owner, member) {
		c.Join(room)
	}
	start := time.Now()
	wantAck(t, owner, room, ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: room, Visibility: proto.String("private")}))
	for _, c := range guests {
		if got := c.Want("kicked").GetKicked(); got.RoomId != room {
			t.Errorf("kicked %v", got)
		}
		c.AskError(ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")}), "not-joined")
	}
	within(t, start, "the change")
	member.Want("room-updated")
	member.Say(room, "between us")
	owner.Hear(room, "between us")
}

// setRole gives a role as a back end does.
func setRole(t *testing.T, s *stack.Stack, room, user, role string) {
	t.Helper()
	roles := map[string]registryv1.Role{
		"member": registryv1.Role_ROLE_MEMBER, "moderator": registryv1.Role_ROLE_MODERATOR, "owner": registryv1.Role_ROLE_OWNER,
	}
	if _, err := s.Registry.SetMember(t.Context(), &registryv1.SetMemberRequest{RoomId: room, User: &wirev1.User{Id: user}, Role: roles[role]}); err != nil {
		t.Fatal(err)
	}
}

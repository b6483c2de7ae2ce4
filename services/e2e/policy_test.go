package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// TestPolicies changes what rooms allow while people are in them, on two
// gateways.
func TestPolicies(t *testing.T) {
	s := stack.Start(t, stack.Options{
		Gateways: 2,
		Gateway:  func(o *gateway.Options) { o.JWTSecret = secret },
		Log:      bus.LogConfig{Retention: 100},
	})
	for _, part := range []struct {
		name string
		test func(*testing.T, *stack.Stack, frame.Encoding)
	}{
		{"arguments", testPolicyArguments},
		{"post", testPolicyOfPosts},
		{"roles", testPolicyAndRoles},
		{"read", testPolicyOfReaders},
		{"invite", testPolicyOfInvitations},
		{"rate", testRoomRate},
		{"size", testRoomSize},
		{"retention", testRoomRetention},
		{"guests", testGuests},
		{"lobby", testPolicyOfTheLobby},
		{"token", testRolesOfANewerToken},
		{"record", testRoomRecord},
		{"unheard", testUnheardPolicy},
		{"sanctions", testRoomSanctions},
	} {
		for _, encoding := range encodings {
			t.Run(part.name+"/"+encoding.String(), func(t *testing.T) { part.test(t, s, encoding) })
		}
	}
}

func says(room, content string) *wirev1.ClientFrame {
	return ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: &content})
}

func typing(room string) *wirev1.ClientFrame {
	return ask.Signal(&wirev1.SendSignal{RoomId: room, Event: "typing"})
}

func allow(room string, p *wirev1.RoomPolicy) *wirev1.ClientFrame {
	return ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: room, Policy: p})
}

// open makes a room with an owner in it.
func open(t *testing.T, s *stack.Stack, encoding frame.Encoding, r *wirev1.CreateRoom) (room string, owner *client.Client) {
	t.Helper()
	r.RoomId = named(t, "a")
	owner = signedIn(t, s, 0, encoding, "owner")
	if answer := owner.Ask(ask.CreateRoom(r)); !answer.GetRoomCreated().GetSuccess() {
		t.Fatalf("create-room was answered %v", answer)
	}
	owner.Join(r.RoomId)
	return r.RoomId, owner
}

func testPolicyArguments(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{})
	for field, p := range map[string]*wirev1.RoomPolicy{
		"policy.post":       {Post: proto.String("nobody")},
		"policy.read":       {Read: proto.String("")},
		"policy.signal":     {Signal: proto.String("Members")},
		"policy.invite":     {Invite: proto.String("owners")},
		"policy.guests":     {Guests: proto.String("everything")},
		"policy.rate":       {Rate: proto.Float64(-1)},
		"policy.maxMembers": {MaxMembers: proto.Int32(-1)},
		"policy.retention":  {Retention: proto.Int32(101)}, // the deployment keeps 100
	} {
		wantField(t, owner.Ask(allow(room, p)), "invalid-argument", field)
		wantField(t, owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room + "2", Policy: p})), "invalid-argument", field)
	}
	for _, value := range []string{`7`, `[]`, `null`, `"x"`} {
		wantField(t, owner.Ask(ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: room, Attributes: []byte(value)})), "invalid-argument", "attributes")
	}
	large := []byte(`{"a":"` + strings.Repeat("x", 4096) + `"}`)
	wantField(t, owner.Ask(ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: room, Attributes: large})), "too-large", "attributes")
	if info := owner.Ask(ask.GetRoomInfo(room)).GetRoomInfo(); info.Attributes != nil || info.Policy.GetPost() != "everyone" {
		t.Errorf("what was refused has an effect: %v", info)
	}
	admin := signedIn(t, s, 1, encoding, "root", "admin")
	admin.AskError(allow("lobby", &wirev1.RoomPolicy{Read: proto.String("members")}), "forbidden")
	admin.AskError(allow("lobby", &wirev1.RoomPolicy{MaxMembers: proto.Int32(1)}), "forbidden")
}

func testPolicyOfPosts(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{})
	eves := []*client.Client{signedIn(t, s, 0, encoding, "eve"), signedIn(t, s, 1, encoding, "eve")}
	for _, c := range eves {
		c.Join(room)
	}
	said := eves[0].Say(room, "before")
	edit := ask.EditMessage(&wirev1.EditMessage{RoomId: room, Target: said.GetSeq(), Content: proto.String("y")})

	start := time.Now()
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Post: proto.String("moderators")}))
	for _, c := range eves {
		if got := c.Want("room-updated").GetRoomUpdated().GetPolicy(); got.GetPost() != "moderators" || got.GetRead() != "everyone" {
			t.Errorf("told %v", got)
		}
		c.AskError(says(room, "x"), "forbidden") // the next one already
	}
	within(t, start, "a policy")
	late := signedIn(t, s, 1, encoding, "eve")
	late.Join(room)
	for _, c := range append(eves, late) {
		for _, f := range []*wirev1.ClientFrame{says(room, "x"), typing(room), edit} {
			c.AskError(f, "forbidden")
		}
		c.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: room}))
	}
	owner.Say(room, "news")
	eves[1].Hear(room, "news")

	// Who may signal is a matter of its own.
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Signal: proto.String("everyone")}))
	eves[1].Want("room-updated")
	eves[1].Send(typing(room))
	owner.Want("signal")
	eves[1].AskError(says(room, "x"), "forbidden")
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Post: proto.String("everyone")}))
	for _, c := range append(eves, late) {
		until(t, c, says(room, "x"), "")
	}
}

// testPolicyAndRoles: what a policy lets somebody do follows the role.
func testPolicyAndRoles(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{Policy: &wirev1.RoomPolicy{Post: proto.String("members")}})
	bobs := []*client.Client{signedIn(t, s, 0, encoding, "bob"), signedIn(t, s, 1, encoding, "bob")}
	for _, c := range bobs {
		c.Join(room)
		c.AskError(says(room, "x"), "forbidden")
	}
	step := func(code string, f *wirev1.ClientFrame) {
		t.Helper()
		start := time.Now()
		wantAck(t, owner, room, f)
		for _, c := range bobs {
			until(t, c, says(room, "x"), code)
		}
		within(t, start, frame.RequestType(f))
	}
	step("", ask.Invite(room, "bob"))
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Post: proto.String("moderators")}))
	step("", ask.SetRole(room, "bob", "moderator"))
	step("forbidden", ask.SetRole(room, "bob", "member"))
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Post: proto.String("members")}))
	step("forbidden", ask.Uninvite(room, "bob"))
	bobs[0].AskError(ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")}), "forbidden") // still there
	signedIn(t, s, 1, encoding, "root", "admin").Join(room)
}

func testPolicyOfReaders(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{})
	bob := signedIn(t, s, 1, encoding, "bob")
	wantAck(t, owner, room, ask.Invite(room, "bob"))
	bob.Join(room)
	eves := []*client.Client{signedIn(t, s, 0, encoding, "eve"), signedIn(t, s, 1, encoding, "eve")}
	for _, c := range eves {
		c.Join(room)
	}
	start := time.Now()
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Read: proto.String("members")}))
	for _, c := range eves {
		if got := c.Want("kicked").GetKicked(); got.RoomId != room {
			t.Errorf("kicked %v", got)
		}
		c.AskError(says(room, "x"), "not-joined")
		// The room is there, and closed.
		c.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: room}), "forbidden")
		c.AskError(ask.GetHistory(&wirev1.GetHistory{RoomId: room}), "forbidden")
		c.AskError(ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: room}), "forbidden")
		c.AskError(ask.GetOnlineUsers(&wirev1.GetOnlineUsers{RoomId: &room}), "forbidden")
		if info := c.Ask(ask.GetRoomInfo(room)).GetRoomInfo(); !info.Exists || info.Policy.GetRead() != "members" {
			t.Errorf("info %v", info)
		}
	}
	within(t, start, "a policy")
	owner.Say(room, "among us")
	bob.Hear(room, "among us")
	// In a room that only moderators read, a member is one no more.
	wantAck(t, owner, room, ask.SetRole(room, "bob", "moderator"))
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Read: proto.String("moderators")}))
	bob.Say(room, "still here")
	wantAck(t, owner, room, ask.SetRole(room, "bob", "member"))
	bob.Want("kicked")
	until(t, bob, ask.JoinRoom(&wirev1.JoinRoom{RoomId: room}), "forbidden")
}

func testPolicyOfInvitations(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{Visibility: proto.String("private")})
	wantAck(t, owner, room, ask.Invite(room, "bob"))
	bob, eve := signedIn(t, s, 1, encoding, "bob"), signedIn(t, s, 1, encoding, "eve")
	bob.Join(room)
	bob.AskError(ask.Invite(room, "eve"), "forbidden")
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Invite: proto.String("everyone")}))
	wantAck(t, bob, room, ask.Invite(room, "eve"))
	eve.Join(room)
	bob.AskError(ask.SetRole(room, "zoe", "moderator"), "forbidden")
	bob.AskError(ask.Uninvite(room, "eve"), "forbidden")
	signedIn(t, s, 0, encoding, "mallory").AskError(ask.Invite(room, "zoe"), "not-found")
	wantAck(t, owner, room, ask.SetRole(room, "bob", "moderator"))
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Invite: proto.String("owner")}))
	until(t, bob, ask.Invite(room, "zoe"), "forbidden")
}

func testRoomRate(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	// One message an hour: no test is as slow.
	slow := &wirev1.RoomPolicy{Rate: proto.Float64(1.0 / 3600)}
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{Policy: slow})
	eve, same := signedIn(t, s, 1, encoding, "eve"), signedIn(t, s, 1, encoding, "eve")
	bob := signedIn(t, s, 1, encoding, "bob")
	for _, c := range []*client.Client{eve, same, bob} {
		c.Join(room)
	}
	eve.Say(room, "one")
	for _, c := range []*client.Client{eve, same} {
		if after := c.AskError(says(room, "two"), "rate-limited").GetRetryAfterMs(); after < 3_000_000 || after > 3_600_000 {
			t.Errorf("retry after %d ms", after)
		}
		c.Send(typing(room)) // is no message
	}
	owner.Want("signal")
	// To come back does not help.
	eve.Ask(ask.LeaveRoom(room))
	eve.Join(room)
	eve.AskError(says(room, "two"), "rate-limited")
	bob.Say(room, "mine")
	for i := range 3 {
		owner.Say(room, fmt.Sprint("owners are not bound ", i))
	}
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Rate: proto.Float64(0)}))
	until(t, eve, says(room, "two"), "")
	eve.Say(room, "three")
	// Some at once.
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Rate: proto.Float64(5)}))
	eve.Settle()
	eve.Want("room-updated")
	eve.Want("room-updated")
	refused := 0
	for range 50 {
		if eve.Ask(says(room, "x")).GetError().GetCode() == "rate-limited" {
			refused++
		}
	}
	if refused == 0 {
		t.Error("50 messages at once were taken at 5 a second")
	}
}

func testRoomSize(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{Policy: &wirev1.RoomPolicy{MaxMembers: proto.Int32(2)}})
	join := ask.JoinRoom(&wirev1.JoinRoom{RoomId: room})
	bob, eve := signedIn(t, s, 0, encoding, "bob"), signedIn(t, s, 1, encoding, "eve")
	bob.Join(room)
	until(t, eve, join, "forbidden") // gateways hear of each other's in a moment
	eve.AskError(says(room, "x"), "not-joined")
	// Another device is no other user, and joining again takes no place.
	second := signedIn(t, s, 1, encoding, "bob")
	second.Join(room)
	second.Join(room)
	// Who is cut off keeps the place for the lease.
	token := bob.SignIn(signHS256(t, secret, claims{"sub": "bob"})).ResumeToken
	bob.Cut()
	second.Close()
	back := client.Dial(t, s.URLs[1], client.Options{Encoding: encoding})
	if got := back.Ask(ask.Resume(token, map[string]*wirev1.Position{room: {}})).GetResumed().GetRooms()[room]; got == nil || got.Error != nil {
		t.Errorf("resumed %v", got)
	}
	owner.Ask(ask.LeaveRoom(room))
	until(t, eve, join, "")
	owner.Join(room) // owners come in all the same
	back.Close()
	eve.Close()
}

func testRoomRetention(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{})
	var seqs []int64
	say := func(n int) {
		for range n {
			seqs = append(seqs, owner.Say(room, fmt.Sprint(len(seqs))).GetSeq())
		}
	}
	say(10)
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Retention: proto.Int32(5)}))
	owner.Want("room-updated")
	want := func(n int) {
		t.Helper()
		for i, url := range s.URLs {
			c := client.Dial(t, url, client.Options{Encoding: encoding})
			c.SignIn(signHS256(t, secret, claims{"sub": fmt.Sprint("reader-", i)}))
			history := c.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: room})).GetMessageHistory()
			_, joined := c.Join(room)
			again := c.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: room})).GetMessageHistory()
			for what, got := range map[string]*wirev1.MessageHistory{"from outside": history, "at a join": joined, "from inside": again} {
				if len(got.GetMessages()) != n || got.HasMore || n > 0 && seqOf(t, got.Messages[0]) != seqs[len(seqs)-n] {
					t.Errorf("gateway %d, %s: %d messages (more: %v), want %d", i, what, len(got.GetMessages()), got.HasMore, n)
				}
			}
			c.Close()
		}
	}
	want(5)
	say(20)
	want(5)

	// What is gone is said to be.
	reader := signedIn(t, s, 1, encoding, "returning")
	back := func(after int64) *wirev1.RoomJoined {
		joined, _ := reader.JoinWith(&wirev1.JoinRoom{RoomId: room, After: &after})
		reader.Ask(ask.LeaveRoom(room))
		return joined
	}
	newest := len(seqs) - 1
	if got := back(seqs[newest-2]); !got.Recovered {
		t.Errorf("two behind: %v", got)
	}
	if got := back(seqs[newest-10]); got.Recovered || got.GetOldestSeq() != seqs[newest-4] {
		t.Errorf("ten behind: %v, want oldest %d", got, seqs[newest-4])
	}
	// Nor does it come back, or is nothing said to be lost, when more is kept.
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Retention: proto.Int32(0)}))
	owner.Want("room-updated")
	say(2)
	want(7)
	if got := back(seqs[newest-10]); got.Recovered {
		t.Errorf("ten behind, with more kept: %v", got)
	}
	if got := back(seqs[newest]); !got.Recovered {
		t.Errorf("after the change: %v", got)
	}
}

func testGuests(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{})
	guest := signedIn(t, s, 1, encoding, "guest-1", "guest")
	guest.Join(room)
	owner.Say(room, "hello")
	guest.Hear(room, "hello")
	for _, f := range []*wirev1.ClientFrame{says(room, "x"), typing(room)} {
		guest.AskError(f, "forbidden")
	}
	guest.Ask(ask.Chat("guests write in the lobby"))
	guest.Want("chat")
	guest.AskError(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room + "2"}), "forbidden")
	guest.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: room + "2"}), "not-found")
	guest.AskError(ask.OpenDirect("owner"), "forbidden")
	guest.AskError(ask.MarkRead(room, 1), "forbidden")

	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Guests: proto.String("write")}))
	until(t, guest, says(room, "hi"), "")
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Post: proto.String("members")}))
	until(t, guest, says(room, "hi"), "forbidden")
	wantAck(t, owner, room, allow(room, &wirev1.RoomPolicy{Guests: proto.String("none"), Post: proto.String("everyone")}))
	guest.Want("kicked")
	guest.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: room}), "forbidden")
	guest.AskError(ask.GetHistory(&wirev1.GetHistory{RoomId: room}), "forbidden")
	wantAck(t, owner, room, ask.Invite(room, "guest-1"))
	guest.Join(room)
	until(t, guest, says(room, "as one of you"), "")
}

// testPolicyOfTheLobby: nobody is admitted to the lobby, and yet its policy
// binds all.
func testPolicyOfTheLobby(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	admin, eve := signedIn(t, s, 0, encoding, "root", "admin"), signedIn(t, s, 1, encoding, "eve")
	until(t, eve, ask.Chat("x"), "")
	wantAck(t, admin, "lobby", allow("lobby", &wirev1.RoomPolicy{Post: proto.String("members")}))
	until(t, eve, ask.Chat("x"), "forbidden")
	late := signedIn(t, s, 0, encoding, "eve")
	until(t, late, ask.Chat("x"), "forbidden")
	until(t, admin, ask.Chat("x"), "")

	wantAck(t, admin, "lobby", ask.Invite("lobby", "eve"))
	until(t, eve, ask.Chat("x"), "")
	until(t, signedIn(t, s, 1, encoding, "eve"), ask.Chat("x"), "")
	wantAck(t, admin, "lobby", ask.Uninvite("lobby", "eve"))
	until(t, eve, ask.Chat("x"), "forbidden")

	wantAck(t, admin, "lobby", allow("lobby", &wirev1.RoomPolicy{Post: proto.String("everyone")}))
	until(t, eve, ask.Chat("x"), "")
	until(t, late, ask.Chat("x"), "")
}

// testRolesOfANewerToken: an account's roles count in rooms that it is in.
func testRolesOfANewerToken(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, _ := open(t, s, encoding, &wirev1.CreateRoom{Policy: &wirev1.RoomPolicy{Post: proto.String("owner")}})
	zoe := signedIn(t, s, 1, encoding, "zoe")
	zoe.Join(room)
	zoe.AskError(says(room, "x"), "forbidden")
	zoe.SignIn(signHS256(t, secret, claims{"sub": "zoe", "roles": []string{"admin"}}))
	until(t, zoe, says(room, "x"), "")
	zoe.SignIn(signHS256(t, secret, claims{"sub": "zoe"}))
	until(t, zoe, says(room, "x"), "forbidden")
}

// testUnheardPolicy changes what a room allows without a word, as when it is
// lost while a gateway is cut off from NATS.
func testUnheardPolicy(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{})
	eve := signedIn(t, s, 0, encoding, "eve")
	eve.Join(room)
	until(t, eve, says(room, "x"), "")
	kv, err := s.Bus.Bucket(t.Context(), bus.Rooms)
	if err != nil {
		t.Fatal(err)
	}
	key := "r." + ids.Token(room)
	entry, err := kv.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	record := new(registryv1.Room)
	if err := proto.Unmarshal(entry.Value, record); err != nil {
		t.Fatal(err)
	}
	record.Policy, record.CreationRevision = &registryv1.Policy{Post: registryv1.Who_WHO_OWNERS.Enum()}, entry.Revision
	value, err := proto.Marshal(record)
	if err == nil {
		_, err = kv.Update(t.Context(), key, value, entry.Revision)
	}
	if err != nil {
		t.Fatal(err)
	}
	eve.Say(room, "nobody has told the gateway")
	stack.Eventually(t, "the registry has heard of it, and so has the gateway", func() error {
		if err := s.Gateways[0].Recheck(t.Context()); err != nil {
			return err
		}
		if code := eve.Ask(says(room, "x")).GetError().GetCode(); code != "forbidden" {
			return errCode(code)
		}
		return nil
	})
	owner.Say(room, "owners may")
}

func testRoomRecord(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{
		Topic: proto.String("news"), Attributes: []byte(`{"b": [1, 2], "a":"ä"}`),
		Policy: &wirev1.RoomPolicy{Retention: proto.Int32(50), MaxMembers: proto.Int32(7)},
	})
	eve := signedIn(t, s, 1, encoding, "eve")
	info := eve.Ask(ask.GetRoomInfo(room)).GetRoomInfo()
	want := &wirev1.RoomPolicy{
		Post: proto.String("everyone"), Read: proto.String("everyone"), Signal: proto.String("everyone"),
		Invite: proto.String("moderators"), Guests: proto.String("read"),
		Rate: proto.Float64(0), MaxMembers: proto.Int32(7), Retention: proto.Int32(50),
	}
	if string(info.Attributes) != `{"a":"ä","b":[1,2]}` || info.GetTopic() != "news" || !proto.Equal(info.Policy, want) {
		t.Fatalf("info %v", info)
	}
	update := func(r *wirev1.UpdateRoom) *wirev1.ServerFrame {
		r.RoomId = room
		return owner.Ask(ask.UpdateRoom(r))
	}
	// The first who knows the room as it is may change it, and the second has to
	// look again.
	for _, code := range []string{"", "already-exists"} {
		answer := update(&wirev1.UpdateRoom{Attributes: []byte(`{"b":null,"c":{}}`), Revision: info.Revision})
		if answer.GetError().GetCode() != code || code != "" && answer.GetError().GetField() != "revision" {
			t.Errorf("answered %v, want %q", answer, code)
		}
	}
	next := eve.Ask(ask.GetRoomInfo(room)).GetRoomInfo()
	if string(next.Attributes) != `{"a":"ä","c":{}}` || next.GetRevision() <= info.GetRevision() {
		t.Errorf("info %v", next)
	}
	if got := owner.Want("room-updated").GetRoomUpdated(); !proto.Equal(got.Policy, want) || string(got.Attributes) != string(next.Attributes) || got.GetRevision() != next.GetRevision() {
		t.Errorf("room-updated %v, info %v", got, next)
	}
	update(&wirev1.UpdateRoom{Attributes: []byte(`{"a":null,"c":null}`)})
	if got := eve.Ask(ask.GetRoomInfo(room)).GetRoomInfo(); got.Attributes != nil {
		t.Errorf("attributes %s", got.Attributes)
	}
}

func testRoomSanctions(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{})
	eve := signedIn(t, s, 1, encoding, "eve")
	until := timestamppb.New(time.Now().Add(time.Hour).Truncate(time.Millisecond))
	wantAck(t, owner, room, ask.Ban(&wirev1.Moderate{RoomId: room, UserId: "u1", Reason: proto.String("noise"), Until: until}))
	wantAck(t, owner, room, ask.Mute(&wirev1.Moderate{RoomId: room, UserId: "u2"}))
	wantAck(t, owner, room, ask.Mute(&wirev1.Moderate{RoomId: room, UserId: "u3"}))
	wantAck(t, owner, room, ask.Unmute(&wirev1.Moderate{RoomId: room, UserId: "u3"}))
	wantAck(t, owner, room, ask.Mute(&wirev1.Moderate{RoomId: room, UserId: "u4"}))
	var users []*wirev1.SanctionedUser
	for cursor := ""; ; {
		page := owner.Ask(ask.GetRoomSanctions(&wirev1.GetRoomSanctions{RoomId: room, Limit: proto.Int32(2), Cursor: &cursor})).GetRoomSanctions()
		users = append(users, page.GetUsers()...)
		if cursor = page.GetNextCursor(); cursor == "" {
			break
		}
	}
	want := []*wirev1.SanctionedUser{
		{Id: "u1", Ban: &wirev1.Sanction{Until: until, Reason: proto.String("noise")}},
		{Id: "u2", Mute: &wirev1.Sanction{}},
		{Id: "u4", Mute: &wirev1.Sanction{}},
	}
	if len(users) != len(want) {
		t.Fatalf("sanctions %v, want %v", users, want)
	}
	for i := range want {
		if !proto.Equal(users[i], want[i]) {
			t.Errorf("sanction %v, want %v", users[i], want[i])
		}
	}
	eve.AskError(ask.GetRoomSanctions(&wirev1.GetRoomSanctions{RoomId: room}), "forbidden")
	wantField(t, owner.Ask(ask.GetRoomSanctions(&wirev1.GetRoomSanctions{RoomId: room, Limit: proto.Int32(0)})), "invalid-argument", "limit")
}

// seqOf gives the place of a message in a history.
func seqOf(t *testing.T, f *wirev1.ServerFrame) int64 {
	t.Helper()
	if m := f.GetChatMessage(); m != nil {
		return m.Seq
	}
	t.Fatalf("in a history: %v", f)
	return 0
}

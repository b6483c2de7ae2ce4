package e2e

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

func TestAmending(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateways: 2})
	for _, encoding := range []frame.Encoding{frame.JSON, frame.Proto} {
		for _, c := range []struct {
			name string
			test func(*testing.T, *amending)
		}{
			{"edit", testEdit},
			{"delete", testDelete},
			{"rights", testAmendRights},
			{"lobby", testAmendInTheLobby},
			{"read marks", testReadMarks},
		} {
			t.Run(c.name+" "+encoding.String(), func(t *testing.T) {
				room := strings.ReplaceAll(c.name, " ", "-") + "-" + encoding.String()
				c.test(t, &amending{t: t, stack: s, encoding: encoding, room: room})
			})
		}
	}
}

// amending is one test's room and people.
type amending struct {
	t        *testing.T
	stack    *stack.Stack
	encoding frame.Encoding
	room     string
}

// person connects a user to a gateway.
func (a *amending) person(gateway int, name string) *client.Client {
	a.t.Helper()
	c := client.Dial(a.t, a.stack.URLs[gateway], client.Options{Encoding: a.encoding})
	c.SignIn(a.stack.Token(a.t, name+"-"+a.encoding.String()))
	return c
}

func (a *amending) edit(target int64, content string) *wirev1.ClientFrame {
	return ask.EditMessage(&wirev1.EditMessage{RoomId: a.room, Target: target, Content: &content})
}

// again sends a request under an id and gives its ack.
func (a *amending) again(c *client.Client, id string, f *wirev1.ClientFrame) *wirev1.Ack {
	a.t.Helper()
	f.Id = &id
	c.Send(f)
	answer := c.Reply(id)
	if answer.GetAck() == nil {
		a.t.Fatalf("%s was answered %v", id, answer)
	}
	return answer.GetAck()
}

// nowhere checks that a text cannot be read any more in any way.
func (a *amending) nowhere(secret string, members ...*client.Client) {
	a.t.Helper()
	check := func(where string, what any) {
		a.t.Helper()
		if text := fmt.Sprint(what); strings.Contains(text, secret) {
			a.t.Errorf("%s still has it: %s", where, text)
		}
	}
	// First, for a read erases what should be erased by now.
	page, err := a.stack.Bus.ReadAfter(a.t.Context(), a.room, 0, bus.MaxPage, 0)
	if err != nil {
		a.t.Fatal(err)
	}
	if len(page.Entries) == 0 {
		a.t.Error("the log is empty")
	}
	for _, s := range page.Entries {
		check("the log", s.Entry)
	}
	for i, c := range members {
		check(fmt.Sprintf("get-history of member %d", i), c.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: a.room, Limit: proto.Int32(1000)})))
		check(fmt.Sprintf("get-history after 0 of member %d", i), c.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: a.room, After: proto.Int64(0)})))
		_, history := c.Join(a.room)
		check(fmt.Sprintf("a join of member %d", i), history)
		_, history = c.JoinWith(&wirev1.JoinRoom{RoomId: a.room, History: proto.Int32(1000)})
		check(fmt.Sprintf("a long join of member %d", i), history)
		joined, history := c.JoinWith(&wirev1.JoinRoom{RoomId: a.room, After: proto.Int64(0)})
		check(fmt.Sprintf("a recovery of member %d", i), history)
		if !joined.Recovered {
			a.t.Errorf("a recovery of member %d from the beginning: %v", i, joined)
		}
	}
}

func testEdit(t *testing.T, a *amending) {
	alice, bob := a.person(0, "alice"), a.person(1, "bob")
	alice.Join(a.room)
	bob.Join(a.room)
	first := alice.Say(a.room, "helo")
	bob.Hear(a.room, "helo")

	ack := a.again(alice, "e1", a.edit(first.GetSeq(), "hello"))
	if ack.GetSeq() <= first.GetSeq() || ack.Duplicate || ack.Timestamp == nil || ack.GetDurability() != "file" || ack.Synced != nil {
		t.Errorf("ack %v", ack)
	}
	for _, c := range []*client.Client{alice, bob} {
		f := c.Want("message-edited")
		e := f.GetMessageEdited()
		if f.GetId() != "e1" || e.Seq != ack.GetSeq() || e.GetPrev() != first.GetSeq() || e.Target != first.GetSeq() ||
			e.GetContent() != "hello" || !strings.HasPrefix(e.User.Username, "alice") || !e.Timestamp.AsTime().Equal(ack.Timestamp.AsTime()) {
			t.Errorf("message-edited %v", f)
		}
	}
	again := a.again(alice, "e1", a.edit(first.GetSeq(), "hello"))
	if !again.Duplicate || again.GetSeq() != ack.GetSeq() {
		t.Errorf("the same again: %v", again)
	}
	next := alice.Say(a.room, "next")
	if heard := bob.Hear(a.room, "next"); heard.GetPrev() != ack.GetSeq() || heard.Seq != next.GetSeq() {
		t.Errorf("what follows: %v, want prev %d", heard, ack.GetSeq())
	}
	if more := bob.Untaken("message-edited"); len(more) != 0 {
		t.Errorf("edited twice: %v", more)
	}
	carol := a.person(1, "carol")
	_, history := carol.Join(a.room)
	wantEntries(t, "a later joiner", history, "chat-message helo", "message-edited hello", "chat-message next")
	bob.Cut()
	bob = a.person(0, "bob")
	joined, history := bob.JoinWith(&wirev1.JoinRoom{RoomId: a.room, After: first.Seq})
	if !joined.Recovered {
		t.Errorf("recovery: %v", joined)
	}
	wantEntries(t, "recovery", history, "message-edited hello", "chat-message next")
	page := carol.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: a.room}))
	wantEntries(t, "get-history", page.GetMessageHistory(), "chat-message helo", "message-edited hello", "chat-message next")
}

// wantEntries checks the types and contents of a message-history.
func wantEntries(t *testing.T, what string, history *wirev1.MessageHistory, want ...string) {
	t.Helper()
	var got []string
	for _, f := range history.GetMessages() {
		content := f.GetChatMessage().GetContent() + f.GetRoomMessage().GetContent() + f.GetMessageEdited().GetContent()
		got = append(got, strings.TrimSpace(frame.EventType(f)+" "+content))
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func testDelete(t *testing.T, a *amending) {
	alice, bob := a.person(0, "alice"), a.person(1, "bob")
	alice.Join(a.room)
	bob.Join(a.room)
	a.person(0, "keeper").Join(a.room) // keeps the room in a gateway's memory
	before := alice.Say(a.room, "before")
	first := alice.Say(a.room, "secret")
	edited := a.again(alice, "e1", a.edit(first.GetSeq(), "secret, edited"))
	away := a.person(1, "carol")
	away.Join(a.room)
	away.Close()

	ack := a.again(alice, "d1", ask.DeleteMessage(a.room, first.GetSeq()))
	if ack.GetSeq() <= edited.GetSeq() || ack.Duplicate || ack.Timestamp == nil || ack.GetDurability() != "file" {
		t.Errorf("ack %v", ack)
	}
	for _, c := range []*client.Client{alice, bob} {
		f := c.Want("message-deleted")
		d := f.GetMessageDeleted()
		if f.GetId() != "d1" || d.Seq != ack.GetSeq() || d.GetPrev() != edited.GetSeq() || d.Target != first.GetSeq() ||
			!strings.HasPrefix(d.User.Username, "alice") || !d.Timestamp.AsTime().Equal(ack.Timestamp.AsTime()) {
			t.Errorf("message-deleted %v", f)
		}
	}
	a.nowhere("secret", alice, bob)
	again := a.again(alice, "d1", ask.DeleteMessage(a.room, first.GetSeq()))
	if !again.Duplicate || again.GetSeq() != ack.GetSeq() {
		t.Errorf("the same again: %v", again)
	}
	alice.AskError(ask.DeleteMessage(a.room, first.GetSeq()), "not-found")
	alice.AskError(a.edit(first.GetSeq(), "back"), "not-found")

	next := alice.Say(a.room, "next")
	if heard := bob.Hear(a.room, "next"); heard.GetPrev() != ack.GetSeq() || heard.Seq != next.GetSeq() {
		t.Errorf("what follows: %v, want prev %d", heard, ack.GetSeq())
	}
	// Who was away is told of the deletion, whatever it has seen.
	for _, after := range []*int64{before.Seq, first.Seq, edited.Seq} {
		carol := a.person(0, "carol")
		joined, history := carol.JoinWith(&wirev1.JoinRoom{RoomId: a.room, After: after})
		if !joined.Recovered {
			t.Errorf("recovery after %d: %v", *after, joined)
		}
		wantEntries(t, fmt.Sprintf("recovery after %d", *after), history, "message-deleted", "chat-message next")
	}
	// A gateway that has nothing of the room in memory reads the log.
	dave := client.Dial(t, a.stack.URLs[a.stack.AddGateway(t, nil)], client.Options{Encoding: a.encoding})
	dave.SignIn(a.stack.Token(t, "dave"))
	_, history := dave.Join(a.room)
	wantEntries(t, "a join at another gateway", history, "chat-message before", "message-deleted", "chat-message next")
	a.nowhere("secret", dave)

	// The newest entry of the log can be deleted as well.
	a.again(alice, "d2", ask.DeleteMessage(a.room, next.GetSeq()))
	last := alice.Say(a.room, "last")
	if heard := bob.Hear(a.room, "last"); heard.GetPrev() <= next.GetSeq() || heard.Seq != last.GetSeq() {
		t.Errorf("after deleting the newest: %v", heard)
	}
}

func testAmendRights(t *testing.T, a *amending) {
	owner, author, stranger, mod := a.person(0, "owner"), a.person(1, "author"), a.person(1, "stranger"), a.person(0, "mod")
	if answer := owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: a.room})); !answer.GetRoomCreated().GetSuccess() {
		t.Fatalf("create-room: %v", answer)
	}
	for _, c := range []*client.Client{owner, author, mod} {
		c.Join(a.room)
	}
	m := author.Say(a.room, "mine").GetSeq()
	stranger.AskError(a.edit(m, "x"), "not-joined")
	stranger.AskError(ask.DeleteMessage(a.room, m), "not-joined")
	stranger.Join(a.room)
	stranger.AskError(a.edit(m, "x"), "forbidden")
	stranger.AskError(ask.DeleteMessage(a.room, m), "forbidden")
	mod.AskError(ask.DeleteMessage(a.room, m), "forbidden")

	me := mod.Ask(ask.GetOnlineUsers(&wirev1.GetOnlineUsers{RoomId: &a.room}))
	var modUser *wirev1.User
	for _, u := range me.GetOnlineUsers().GetUsers() {
		if strings.HasPrefix(u.Username, "mod") {
			modUser = &wirev1.User{Id: u.Id, Username: u.Username}
		}
	}
	if _, err := a.stack.Registry.SetMember(t.Context(), &registryv1.SetMemberRequest{
		RoomId: a.room, User: modUser, Role: registryv1.Role_ROLE_MODERATOR,
	}); err != nil {
		t.Fatal(err)
	}
	edited := a.again(mod, "m1", a.edit(m, "moderated"))
	if e := author.Want("message-edited").GetMessageEdited(); e.Seq != edited.GetSeq() || e.User.Id != modUser.Id || e.GetContent() != "moderated" {
		t.Errorf("a moderator's edit: %v", e)
	}
	a.again(mod, "m2", ask.DeleteMessage(a.room, m))
	if d := author.Want("message-deleted").GetMessageDeleted(); d.Target != m || d.User.Id != modUser.Id {
		t.Errorf("a moderator's deletion: %v", d)
	}
	a.nowhere("moderated", author)
	m2 := author.Say(a.room, "mine again").GetSeq()
	author.Hear(a.room, "mine again")
	a.again(owner, "o1", ask.DeleteMessage(a.room, m2))

	// Arguments come before rights.
	other := a.person(0, "other")
	for _, c := range []struct {
		name, field string
		f           *wirev1.ClientFrame
	}{
		{"no room", "roomId", ask.EditMessage(&wirev1.EditMessage{Target: 1, Content: proto.String("x")})},
		{"no target", "target", a.edit(0, "x")},
		{"a negative target", "target", ask.DeleteMessage(a.room, -1)},
		{"no content", "content", ask.EditMessage(&wirev1.EditMessage{RoomId: a.room, Target: 1})},
		{"no seq", "seq", ask.MarkRead(a.room, 0)},
	} {
		if e := other.AskError(c.f, "invalid-argument"); e.GetField() != c.field {
			t.Errorf("%s: %v, want field %s", c.name, e, c.field)
		}
	}
	other.AskError(a.edit(1, strings.Repeat("x", 16<<10+1)), "too-large")
	other.AskError(ask.MarkRead(a.room, 1), "not-joined")
	if e := author.AskError(a.edit(m2+1, "x"), "invalid-argument"); e.GetField() != "target" {
		t.Errorf("editing a deletion: %v", e)
	}
	author.AskError(a.edit(1<<50, "x"), "not-found")
	withContent := author.Say(a.room, "no data").GetSeq()
	if e := author.AskError(a.edit(withContent, ""), "invalid-argument"); e.GetField() != "content" {
		t.Errorf("editing everything away: %v", e)
	}
}

func testAmendInTheLobby(t *testing.T, a *amending) {
	a.room = ids.Lobby
	alice, bob := a.person(0, "alice"), a.person(1, "bob")
	text := "lobby secret " + a.encoding.String()
	said := alice.Ask(ask.Chat(text)).GetAck()
	bob.Wait("chat", func(f *wirev1.ServerFrame) bool { return f.GetChat().GetMessage() == text })
	edited := a.again(alice, "e1", a.edit(said.GetSeq(), text+", edited"))
	if e := bob.Want("message-edited").GetMessageEdited(); e.RoomId != ids.Lobby || e.Target != said.GetSeq() || e.Seq != edited.GetSeq() {
		t.Errorf("message-edited %v", e)
	}
	bob.AskError(ask.DeleteMessage(ids.Lobby, said.GetSeq()), "forbidden")
	a.again(alice, "d1", ask.DeleteMessage(ids.Lobby, said.GetSeq()))
	if d := bob.Want("message-deleted").GetMessageDeleted(); d.RoomId != ids.Lobby || d.Target != said.GetSeq() {
		t.Errorf("message-deleted %v", d)
	}
	a.nowhere(text, bob)
}

func testReadMarks(t *testing.T, a *amending) {
	alice, bob := a.person(0, "alice"), a.person(1, "bob")
	alice.Join(a.room)
	if joined, _ := bob.Join(a.room); joined.ReadSeq != nil || joined.Unread != nil {
		t.Errorf("without a mark: %v", joined)
	}
	seqs := fill(t, alice, a.room, 0, 5)
	ack := a.again(bob, "r1", ask.MarkRead(a.room, seqs[1]))
	if ack.GetSeq() != seqs[1] || ack.RoomId != a.room || ack.Durability != nil {
		t.Errorf("ack %v", ack)
	}
	if back := a.again(bob, "r2", ask.MarkRead(a.room, seqs[0])); back.GetSeq() != seqs[1] {
		t.Errorf("marking what was read before: %v", back)
	}
	bob.Close()
	want := func(what string, c *client.Client, read, unread int64) {
		t.Helper()
		joined, _ := c.Join(a.room)
		if joined.ReadSeq == nil || joined.Unread == nil || joined.GetReadSeq() != read || joined.GetUnread() != unread {
			t.Errorf("%s: %v, want read %d, %d unread", what, joined, read, unread)
		}
	}
	bob = a.person(1, "bob")
	want("after coming back", bob, seqs[1], 3)
	want("on another device", a.person(0, "bob"), seqs[1], 3)
	if joined, _ := alice.Join(a.room); joined.ReadSeq != nil {
		t.Errorf("another user: %v", joined)
	}
	// More than memory holds: the log counts.
	more := fill(t, alice, a.room, 5, 100)
	want("far behind", a.person(0, "bob"), seqs[1], 103)
	a.again(bob, "r3", ask.MarkRead(a.room, more[99]))
	want("with everything read", a.person(0, "bob"), more[99], 0)
	a.again(alice, "e1", a.edit(more[99], "edited"))
	want("after an edit", a.person(1, "bob"), more[99], 1)
}

// A log that has dropped messages and lost others to deletions is shorter than
// the retention, and must not be taken for one that has dropped nothing.
func TestDeletionsDoNotHideAGap(t *testing.T) {
	s := stack.Start(t, stack.Options{Log: bus.LogConfig{Retention: 100}})
	a := &amending{t: t, stack: s, room: "general"}
	alice := a.person(0, "alice")
	alice.Join(a.room)
	seqs := fill(t, alice, a.room, 0, 150)
	for i, seq := range seqs[75:100] {
		a.again(alice, fmt.Sprintf("d%d", i), ask.DeleteMessage(a.room, seq))
	}
	rejoin := func(c *client.Client, what string, after int64, want bool) {
		t.Helper()
		if joined, _ := c.JoinWith(&wirev1.JoinRoom{RoomId: a.room, After: &after}); joined.Recovered != want {
			t.Errorf("%s, after %d: %v, want recovered %t", what, after, joined, want)
		}
	}
	for i := range 2 {
		c := alice
		if i == 1 { // a gateway that has just opened the room
			c = client.Dial(t, s.URLs[s.AddGateway(t, nil)], client.Options{})
			c.SignIn(s.Token(t, "carol"))
		}
		rejoin(c, "what followed was dropped", seqs[5], false)
		rejoin(c, "it is still there", seqs[80], true)
		rejoin(c, "all is in memory", seqs[149], true)
	}
}

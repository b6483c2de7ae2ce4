package e2e

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

func testResume(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	one, two, three := named(t, "one"), named(t, "two"), named(t, "three")
	alice := signedIn(t, s, 0, encoding, "alice")
	bob := client.Dial(t, s.URLs[1], client.Options{Encoding: encoding})
	me := bob.SignIn(signHS256(t, secret, claims{"sub": "bob", "username": "Bob", "roles": []string{"admin"}, "exp": time.Now().Add(time.Hour).Unix()}))
	epochs := map[string]string{}
	for _, room := range []string{one, two, three} {
		alice.Join(room)
		joined, _ := bob.Join(room)
		epochs[room] = joined.Epoch
	}
	at := map[string]int64{}
	for _, room := range []string{one, two} {
		seqs := fill(t, alice, room, 0, 5)
		bob.Hear(room, "4")
		at[room] = seqs[4]
	}
	bob.Cut()
	fill(t, alice, one, 5, 450)
	fill(t, alice, two, 5, 3)
	missed := alice.Say(three, "missed")

	// On the other gateway, with seqs in each of the forms.
	back := client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
	rooms := map[string]*wirev1.Position{
		one:                 {Seq: at[one]},
		two:                 {Seq: at[two], Epoch: proto.String(epochs[two])},
		three:               {Seq: 0, Epoch: proto.String("another")},
		"dm:nobody":         {Seq: 1},
		named(t, "missing"): {Seq: 1},
	}
	answer := back.Ask(ask.Resume(me.ResumeToken, rooms))
	r := answer.GetResumed()
	if r == nil || r.User.Id != "bob" || r.User.Username != "Bob" || len(r.User.Roles) != 1 || r.SessionId != me.SessionId || r.ResumeToken == "" || len(r.Rooms) != len(rooms) {
		t.Fatalf("resume was answered %v", answer)
	}
	for _, room := range []string{one, two} {
		if state := r.Rooms[room]; !state.Recovered || state.Epoch != epochs[room] || state.MemberCount != 2 || state.Error != nil || state.OldestSeq != nil {
			t.Errorf("%s: %v", room, state)
		}
	}
	if state := r.Rooms[three]; state.Recovered || state.GetOldestSeq() != missed.GetSeq() || state.Seq != missed.GetSeq() || state.Epoch != epochs[three] {
		t.Errorf("a room of another life: %v", state)
	}
	for _, room := range []string{"dm:nobody", named(t, "missing")} {
		if state := r.Rooms[room]; state.GetError() != "not-found" {
			t.Errorf("%s: %v", room, state)
		}
	}
	// What was missed comes in order, before anything live.
	last := alice.Say(one, "455")
	want := map[string]int{one: 450, two: 3, three: 1}
	live := back.Hear(one, "455")
	got := map[string][]*wirev1.Message{}
	for _, f := range back.Untaken("message-history") {
		h := f.GetMessageHistory()
		if len(h.Messages) > 200 {
			t.Errorf("a page of %d", len(h.Messages))
		}
		for _, m := range h.Messages {
			got[h.RoomId] = append(got[h.RoomId], m.GetChatMessage())
		}
		if more := len(got[h.RoomId]) < want[h.RoomId]; h.HasMore != more {
			t.Errorf("%s: more %v after %d", h.RoomId, h.HasMore, len(got[h.RoomId]))
		}
	}
	numbered(t, "one", got[one], 5, 450)
	numbered(t, "two", got[two], 5, 3)
	if len(got[three]) != 1 || got[three][0].GetContent() != "missed" {
		t.Errorf("three: %v", got[three])
	}
	if n := len(got[one]); n > 0 && (live.GetPrev() != got[one][n-1].Seq || live.Seq != last.GetSeq()) {
		t.Errorf("live %v", live)
	}
	if stray := back.Untaken("chat-message"); len(stray) > 0 {
		t.Errorf("came live as well: %v", stray)
	}
	back.Say(two, "here again")
	alice.Hear(two, "here again")
	if answer := back.Ask(ask.AdminBroadcast("still the admin")); answer.GetAck() == nil {
		t.Errorf("the roles are lost: %v", answer)
	}
	back.AskError(ask.ChatMessage(&wirev1.SendMessage{RoomId: named(t, "missing"), Content: proto.String("x")}), "not-joined")
	back.AskError(ask.Resume(r.ResumeToken, nil), "resume-failed") // signed in already
	// The newer token is good, and so is the older one: its answer may be lost.
	for _, token := range []string{r.ResumeToken, me.ResumeToken} {
		back.Cut()
		back = client.Dial(t, s.URLs[1], client.Options{Encoding: encoding})
		again := back.Ask(ask.Resume(token, map[string]*wirev1.Position{one: {Seq: last.GetSeq()}})).GetResumed()
		if again.GetSessionId() != me.SessionId || !again.Rooms[one].GetRecovered() {
			t.Errorf("again: %v", again)
		}
	}
	// A bare number is a seq, in JSON.
	if encoding == frame.JSON {
		back.Cut()
		back = client.Dial(t, s.URLs[1], client.Options{})
		state := back.AskText(fmt.Sprintf(`{"type":"resume","resumeToken":%q,"rooms":{%q:%d}}`, r.ResumeToken, one, last.GetSeq())).GetResumed()
		if !state.GetRooms()[one].GetRecovered() {
			t.Errorf("resumed %v", state)
		}
	}
}

// testResumeWithoutFlap cuts a connection: within the lease nobody sees it,
// and after it the session is gone.
func testResumeWithoutFlap(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	witness := signedIn(t, s, 0, encoding, "witness")
	if ms := witness.Want("welcome").GetWelcome().Limits.LeaseMs; ms != 2000 {
		t.Errorf("the lease is %d ms", ms)
	}
	witness.Join(room)
	c := client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
	me := c.SignIn(signHS256(t, secret, claims{"sub": "traveller"}))
	c.Join(room)
	witness.Want("user-joined")
	for i := range 4 {
		c.Cut()
		c = client.Dial(t, s.URLs[i%2], client.Options{Encoding: encoding})
		state := c.Ask(ask.Resume(me.ResumeToken, map[string]*wirev1.Position{room: {}})).GetResumed().GetRooms()[room]
		if state.GetMemberCount() != 2 || state.Error != nil {
			t.Errorf("resumed %v", state)
		}
	}
	c.Say(room, "through")
	witness.Hear(room, "through")
	c.Cut()
	cut := time.Now()
	if change := witness.Want("user-left").GetUserLeft(); change.User.Id != "traveller" || change.MemberCount != 1 {
		t.Errorf("user-left %v", change)
	}
	if after := time.Since(cut); after < 1500*time.Millisecond || after > 6*time.Second {
		t.Errorf("the session was gone after %v", after)
	}
	for _, event := range []string{"user-joined", "user-left"} {
		if list := witness.Untaken(event); len(list) > 0 {
			t.Errorf("the witness saw %v", list)
		}
	}
	// It can still resume, and comes then.
	c = client.Dial(t, s.URLs[1], client.Options{Encoding: encoding})
	if state := c.Ask(ask.Resume(me.ResumeToken, map[string]*wirev1.Position{room: {}})).GetResumed(); !state.GetRooms()[room].GetRecovered() {
		t.Errorf("resumed %v", state)
	}
	witness.Want("user-joined")
	c.Close() // who says goodbye is gone at once
	said := time.Now()
	witness.Want("user-left")
	if after := time.Since(said); after > 1500*time.Millisecond {
		t.Errorf("gone only after %v", after)
	}
}

func testResumeRefused(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	c := client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
	end := time.Now().Add(2 * time.Second).Unix()
	token := signHS256(t, secret, claims{"sub": "short", "exp": end})
	short := c.SignIn(token)
	if code := c.Closed(); code != 4203 {
		t.Errorf("closed with %d", code)
	}
	c = client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
	for name, bad := range map[string]string{
		"nonsense":                   "nonsense",
		"a token":                    token,
		"signed with another secret": signHS256(t, secret, claims{"sub": "short", "aud": "parley-resume", "exp": end + 1000, "session": "s_x"}),
		"of a token that has ended":  short.ResumeToken,
	} {
		if e := c.AskError(ask.Resume(bad, map[string]*wirev1.Position{"x": {}}), "resume-failed"); e.Message == "" {
			t.Errorf("%s: %v", name, e)
		}
	}
	c.SignIn(signHS256(t, secret, claims{"sub": "short"}))
	c.Join(named(t, "a"))
}

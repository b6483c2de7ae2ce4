package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// testStatus has a user tell how available it is: those who share rooms hear of
// it once, on both gateways, and nobody else does.
func testStatus(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	a, b := named(t, "a"), named(t, "b")
	ann := signedIn(t, s, 0, encoding, named(t, "ann"))
	near, far := signedIn(t, s, 0, encoding, "near"), signedIn(t, s, 1, encoding, "far")
	stranger := signedIn(t, s, 1, encoding, "stranger") // in the lobby, as all are
	for _, c := range []*client.Client{ann, near, far} {
		c.Join(a)
		c.Join(b)
	}
	// A join is answered when presence knows of it, so it knows the two devices
	// in this order, though they are on two gateways.
	twin := signedIn(t, s, 1, encoding, named(t, "ann"))
	twin.Join(named(t, "c"))
	ann.AskError(ask.SetStatus("", ""), "invalid-argument")
	ann.AskError(ask.SetStatus("asleep", ""), "invalid-argument")
	ann.AskError(ask.SetStatus("away", strings.Repeat("x", 129)), "invalid-argument")

	set := func(c *client.Client, status, text string) {
		t.Helper()
		if got := c.Ask(ask.SetStatus(status, text)).GetStatusSet(); got.GetStatus() != status || got.GetText() != text {
			t.Fatalf("set-status was answered %v", got)
		}
	}
	hear := func(status, text string) {
		t.Helper()
		for _, c := range []*client.Client{near, far} {
			got := c.Want("presence").GetPresence()
			if got.User.GetId() != named(t, "ann") || got.Status != status || got.GetText() != text {
				t.Errorf("presence %v, want %s %q", got, status, text)
			}
		}
	}
	set(ann, "away", "lunch") // the other device is online
	set(twin, "busy", "")
	hear("away", "lunch")
	set(ann, "busy", "work")
	hear("busy", "") // of the newer device
	twin.Close()
	hear("busy", "work")
	set(ann, "online", "")
	hear("online", "")
	for _, c := range []*client.Client{ann, near, far, stranger} {
		c.Settle()
		if more := c.Untaken("presence"); len(more) > 0 {
			t.Errorf("somebody was told %v", more)
		}
	}
	// A room of two more: who shares only one of the rooms hears it there.
	stranger.Join(b)
	set(ann, "away", "")
	stranger.Wait("presence", func(f *wirev1.ServerFrame) bool { return f.GetPresence().GetStatus() == "away" })
	hear("away", "")
	testStatusAfterResume(t, s, encoding)
}

// testStatusAfterResume: a status is the session's, and goes with it to another
// gateway.
func testStatusAfterResume(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, userID := named(t, "resumed"), named(t, "ben")
	witness := signedIn(t, s, 1, encoding, "witness")
	witness.Join(room)
	ben := client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
	me := ben.SignIn(signHS256(t, secret, claims{"sub": userID}))
	joined, _ := ben.Join(room)
	witness.Want("user-joined") // or the room would not hear of coming and going at all
	ben.Ask(ask.SetStatus("away", "on a train"))
	witness.Want("presence")

	back, token := ben, me.ResumeToken
	for _, gateway := range []int{1, 0} { // and again
		back.Cut()
		back = client.Dial(t, s.URLs[gateway], client.Options{Encoding: encoding})
		resumed := back.Ask(ask.Resume(token, map[string]*wirev1.Position{room: {Epoch: &joined.Epoch}})).GetResumed()
		if resumed.GetStatus() != "away" || resumed.GetText() != "on a train" {
			t.Errorf("resumed with %v", resumed)
		}
		token = resumed.GetResumeToken()
		page := witness.Ask(ask.GetOnlineUsers(&wirev1.GetOnlineUsers{RoomId: &room})).GetOnlineUsers()
		if i := slices.IndexFunc(page.GetUsers(), func(u *wirev1.OnlineUser) bool { return u.Id == userID }); i < 0 ||
			page.Users[i].GetStatus() != "away" || page.Users[i].GetText() != "on a train" {
			t.Errorf("online are %v", page.GetUsers())
		}
	}
	asked := func() *wirev1.UserPresence {
		t.Helper()
		list := witness.Ask(ask.GetPresence(userID, "nobody")).GetPresenceList().GetUsers()
		if len(list) != 2 || list[0].Id != userID || list[1].Online || list[1].LastSeen != nil {
			t.Fatalf("get-presence was answered %v", list)
		}
		return list[0]
	}
	if is := asked(); !is.Online || is.GetStatus() != "away" || is.GetText() != "on a train" || is.GetUsername() != userID || is.LastSeen != nil {
		t.Errorf("online, ben is %v", is)
	}
	witness.Settle()
	for _, event := range []string{"presence", "user-left"} {
		if more := witness.Untaken(event); len(more) > 0 {
			t.Errorf("of one who only resumed was told %v", more)
		}
	}
	back.Close()
	witness.Want("user-left")
	if is := asked(); is.Online || is.Status != nil || is.Username != nil || time.Since(is.GetLastSeen().AsTime()).Abs() > time.Minute {
		t.Errorf("gone, ben is %v", is)
	}
	witness.AskError(ask.GetPresence(), "invalid-argument")
	witness.AskError(ask.GetPresence(""), "invalid-argument")
	witness.AskError(ask.GetPresence(slices.Repeat([]string{"u"}, 101)...), "invalid-argument")
}

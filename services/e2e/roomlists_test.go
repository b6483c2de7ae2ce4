package e2e

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// TestRoomsThatAreFound asks which rooms there are, and about some that are not
// everybody's business.
func TestRoomsThatAreFound(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateways: 2, Gateway: func(o *gateway.Options) { o.JWTSecret = secret }})
	for _, encoding := range encodings {
		t.Run("alike/"+encoding.String(), func(t *testing.T) { testPrivateAndMissingRoomsAreAlike(t, s, encoding) })
		t.Run("orders/"+encoding.String(), func(t *testing.T) { testOrders(t, s, encoding) })
	}
}

// testPrivateAndMissingRoomsAreAlike asks a stranger's every question about a
// private room and about one that is not there, and compares the answers.
func testPrivateAndMissingRoomsAreAlike(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, owner := open(t, s, encoding, &wirev1.CreateRoom{Visibility: proto.String("private")})
	owner.Say(room, "a secret")
	missing := strings.Repeat("z", len(room))
	eve := signedIn(t, s, 1, encoding, "eve")
	seq := int64(1)
	for _, request := range []func(room string) *wirev1.ClientFrame{
		ask.GetRoomInfo, ask.LeaveRoom, ask.DeleteRoom, typing,
		func(room string) *wirev1.ClientFrame { return says(room, "x") },
		func(room string) *wirev1.ClientFrame { return ask.GetHistory(&wirev1.GetHistory{RoomId: room}) },
		func(room string) *wirev1.ClientFrame {
			return ask.GetHistory(&wirev1.GetHistory{RoomId: room, After: &seq})
		},
		func(room string) *wirev1.ClientFrame { return ask.GetRooms(&wirev1.GetRooms{Prefix: &room}) },
		func(room string) *wirev1.ClientFrame {
			return ask.GetRooms(&wirev1.GetRooms{Prefix: &room, Sort: proto.String("name")})
		},
		func(room string) *wirev1.ClientFrame {
			return ask.GetRooms(&wirev1.GetRooms{Prefix: &room, Sort: proto.String("members")})
		},
		func(room string) *wirev1.ClientFrame {
			return ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: room})
		},
		func(room string) *wirev1.ClientFrame {
			return ask.GetOnlineUsers(&wirev1.GetOnlineUsers{RoomId: &room})
		},
		func(room string) *wirev1.ClientFrame {
			return ask.GetRoomSanctions(&wirev1.GetRoomSanctions{RoomId: room})
		},
		func(room string) *wirev1.ClientFrame { return ask.MarkRead(room, 1) },
		func(room string) *wirev1.ClientFrame {
			return ask.EditMessage(&wirev1.EditMessage{RoomId: room, Target: 1, Content: proto.String("x")})
		},
		func(room string) *wirev1.ClientFrame {
			return ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: room, Topic: proto.String("x")})
		},
		func(room string) *wirev1.ClientFrame {
			return ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: room, Revision: proto.Int64(1)})
		},
		func(room string) *wirev1.ClientFrame { return ask.Invite(room, "bob") },
		func(room string) *wirev1.ClientFrame { return ask.Uninvite(room, "bob") },
		func(room string) *wirev1.ClientFrame { return ask.Uninvite(room, "eve") },
		func(room string) *wirev1.ClientFrame { return ask.SetRole(room, "eve", "member") },
		func(room string) *wirev1.ClientFrame {
			return ask.Kick(&wirev1.Moderate{RoomId: room, UserId: "owner"})
		},
		func(room string) *wirev1.ClientFrame { return ask.Ban(&wirev1.Moderate{RoomId: room, UserId: "owner"}) },
		func(room string) *wirev1.ClientFrame {
			return ask.Unban(&wirev1.Moderate{RoomId: room, UserId: "owner"})
		},
		func(room string) *wirev1.ClientFrame {
			return ask.Mute(&wirev1.Moderate{RoomId: room, UserId: "owner"})
		},
		func(room string) *wirev1.ClientFrame {
			return ask.Unmute(&wirev1.Moderate{RoomId: room, UserId: "owner"})
		},
	} {
		f := request(room)
		if frame.RequestType(f) == "signal" { // has no answer where it succeeds
			eve.AskError(f, "not-joined")
			continue
		}
		there, not := eve.Ask(f), eve.Ask(request(missing))
		there.Id, not.Id = nil, nil
		if a, b := strings.ReplaceAll(there.String(), room, missing), not.String(); normal(a) != normal(b) {
			t.Errorf("%s: of the private room %s, of none %s", frame.RequestType(f), a, b)
		}
	}
	// Coming back into it, too.
	token := eve.SignIn(signHS256(t, secret, claims{"sub": "eve"})).ResumeToken
	back := client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
	resumed := back.Ask(ask.Resume(token, map[string]*wirev1.Position{room: {Seq: 1}, missing: {Seq: 1}})).GetResumed().GetRooms()
	if a, b := resumed[room], resumed[missing]; a.GetError() != "not-found" || !proto.Equal(a, b) {
		t.Errorf("resumed in the private room %v, in none %v", a, b)
	}
	eve = back
	// And it is in no list that goes through everything.
	for _, sort := range []string{"id", "name", "members"} {
		for _, summary := range allRooms(t, eve, &wirev1.GetRooms{Sort: &sort, Limit: proto.Int32(100)}) {
			if summary.Id == room {
				t.Errorf("sorted by %s: %v is in the list", sort, summary)
			}
		}
	}
}

// normal takes out what protobuf's text varies on purpose.
func normal(text string) string { return strings.Join(strings.Fields(text), " ") }

// allRooms gets all pages of a list.
func allRooms(t *testing.T, c *client.Client, r *wirev1.GetRooms) (all []*wirev1.RoomSummary) {
	t.Helper()
	for range 10_000 {
		page := c.Ask(ask.GetRooms(r)).GetRoomsList()
		if page == nil {
			t.Fatal("get-rooms was not answered with a page")
		}
		all = append(all, page.Rooms...)
		if page.NextCursor == "" {
			return all
		}
		r.Cursor = &page.NextCursor
	}
	t.Fatal("the list has no end")
	return nil
}

func testOrders(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	base := named(t, "o")
	owner, bob, eve := signedIn(t, s, 0, encoding, "owner"), signedIn(t, s, 1, encoding, "bob"), signedIn(t, s, 1, encoding, "eve")
	for id, name := range map[string]string{"1": "Delta " + base, "2": "alpha " + base, "3": "Charlie " + base, "4": "bravo " + base} {
		r := &wirev1.CreateRoom{RoomId: base + id, Name: &name, Persistent: proto.Bool(true)}
		if id == "4" {
			r.Visibility = proto.String("private")
		}
		owner.Ask(ask.CreateRoom(r))
	}
	for _, c := range []*client.Client{owner, bob} {
		c.Join(base + "3")
	}
	owner.Join(base + "4")
	order := func(c *client.Client, sort, prefix string) string {
		t.Helper()
		got := ""
		for _, r := range allRooms(t, c, &wirev1.GetRooms{Sort: &sort, Prefix: &prefix, Limit: proto.Int32(2)}) {
			if strings.HasPrefix(r.Id, base) {
				got += fmt.Sprintf("%s:%d ", strings.TrimPrefix(r.Id, base), r.MemberCount)
			}
		}
		return strings.TrimSpace(got)
	}
	for _, c := range []struct {
		who                *client.Client
		sort, prefix, want string
	}{
		{owner, "id", base, "1:0 2:0 3:2 4:1"},
		{owner, "name", "", "2:0 4:1 3:2 1:0"},
		{owner, "name", "ALPHA", "2:0"},
		{owner, "members", base, "3:2 4:1 1:0 2:0"},
		{owner, "members", "", "3:2 4:1 1:0 2:0"},
		{eve, "name", "", "2:0 3:2 1:0"},
		{eve, "name", "bravo", ""},
		{eve, "members", "", "3:2 1:0 2:0"},
	} {
		stack.Eventually(t, fmt.Sprintf("by %s, with %q", c.sort, c.prefix), func() error {
			if got := order(c.who, c.sort, c.prefix); got != c.want {
				return fmt.Errorf("listed %s, want %s", got, c.want)
			}
			return nil
		})
	}
	wantField(t, owner.Ask(ask.GetRooms(&wirev1.GetRooms{Sort: proto.String("size")})), "invalid-argument", "sort")
	first := owner.Ask(ask.GetRooms(&wirev1.GetRooms{Sort: proto.String("name"), Limit: proto.Int32(1)})).GetRoomsList()
	for _, sort := range []string{"id", "members"} {
		wantField(t, owner.Ask(ask.GetRooms(&wirev1.GetRooms{Sort: &sort, Cursor: &first.NextCursor})), "invalid-argument", "cursor")
	}
	// A back end lists what it is asked to, too.
	page, err := s.Registry.ListRooms(t.Context(), &registryv1.ListRoomsRequest{Sort: registryv1.Sort_SORT_MEMBERS, Prefix: base})
	if err != nil || len(page.Rooms) != 4 || page.Rooms[0].Id != base+"3" || page.MemberCounts[0] != 2 {
		t.Errorf("a back end got %v, %v", page, err)
	}
}

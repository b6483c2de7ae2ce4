package registry

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const (
	everyone   = registryv1.Who_WHO_EVERYONE
	members    = registryv1.Who_WHO_MEMBERS
	moderators = registryv1.Who_WHO_MODERATORS
)

func TestPoliciesAreMerged(t *testing.T) {
	r := alone(t, Options{})
	made := r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Policy: &registryv1.Policy{
		Post: members.Enum(), Rate: proto.Float64(2), Signal: registryv1.Who_WHO_UNSPECIFIED.Enum(),
	}})
	if want := (&registryv1.Policy{Post: members.Enum(), Rate: proto.Float64(2)}); !proto.Equal(made.Policy, want) {
		t.Errorf("made with %v, want %v", made.Policy, want)
	}
	for _, c := range []struct{ change, want *registryv1.Policy }{
		{&registryv1.Policy{MaxMembers: proto.Uint32(7)},
			&registryv1.Policy{Post: members.Enum(), Rate: proto.Float64(2), MaxMembers: proto.Uint32(7)}},
		{&registryv1.Policy{Rate: proto.Float64(0), Post: moderators.Enum()},
			&registryv1.Policy{Post: moderators.Enum(), MaxMembers: proto.Uint32(7)}},
		{&registryv1.Policy{}, &registryv1.Policy{Post: moderators.Enum(), MaxMembers: proto.Uint32(7)}},
		{&registryv1.Policy{Post: registryv1.Who_WHO_UNSPECIFIED.Enum(), MaxMembers: proto.Uint32(0)}, nil},
	} {
		got, err := r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Policy: c.change})
		if err != nil || !proto.Equal(got.Policy, c.want) {
			t.Errorf("after %v: %v, %v; want %v", c.change, got.GetPolicy(), err, c.want)
		}
	}
	for field, p := range map[string]*registryv1.Policy{
		"policy.post":       {Post: registryv1.Who(7).Enum()},
		"policy.invite":     {Invite: registryv1.Who(-1).Enum()},
		"policy.guests":     {Guests: registryv1.Guests(7).Enum()},
		"policy.rate":       {Rate: proto.Float64(math.NaN())},
		"policy.maxMembers": {MaxMembers: proto.Uint32(maxMaxMembers + 1)},
	} {
		_, err := r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Policy: p})
		if errs.CodeOf(err) != errs.InvalidArgument || errs.From(err).Field != field {
			t.Errorf("%v: %v, want invalid-argument of %s", p, err, field)
		}
	}
}

func TestRates(t *testing.T) {
	for rate, ok := range map[float64]bool{
		0: true, minRate: true, 0.5: true, maxRate: true,
		-1: false, minRate / 2: false, maxRate + 1: false, math.Inf(1): false, math.NaN(): false,
	} {
		if err := checkPolicy(&registryv1.Policy{Rate: &rate}); (err == nil) != ok {
			t.Errorf("a rate of %g: %v", rate, err)
		}
	}
}

func TestAttributesAreMerged(t *testing.T) {
	for _, c := range []struct{ old, change, want string }{
		{"", `{}`, ""},
		{"", ` {"b" : [1, 2] , "a" : "<ä>"} `, `{"a":"<ä>","b":[1,2]}`},
		{`{"a":1,"b":2}`, ``, `{"a":1,"b":2}`},
		{`{"a":1,"b":2}`, `{"b":{"c":null},"d":3}`, `{"a":1,"b":{"c":null},"d":3}`},
		{`{"a":1,"b":2}`, `{"a":null,"x":null}`, `{"b":2}`},
		{`{"a":1}`, `{"a": null }`, ""},
	} {
		got, err := mergeAttributes([]byte(c.old), []byte(c.change))
		if err != nil || string(got) != c.want {
			t.Errorf("%s over %s: %s, %v; want %s", c.change, c.old, got, err, c.want)
		}
	}
	room := func(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }
	for change, code := range map[string]errs.Code{
		"7": errs.InvalidArgument, "null": errs.InvalidArgument, "[]": errs.InvalidArgument, "{": errs.InvalidArgument,
		"{\"a\":\"\xff\"}": errs.InvalidArgument, room(maxAttributes): "", room(maxAttributes + 1): errs.TooLarge,
		room(3 * maxAttributes): errs.TooLarge,
	} {
		if _, err := mergeAttributes(nil, []byte(change)); errs.CodeOf(err) != code {
			t.Errorf("%.20s: %v, want %q", change, err, code)
		}
	}
}

// TestRetentionOfARoom: the log is trimmed to what a room has kept all the
// time, and the record tells how little that ever was.
func TestRetentionOfARoom(t *testing.T) {
	l := new(logs)
	r := alone(t, Options{Eraser: l})
	change := func(keep uint32) (*registryv1.Room, error) {
		return r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Policy: &registryv1.Policy{Retention: &keep}})
	}
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room"})
	_, err := change(10)
	wantCode(t, "a retention where there is no log", err, errs.Unavailable)
	if err := r.bus.EnsureLog(t.Context(), bus.LogConfig{Retention: 100}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ keep, least, trimmed uint32 }{{50, 50, 50}, {10, 10, 10}, {100, 10, 10}, {0, 10, 100}, {20, 10, 20}} {
		room, err := change(c.keep)
		if err != nil || room.GetPolicy().GetRetention() != c.keep || room.LeastRetention != c.least {
			t.Fatalf("keeping %d: %v, %v", c.keep, room, err)
		}
		eventually(t, fmt.Sprintf("trimmed to %d", c.trimmed), func() bool { return l.kept("room") == c.trimmed })
	}
	_, err = change(101)
	wantCode(t, "more than the deployment keeps", err, errs.InvalidArgument)
	made := r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "small", Policy: &registryv1.Policy{Retention: proto.Uint32(5)}})
	if made.LeastRetention != 5 {
		t.Errorf("made %v", made)
	}
}

// TestAPolicyIsToldTwice: who was admitted by the older one, and opened the room
// at a gateway when the newer one was told, is bound by it, too.
func TestAPolicyIsToldTwice(t *testing.T) {
	r := alone(t, Options{})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room"})
	heard := make(chan *busv1.RoomChanged, 100)
	feed := r.bus.NewFeed(1, func(_ int, batch []bus.Delivery) {
		for _, d := range batch {
			if c := d.Live.GetChanged(); c != nil {
				heard <- c
			}
		}
	})
	t.Cleanup(feed.Close)
	if _, err := feed.Subscribe("room"); err != nil {
		t.Fatal(err)
	}
	if err := r.bus.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, req := range []*registryv1.UpdateRoomRequest{
		{Policy: &registryv1.Policy{Post: registryv1.Who_WHO_OWNERS.Enum()}},
		{Topic: proto.String("binds nobody")},
	} {
		req.RoomId = "room"
		if _, err := r.UpdateRoom(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	next := func() *busv1.RoomChanged {
		t.Helper()
		select {
		case c := <-heard:
			if c.Record.GetPolicy().GetPost() != registryv1.Who_WHO_OWNERS || c.Revision != c.Record.Revision {
				t.Errorf("told %v", c)
			}
			return c
		case <-time.After(patience):
			t.Fatal("nothing is told")
			return nil
		}
	}
	if first, second := next(), next(); first.Room.GetTopic() != "" || second.Room.GetTopic() != "binds nobody" {
		t.Errorf("members were told %v and %v", first, second)
	}
	if again := next(); again.Room != nil || again.Record.Topic != "binds nobody" {
		t.Errorf("told again %v, want what is in force, for gateways alone", again)
	}
}

func TestWhoIsLetIn(t *testing.T) {
	a, b := pair(t, Options{})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "club", Actor: as("ann"), Policy: &registryv1.Policy{Read: members.Enum()}})
	a.mustSet("club", "bob", member)
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "open", Policy: &registryv1.Policy{Guests: registryv1.Guests_GUESTS_NONE.Enum()}})
	for _, c := range []struct {
		who  *registryv1.Actor
		room string
		own  registryv1.Role
		code errs.Code
	}{
		{as("ann"), "club", owner, ""},
		{as("bob"), "club", member, ""},
		{as("eve"), "club", none, errs.Forbidden},
		{as("root", "admin"), "club", none, ""},
		{as("eve"), "open", none, ""},
		{as("g", "guest"), "open", none, errs.Forbidden},
		{as("g", "guest", "admin"), "open", none, ""},
		{as("g", "guest"), "nothing", none, errs.NotFound}, // guests make no rooms
	} {
		what := fmt.Sprintf("%s in %s", c.who.User.Id, c.room)
		got, err := b.Admit(t.Context(), &registryv1.AdmitRequest{RoomId: c.room, Actor: c.who, Create: true})
		wantCode(t, what, err, c.code)
		if got.GetOwn() != c.own {
			t.Errorf("%s has role %s, want %s", what, got.GetOwn(), c.own)
		}
		_, err = b.GetRoom(t.Context(), &registryv1.GetRoomRequest{RoomId: c.room, Actor: c.who, Read: true})
		wantCode(t, what+" reading", err, c.code)
		if c.room == "club" { // everybody may know of it
			_, err = b.GetRoom(t.Context(), &registryv1.GetRoomRequest{RoomId: c.room, Actor: c.who})
			wantCode(t, what+" looking", err, "")
		}
	}
	for what, err := range map[string]error{
		"a room": second(a.CreateRoom(t.Context(), &registryv1.CreateRoomRequest{RoomId: "mine", Actor: as("g", "guest")})),
		"direct": second(a.OpenDirect(t.Context(), &registryv1.OpenDirectRequest{UserId: "ann", Actor: as("g", "guest")})),
		"a mark": second(a.MarkRead(t.Context(), &registryv1.MarkReadRequest{RoomId: "club", Seq: 1, Actor: as("g", "guest")})),
	} {
		wantCode(t, "a guest makes "+what, err, errs.Forbidden)
	}
}

func second[T any](_ T, err error) error { return err }

func TestWhoInvites(t *testing.T) {
	r := alone(t, Options{})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Actor: as("ann"), Visibility: private})
	r.mustSet("room", "mia", moderator)
	r.mustSet("room", "bob", member)
	n := 0
	invite := func(who string) error {
		n++
		_, err := r.SetMember(t.Context(), &registryv1.SetMemberRequest{
			RoomId: "room", User: &wirev1.User{Id: fmt.Sprint("new-", n)}, Keep: true, Actor: as(who),
		})
		return err
	}
	for _, c := range []struct {
		policy        registryv1.Who
		mia, bob, eve errs.Code
	}{
		{registryv1.Who_WHO_UNSPECIFIED, "", errs.Forbidden, errs.NotFound},
		{everyone, "", "", errs.NotFound},
		{members, "", "", errs.NotFound},
		{moderators, "", errs.Forbidden, errs.NotFound},
		{registryv1.Who_WHO_OWNERS, errs.Forbidden, errs.Forbidden, errs.NotFound},
	} {
		if _, err := r.UpdateRoom(t.Context(), &registryv1.UpdateRoomRequest{RoomId: "room", Policy: &registryv1.Policy{Invite: &c.policy}}); err != nil {
			t.Fatal(err)
		}
		wantCode(t, fmt.Sprint("ann, ", c.policy), invite("ann"), "")
		wantCode(t, fmt.Sprint("mia, ", c.policy), invite("mia"), c.mia)
		wantCode(t, fmt.Sprint("bob, ", c.policy), invite("bob"), c.bob)
		wantCode(t, fmt.Sprint("eve, ", c.policy), invite("eve"), c.eve)
	}
}

func TestSanctionsByPageAndTheirEnd(t *testing.T) {
	a, b := pair(t, Options{})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Actor: as("ann")})
	a.mustSet("room", "mia", moderator)
	soon := timestamppb.New(time.Now().Add(300 * time.Millisecond))
	late := timestamppb.New(time.Now().Add(time.Hour))
	for i := range 10 {
		user := fmt.Sprint("u", i)
		ban, mute := []*timestamppb.Timestamp{nil, soon, late}[i%3], soon
		if err := a.ban("room", user, ban, as("ann")); err != nil {
			t.Fatal(err)
		}
		if i < 5 {
			if err := a.mute("room", user, mute, as("ann")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := a.mute("room", "mia", soon, as("ann")); err != nil {
		t.Fatal(err)
	}
	list := func(r *replica, limit int32) (all []string) {
		t.Helper()
		for cursor := ""; ; {
			page, err := r.ListSanctions(t.Context(), &registryv1.ListSanctionsRequest{RoomId: "room", Limit: limit, Cursor: cursor, Actor: as("mia")})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range page.Members {
				what := m.User.Id
				if m.Ban != nil {
					what += " banned"
				}
				if m.Mute != nil {
					what += " muted"
				}
				all = append(all, what)
			}
			if cursor = page.NextCursor; cursor == "" {
				return all
			}
		}
	}
	left := []string{"u0 banned", "u2 banned", "u3 banned", "u5 banned", "u6 banned", "u8 banned", "u9 banned"}
	for _, r := range []*replica{a, b} {
		eventually(t, "only what has not ended is told", func() bool { return slices.Equal(list(r, 3), left) })
	}
	// And taken out of the store: another replica that starts now finds nothing.
	eventually(t, "what has ended is taken away", func() bool {
		return a.toEnd() == 3 && b.toEnd() == 3 // the late ones
	})
	for user, want := range map[string]bool{"u0": true, "u1": false, "u3": true, "u4": false, "u7": false, "mia": true} {
		entry, err := a.kv.Load().Get(t.Context(), memberKey("room", user))
		if (err == nil) != want {
			t.Errorf("the standing of %s: %v", user, err)
		}
		m := new(registryv1.Member)
		if err == nil && (proto.Unmarshal(entry.Value, m) != nil || m.Mute != nil || m.Revision != 0) {
			t.Errorf("the standing of %s is %v", user, m)
		}
	}
	if role := a.roles("room")["mia"]; role != moderator {
		t.Errorf("mia is %s", role)
	}
	for who, code := range map[string]errs.Code{"eve": errs.Forbidden, "u0": errs.Forbidden} {
		_, err := b.ListSanctions(t.Context(), &registryv1.ListSanctionsRequest{RoomId: "room", Actor: as(who)})
		wantCode(t, "sanctions for "+who, err, code)
	}
	_, err := b.ListSanctions(t.Context(), &registryv1.ListSanctionsRequest{RoomId: "none"})
	wantCode(t, "sanctions of no room", err, errs.NotFound)
}

// toEnd is how many standings have a sanction that ends by itself.
func (r *replica) toEnd() int {
	r.picture.mu.RLock()
	defer r.picture.mu.RUnlock()
	return r.picture.sanctions.ends.Len()
}

func TestStandingsWithRevision(t *testing.T) {
	a, b := pair(t, Options{})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Actor: as("ann")})
	set := func(r *replica, role registryv1.Role, revision uint64) (*registryv1.Member, error) {
		return r.SetMember(t.Context(), &registryv1.SetMemberRequest{RoomId: "room", User: &wirev1.User{Id: "bob"}, Role: role, Revision: revision})
	}
	first, err := set(a, member, 0)
	if err != nil || first.Revision == 0 {
		t.Fatalf("first: %v, %v", first, err)
	}
	second, err := set(b, moderator, first.Revision)
	if err != nil || second.Revision <= first.Revision {
		t.Fatalf("second: %v, %v", second, err)
	}
	for _, r := range []*replica{a, b} {
		_, err := set(r, owner, first.Revision)
		if errs.CodeOf(err) != errs.AlreadyExists || errs.From(err).Field != "revision" {
			t.Errorf("with the old revision: %v", err)
		}
	}
	page, err := b.ListMembers(t.Context(), &registryv1.ListMembersRequest{RoomId: "room"})
	if err != nil || len(page.Members) != 2 || page.Members[0].Revision != 0 || page.Members[1].Revision != second.Revision {
		t.Errorf("members %v, %v", page, err)
	}
}

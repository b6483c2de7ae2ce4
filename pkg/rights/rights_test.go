package rights

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const (
	none      = registryv1.Role_ROLE_UNSPECIFIED
	member    = registryv1.Role_ROLE_MEMBER
	moderator = registryv1.Role_ROLE_MODERATOR
	owner     = registryv1.Role_ROLE_OWNER

	public  = registryv1.Visibility_VISIBILITY_PUBLIC
	private = registryv1.Visibility_VISIBILITY_PRIVATE
)

// all are those whom the tests ask about, from the least to the most.
var all = []Who{{Guest: true}, {}, {Role: member}, {Role: moderator}, {Role: owner}, {Admin: true}}

// may tells, in the order of all, who may: a letter for each, '-' where not.
func may(room *registryv1.Room, a Action) string {
	rules := RulesOf(room)
	got := []byte("gnmMOA")
	for i, w := range all {
		if !rules.May(w, a) {
			got[i] = '-'
		}
	}
	return string(got)
}

func TestWhoMay(t *testing.T) {
	who := func(w registryv1.Who) *registryv1.Who { return &w }
	guests := func(g registryv1.Guests) *registryv1.Guests { return &g }
	everyone, members := registryv1.Who_WHO_EVERYONE, registryv1.Who_WHO_MEMBERS
	moderators, owners := registryv1.Who_WHO_MODERATORS, registryv1.Who_WHO_OWNERS
	for _, c := range []struct {
		what                       string
		room                       *registryv1.Room
		read, post, signal, invite string
	}{
		{"a public room", &registryv1.Room{Id: "r", Visibility: public}, "gnmMOA", "-nmMOA", "-nmMOA", "---MOA"},
		{"a private room", &registryv1.Room{Id: "r", Visibility: private}, "--mMOA", "--mMOA", "--mMOA", "---MOA"},
		{"the lobby", &registryv1.Room{Id: "lobby", Visibility: public}, "gnmMOA", "gnmMOA", "gnmMOA", "---MOA"},
		{"announcements", &registryv1.Room{Id: "r", Visibility: public, Policy: &registryv1.Policy{
			Post: who(moderators)}}, "gnmMOA", "---MOA", "---MOA", "---MOA"},
		{"announcements with reactions", &registryv1.Room{Id: "r", Visibility: public, Policy: &registryv1.Policy{
			Post: who(owners), Signal: who(everyone)}}, "gnmMOA", "----OA", "-nmMOA", "---MOA"},
		{"a club that everybody sees", &registryv1.Room{Id: "r", Visibility: public, Policy: &registryv1.Policy{
			Read: who(members), Invite: who(members)}}, "--mMOA", "-nmMOA", "-nmMOA", "--mMOA"},
		{"a private room for everyone", &registryv1.Room{Id: "r", Visibility: private, Policy: &registryv1.Policy{
			Read: who(everyone), Post: who(everyone), Invite: who(everyone), Guests: guests(registryv1.Guests_GUESTS_WRITE)}},
			"--mMOA", "--mMOA", "--mMOA", "--mMOA"},
		{"a room that guests write in", &registryv1.Room{Id: "r", Visibility: public, Policy: &registryv1.Policy{
			Guests: guests(registryv1.Guests_GUESTS_WRITE)}}, "gnmMOA", "gnmMOA", "gnmMOA", "---MOA"},
		{"a room that guests see nothing of", &registryv1.Room{Id: "r", Visibility: public, Policy: &registryv1.Policy{
			Guests: guests(registryv1.Guests_GUESTS_NONE)}}, "-nmMOA", "-nmMOA", "-nmMOA", "---MOA"},
		{"guests may no more than everyone", &registryv1.Room{Id: "r", Visibility: public, Policy: &registryv1.Policy{
			Guests: guests(registryv1.Guests_GUESTS_WRITE), Post: who(members)}}, "gnmMOA", "--mMOA", "--mMOA", "---MOA"},
	} {
		for a, want := range map[Action]string{Read: c.read, Post: c.post, Signal: c.signal, Invite: c.invite} {
			if got := may(c.room, a); got != want {
				t.Errorf("%s: %s may %s, want %s", c.what, got, a, want)
			}
		}
	}
}

func TestAGuestWithARole(t *testing.T) {
	rules := RulesOf(&registryv1.Room{Id: "r", Visibility: private})
	if !rules.May(Who{Role: member, Guest: true}, Post) {
		t.Error("a guest who was invited may not post")
	}
}

func TestRulesAsAPolicyHasThem(t *testing.T) {
	for _, room := range []*registryv1.Room{{Id: "r", Visibility: public}, {Id: "r", Visibility: private}} {
		rules := RulesOf(room)
		for a, want := range map[Action]registryv1.Who{
			Read: registryv1.Who_WHO_EVERYONE, Post: registryv1.Who_WHO_EVERYONE,
			Signal: registryv1.Who_WHO_EVERYONE, Invite: registryv1.Who_WHO_MODERATORS,
		} {
			if got := rules.Least(a); got != want {
				t.Errorf("%v: %s takes %s, want %s", room.Visibility, a, got, want)
			}
		}
	}
}

func TestWords(t *testing.T) {
	asked := &wirev1.RoomPolicy{
		Post: proto.String("moderators"), Read: proto.String("members"), Signal: proto.String("owner"),
		Invite: proto.String("everyone"), Guests: proto.String("none"),
		Rate: proto.Float64(0.5), MaxMembers: proto.Int32(7), Retention: proto.Int32(9),
	}
	policy, err := Asked(asked)
	if err != nil {
		t.Fatal(err)
	}
	if got := Told(&registryv1.Room{Id: "r", Visibility: public, Policy: policy}); !proto.Equal(got, asked) {
		t.Errorf("told %v, asked for %v", got, asked)
	}
	if got, err := Asked(nil); got != nil || err != nil {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	if got, err := Asked(&wirev1.RoomPolicy{}); err != nil || proto.Size(got) != 0 {
		t.Errorf("of an empty one: %v, %v", got, err)
	}
	for field, p := range map[string]*wirev1.RoomPolicy{
		"policy.post":       {Post: proto.String("all")},
		"policy.guests":     {Guests: proto.String("")},
		"policy.maxMembers": {MaxMembers: proto.Int32(-1)},
		"policy.retention":  {Retention: proto.Int32(-1)},
	} {
		if _, err := Asked(p); errs.CodeOf(err) != errs.InvalidArgument || errs.From(err).Field != field {
			t.Errorf("%v: %v, want invalid-argument of %s", p, err, field)
		}
	}
}

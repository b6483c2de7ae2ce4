package fanout

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/rights"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// TestAMessageAsksForNothing: what a member may do is found without an
// allocation, whether the room restricts something or not.
func TestAMessageAsksForNothing(t *testing.T) {
	moderators := registryv1.Who_WHO_MODERATORS
	for what, policy := range map[string]*registryv1.Policy{
		"no policy":     nil,
		"a rate":        {Rate: proto.Float64(1000)},
		"announcements": {Post: &moderators},
	} {
		r := crowd(t, 1)
		r.obey(&registryv1.Room{Id: r.id, Revision: 1, Policy: policy})
		m := r.members[0]
		allocs := testing.AllocsPerRun(1000, func() {
			m.May(rights.Post)
			m.Pace()
			m.MutedUntil()
		})
		if allocs != 0 {
			t.Errorf("with %s: %g allocations", what, allocs)
		}
		if got, want := m.May(rights.Post), policy.GetPost() != moderators; got != want {
			t.Errorf("with %s: may post: %v", what, got)
		}
	}
}

// TestAPlaceIsSmall: there is one for each connection and room.
func TestAPlaceIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Membership{}); size > 64 {
		t.Errorf("a membership takes %d bytes, and the next size of an allocation after 64 is 80", size)
	}
	moderators := registryv1.Who_WHO_MODERATORS
	r := crowd(t, 3)
	if r.obey(&registryv1.Room{Id: r.id, Revision: 1}); r.members[0].grant.Load() != nil {
		t.Error("a room without a policy has grants")
	}
	r.obey(&registryv1.Room{Id: r.id, Revision: 2, Policy: &registryv1.Policy{Post: &moderators}})
	first := r.members[0].grant.Load()
	for i, m := range r.members {
		if m.grant.Load() != first || first == nil {
			t.Errorf("member %d has a grant of its own, which is that of the others", i)
		}
	}
	r.obey(&registryv1.Room{Id: r.id, Revision: 1})
	if r.members[0].May(rights.Post) {
		t.Error("an older record was obeyed")
	}
	if r.obey(&registryv1.Room{Id: r.id, Revision: 3}); r.members[0].grant.Load() != nil || !r.members[2].May(rights.Post) {
		t.Error("what was forbidden stays so")
	}
}

// TestPaceIsTheUsers: all sessions of a user share it, and no more than a burst
// gets through at once.
func TestPaceIsTheUsers(t *testing.T) {
	r := crowd(t, 4) // of one user
	r.obey(&registryv1.Room{Id: r.id, Revision: 1, Policy: &registryv1.Policy{Rate: proto.Float64(1.0 / 3600)}})
	through := new(atomic.Int64)
	var work sync.WaitGroup
	for _, m := range r.members {
		work.Go(func() {
			for range 100 {
				switch wait := m.Pace(); {
				case wait == 0:
					through.Add(1)
				case wait > time.Hour+time.Minute: // who looked at the clock before whoever got through waits a little more
					t.Errorf("has to wait %s for the next", wait)
				}
			}
		})
	}
	work.Wait()
	if through.Load() != 1 {
		t.Errorf("%d messages came through, want 1", through.Load())
	}
	r.appoint(nobody{}.UserID(), registryv1.Role_ROLE_MODERATOR)
	if r.members[0].Pace() != 0 || r.members[3].Pace() != 0 {
		t.Error("a moderator is bound by the rate")
	}
}

// TestPacesAreBounded: many come and go, and their paces with them.
func TestPacesAreBounded(t *testing.T) {
	r := crowd(t, 1)
	r.rules.Rate = 1000
	for i := range 10_000 {
		r.paceOf(string(rune('a' + i)))
	}
	if len(r.paces) > 2*len(r.members)+64 {
		t.Errorf("%d paces for %d members", len(r.paces), len(r.members))
	}
}

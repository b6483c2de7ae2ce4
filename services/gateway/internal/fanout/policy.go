package fanout

import (
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// A room's policy comes with whoever joins, and again whenever the registry
// tells that the record has changed. What it means for each member is worked
// out then, by the room's worker, and left at the member's place, where the
// session finds it for every message.

// grant is what a member may do in a room beside reading, and how fast. It is
// replaced, never changed.
type grant struct {
	post, signal bool
	every        time.Duration // between two messages; 0 for any
	burst        int
	pace         *pace
}

// pace is how fast a user's messages come, of all sessions on this gateway. It
// is a bucket of tokens, of which it keeps only when the bucket will be full
// again (ITU-T I.371, annex A).
type pace struct {
	started time.Time
	full    atomic.Int64 // nanoseconds after started
}

// take takes a token. When there is none it takes nothing, and tells after
// which time there will be one.
func (p *pace) take(every time.Duration, burst int) (wait time.Duration) {
	now := time.Since(p.started)
	for {
		before := p.full.Load()
		full := max(time.Duration(before), now) + every
		if wait := full - now - time.Duration(burst)*every; wait > 0 {
			return wait
		}
		if p.full.CompareAndSwap(before, int64(full)) {
			return 0
		}
	}
}

// May says whether the member may post or signal. It may be asked by anybody.
func (m *Membership) May(a rights.Action) bool {
	g := m.grant.Load()
	switch {
	case g == nil:
		return true
	case a == rights.Signal:
		return g.signal
	}
	return g.post
}

// Pace counts a message against the room's rate, and tells how long it is too
// early; 0 for one that may be. It may be called by anybody.
func (m *Membership) Pace() time.Duration {
	if g := m.grant.Load(); g != nil && g.pace != nil {
		return g.pace.take(g.every, g.burst)
	}
	return 0
}

// Role is the one that the member has in the room. It may be asked by anybody.
func (m *Membership) Role() registryv1.Role { return registryv1.Role(m.role.Load()) }

// Keep is how many entries the room's log keeps, 0 for what the deployment
// does. It may be asked by anybody.
func (m *Membership) Keep() uint32 { return m.keep.Load() }

// who is a member as the room's rules see it.
func (m *Membership) who() rights.Who { return rights.Of(m.Role(), m.member.Roles()) }

// obey takes in a record of the room; nil and what is older than what is known
// have no effect.
func (r *room) obey(record *registryv1.Room) {
	if record == nil || record.Revision <= r.revision || !r.isNow(record.Epoch) {
		return
	}
	rules := rights.RulesOf(record)
	same := rules == r.rules
	if r.rules, r.revision = rules, record.Revision; same {
		return // most changes are of what a room is called, or of its topic
	}
	r.recent.limit(r.keeps())
	r.worker.memory.account(r)
	if r.rules.Rate == 0 {
		r.paces = nil
	}
	r.putOutStrangers()
	for _, m := range r.members {
		r.allow(m)
	}
}

// putOutStrangers takes those out who may not read any more. Everybody is in
// the lobby.
func (r *room) putOutStrangers() {
	if r.id == ids.Lobby {
		return
	}
	reason, code := "the room does not let you in any more", errs.Forbidden
	if r.rules.Private {
		reason, code = "the room is private now", errs.NotFound
	}
	r.putOut(reason, code,
		func(m *Membership) bool { return !r.rules.May(m.who(), rights.Read) },
		func(j *join) bool { return !r.letsIn(j) })
}

// letsIn says whether a joiner may be in the room, as far as the policy goes.
func (r *room) letsIn(j *join) bool {
	return r.id == ids.Lobby || r.rules.May(rights.Of(j.Role, j.Member.Roles()), rights.Read)
}

// allow works out what a member may do.
func (r *room) allow(m *Membership) {
	m.keep.Store(r.rules.Retention)
	who := m.who()
	g := grant{post: r.rules.May(who, rights.Post), signal: r.rules.May(who, rights.Signal)}
	if r.rules.Rate > 0 && !who.Moderates() {
		g.every = time.Duration(float64(time.Second) / r.rules.Rate)
		g.burst = r.rules.Burst()
		g.pace = r.paceOf(m.member.UserID())
	}
	m.grant.Store(r.shared(g))
}

// shared gives a grant for a member: none where nothing is restricted, and
// where it can be the same as the first member's, for most have the same.
func (r *room) shared(g grant) *grant {
	if g == (grant{post: true, signal: true}) {
		return nil
	}
	if len(r.members) > 0 {
		if first := r.members[0].grant.Load(); first != nil && *first == g {
			return first
		}
	}
	return &g
}

// paceOf gives the pace of a user, which stays for as long as it says something:
// who leaves and comes back is not faster for it.
func (r *room) paceOf(user string) *pace {
	if p := r.paces[user]; p != nil {
		return p
	}
	if r.paces == nil {
		r.paces = make(map[string]*pace)
	}
	if len(r.paces) >= 2*len(r.members)+64 {
		here := make(map[string]bool, len(r.members))
		for _, m := range r.members {
			here[m.member.UserID()] = true
		}
		for other, p := range r.paces {
			if !here[other] && time.Duration(p.full.Load()) <= time.Since(p.started) {
				delete(r.paces, other)
			}
		}
	}
	p := &pace{started: time.Now()}
	r.paces[user] = p
	return p
}

// appoint takes in which role a user has.
func (r *room) appoint(user string, role registryv1.Role) {
	for _, m := range r.members {
		if m.member.UserID() == user && m.Role() != role {
			m.role.Store(int32(role))
			r.allow(m)
		}
	}
	for j := range r.joining {
		if j.Member.UserID() == user {
			j.Role = role
		}
	}
	r.putOutStrangers()
}

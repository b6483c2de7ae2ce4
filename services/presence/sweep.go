package presence

import (
	"math"
	"time"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// What concerns all sessions of a gateway is done bit by bit: there may be
// 50,000 of them, and the lock is not held that long. A budget says how much may
// be done now; a session costs 1 and 1 for each room it is in.

// arrival is a gateway's snapshot on its way into the picture. One that is not
// among its sessions has ended without our hearing how: it gets a lease that
// ends at vanished, so that it can still resume elsewhere without leaving. Those
// that are on a lease already stay on it.
type arrival struct {
	number   uint64
	sessions []*busv1.SnapshotSession // not yet taken in
	vanished time.Time
	// serial differs from that of the gateway's snapshot before and is not 0.
	serial uint8
	swept  sweep
	done   bool
}

// arrive takes in as much of a snapshot as the budget allows, and tells what is
// left of the budget. Meanwhile no delta of this gateway may be applied.
func (p *picture) arrive(gatewayID string, a *arrival, budget int) int {
	for len(a.sessions) > 0 {
		if budget <= 0 {
			return budget
		}
		s := a.sessions[0]
		a.sessions[0] = nil
		a.sessions = a.sessions[1:]
		budget -= 1 + len(s.Online.GetRooms())
		if entry := p.online(gatewayID, s.SessionId, s.Online, false); entry != nil {
			entry.serial = a.serial
		}
	}
	budget = p.sweep(gatewayID, &a.swept, budget, func(s *session) {
		if s.serial != a.serial {
			p.lease(s, a.vanished)
		}
	})
	a.done = a.swept.over()
	return budget
}

// sweep is how far a walk through all sessions of a gateway has come: how many
// are still to be looked at. It begins as beginning.
type sweep int

const beginning sweep = math.MaxInt

func (w sweep) over() bool { return w == 0 }

// sweep calls f with a gateway's sessions until that has cost the budget, and
// tells what is left of that. It goes from the last to the first, so that
// whichever goes meanwhile, none is passed over: only the last one ever moves.
func (p *picture) sweep(gatewayID string, w *sweep, budget int, f func(*session)) int {
	for budget > 0 {
		g := p.gateways[gatewayID]
		if g == nil {
			*w = 0
		} else {
			*w = min(*w, sweep(len(g.sessions)))
		}
		if w.over() {
			break
		}
		*w--
		s := g.sessions[*w]
		budget -= 1 + len(s.rooms)
		f(s)
	}
	return budget
}

// leaving has whatever the gateway announces from now on end then. Those it has
// are left to part.
func (p *picture) leaving(gatewayID string, end time.Time) {
	if g := p.gateways[gatewayID]; g != nil {
		g.leaves = end
	}
}

// part puts a gateway's sessions on a lease, as far as the budget allows.
func (p *picture) part(gatewayID string, w *sweep, end time.Time, budget int) int {
	return p.sweep(gatewayID, w, budget, func(s *session) { p.lease(s, end) })
}

// giveUp ends a gateway's sessions, but for those that a lease keeps, as far as
// the budget allows.
func (p *picture) giveUp(gatewayID string, w *sweep, budget int) int {
	return p.sweep(gatewayID, w, budget, func(s *session) {
		if _, leased := p.leases[s]; !leased {
			p.remove(s)
		}
	})
}

package presence

import (
	"time"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

const (
	// answerTimeout is how long after its newest part an answer is waited for.
	answerTimeout = 10 * time.Second
	// maxSnapshot bounds the sessions of one gateway.
	maxSnapshot = 1 << 20
)

// answer collects what one ask brings. Each has an address of its own, so that
// parts of two snapshots of one gateway are never mixed.
type answer struct {
	sub     *bus.Subscription
	gateway string // "" for all
	until   time.Time
	parts   map[source]*parts
}

// source is a gateway, or who stands in for it.
type source struct {
	gateway string
	standIn bool
}

// parts is as much of one gateway's snapshot as has come.
type parts struct {
	number   uint64
	next     uint32
	sessions []*busv1.SnapshotSession
}

// add takes in the next part; false if one is missing, or there is too much.
func (p *parts) add(part *busv1.PresenceSnapshot) bool {
	if part.Part != p.next || part.Number != p.number || len(p.sessions)+len(part.Sessions) > maxSnapshot {
		return false
	}
	p.next++
	p.sessions = append(p.sessions, part.Sessions...)
	return true
}

// ask requests a gateway's snapshot, or everybody's where gateway is "". If it
// fails, or the answer does not come, the clock asks again.
func (s *Service) ask(gateway string) {
	a := &answer{gateway: gateway, until: time.Now().Add(answerTimeout), parts: make(map[source]*parts)}
	ask, sub, err := s.bus.SubscribeSnapshots(func(part *busv1.PresenceSnapshot) { s.hearSnapshot(a, part) })
	if err != nil {
		s.log.Warn("asking for a snapshot", "gateway", gateway, "error", err)
		return
	}
	a.sub = sub
	s.mu.Lock()
	stopped := s.answers == nil
	if !stopped {
		s.answers[a] = struct{}{}
	}
	s.mu.Unlock()
	if stopped {
		sub.Stop()
		return
	}
	if err := ask(gateway); err != nil {
		s.log.Debug("asking for a snapshot", "gateway", gateway, "error", err)
	}
}

// hearSnapshot takes in one part. NATS calls it for one answer in order.
func (s *Service) hearSnapshot(a *answer, part *busv1.PresenceSnapshot) {
	from := source{part.GatewayId, part.LeaseMs > 0}
	finished := false
	if a.gateway != "" && part.GatewayId != a.gateway {
		return // nobody was asked for it
	}
	s.change(func(now time.Time) {
		a.until = now.Add(answerTimeout)
		if part.GatewayId == "" {
			s.lastSeen.merge(part.Gone, now)
			return
		}
		p := a.parts[from]
		if p == nil {
			p = &parts{number: part.Number}
			a.parts[from] = p
		}
		if !p.add(part) {
			// Stays as it is, so that no later part fits; asked again in time.
			p.sessions = nil
			p.next = ^uint32(0)
			return
		}
		if !from.standIn {
			s.intake.coming(part.GatewayId, now)
		}
		if !part.Last {
			return
		}
		if from.standIn {
			lease := min(time.Duration(part.LeaseMs)*time.Millisecond, maxLease)
			s.intake.standIn(part.GatewayId, p.number, p.sessions, now.Add(lease), now)
		} else {
			s.intake.snapshot(part.GatewayId, p.number, p.sessions, now)
			finished = part.GatewayId == a.gateway
		}
		p.sessions = nil
		p.next = ^uint32(0)
	})
	if finished {
		s.mu.Lock()
		delete(s.answers, a)
		s.mu.Unlock()
		a.sub.Stop()
	}
}

// dropAnswers gives up the answers that have been waited for long enough.
func (s *Service) dropAnswers() {
	var old []*answer
	s.mu.Lock()
	now := time.Now()
	for a := range s.answers {
		if now.After(a.until) {
			old = append(old, a)
			delete(s.answers, a)
		}
	}
	s.mu.Unlock()
	for _, a := range old {
		a.sub.Stop()
	}
}

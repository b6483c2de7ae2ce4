package presence

import (
	"time"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// standInPage is how many sessions or users a stand-in's message has.
const standInPage = 500

// standIn answers a replica that asks everybody, for those who cannot answer any
// more: gateways that have ended or are silent, whose sessions may still resume,
// and users who have gone. Only the replica that speaks does.
func (s *Service) standIn(reply func(*busv1.PresenceSnapshot) error) {
	s.mu.Lock()
	now := time.Now()
	absent := make(map[string]time.Duration)
	if s.speaking(now) {
		absent = s.intake.absent(now, 3*s.opts.BeatEvery)
	}
	speaking := s.speaking(now)
	s.mu.Unlock()
	if !speaking {
		return
	}
	for gateway, lease := range absent {
		s.standInFor(gateway, lease, reply)
	}
	for from := 0; ; {
		s.mu.RLock()
		page, next := s.lastSeen.page(from, standInPage)
		s.mu.RUnlock()
		if len(page) == 0 {
			return
		}
		if err := reply(&busv1.PresenceSnapshot{Gone: page}); err != nil {
			s.log.Debug("telling another replica", "error", err)
			return
		}
		from = next
	}
}

func (s *Service) standInFor(gateway string, lease time.Duration, reply func(*busv1.PresenceSnapshot) error) {
	walk, number, count := beginning, uint64(0), uint32(0)
	for !walk.over() {
		s.mu.RLock()
		if f := s.intake.feeds[gateway]; f != nil && count == 0 {
			number = f.known
		}
		part := &busv1.PresenceSnapshot{GatewayId: gateway, Number: number, Part: count, LeaseMs: lease.Milliseconds()}
		s.intake.picture.sweep(gateway, &walk, standInPage, func(session *session) {
			part.Sessions = append(part.Sessions, s.intake.picture.announced(session))
		})
		s.mu.RUnlock()
		part.Last = walk.over()
		if err := reply(part); err != nil {
			s.log.Debug("telling another replica", "error", err)
			return
		}
		count++
	}
}

// absent tells which gateways with sessions have said that they end, or nothing
// for a while, and how long their sessions stay.
func (in *intake) absent(now time.Time, quiet time.Duration) map[string]time.Duration {
	absent := make(map[string]time.Duration)
	for id, f := range in.feeds {
		end := f.heard.Add(in.silence)
		if f.leaving {
			end = f.leaves
		}
		if in.picture.gateways[id] != nil && end.After(now) && (f.leaving || now.Sub(f.heard) >= quiet) {
			absent[id] = max(end.Sub(now), time.Millisecond)
		}
	}
	return absent
}

// announced is a session as its gateway would announce it.
func (p *picture) announced(s *session) *busv1.SnapshotSession {
	o := &busv1.SessionOnline{
		User: wireUser(s.user), AuthenticatedAtMs: s.authenticatedMS,
		Status: &busv1.SessionStatus{Status: s.status.String(), Text: p.texts[s]},
	}
	for _, r := range s.rooms {
		o.Rooms = append(o.Rooms, r.id)
	}
	return &busv1.SnapshotSession{SessionId: s.id, Online: o}
}

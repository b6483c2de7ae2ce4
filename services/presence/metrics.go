package presence

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

// observe records the service's metrics; all are read only when somebody asks.
func (s *Service) observe(meter metric.Meter) error {
	type reading struct {
		name, unit, help string
		counter          bool
		read             func() int // under s.mu
	}
	readings := []reading{
		{"parley.presence.users", "{user}", "Users online.", false, func() int { return s.intake.picture.users.Len() }},
		{"parley.presence.sessions", "{session}", "Sessions present.", false, func() int { return s.intake.picture.sessions.Len() }},
		{"parley.presence.leases", "{session}", "Sessions that are cut off and may resume.", false, func() int { return len(s.intake.picture.leases) }},
		{"parley.presence.rooms", "{room}", "Rooms with members.", false, func() int { return s.intake.picture.rooms.Len() }},
		{"parley.presence.gateways", "{gateway}", "Gateways heard.", false, func() int { return len(s.intake.feeds) }},
		{"parley.presence.gone", "{user}", "Users of whom it is remembered when they went.", false, func() int { return s.lastSeen.len() }},
		{"parley.presence.waiting", "{gateway}", "Gateways of which something large is being taken in.", false, func() int { return len(s.intake.todo) }},
		{"parley.presence.untold", "{change}", "Comings and goings that rooms have not been told of.", false, func() int { return s.roster.moves }},
		{"parley.presence.answers", "{snapshot}", "Snapshots that were asked for and may be on their way.", false, func() int { return len(s.answers) }},
		{"parley.presence.watchers", "{stream}", "Watch streams.", false, func() int { return len(s.watchers) }},
		{"parley.presence.deltas", "{delta}", "Deltas taken in.", true, func() int { return int(s.intake.deltas) }},
		{"parley.presence.holes", "{hole}", "Times that a delta was missing.", true, func() int { return int(s.intake.holes) }},
		{"parley.presence.snapshots", "{snapshot}", "Snapshots taken in.", true, func() int { return int(s.intake.snapshots) }},
		{"parley.presence.strangers", "{message}", "Messages that no gateway can have sent, or one beyond 4096 of them; they were passed over.", true, func() int { return int(s.intake.strangers) }},
		{"parley.presence.restating", "{user}", "Users whose status was told a moment ago.", false, func() int { return len(s.statuses.users) }},
		{"parley.presence.events", "{event}", "Roster events sent.", true, func() int { return int(s.eventsOut) }},
	}
	for _, r := range readings {
		observe := func(_ context.Context, o metric.Int64Observer) error {
			s.mu.RLock()
			defer s.mu.RUnlock()
			o.Observe(int64(r.read()))
			return nil
		}
		var err error
		if r.counter {
			_, err = meter.Int64ObservableCounter(r.name, metric.WithUnit(r.unit), metric.WithDescription(r.help), metric.WithInt64Callback(observe))
		} else {
			_, err = meter.Int64ObservableGauge(r.name, metric.WithUnit(r.unit), metric.WithDescription(r.help), metric.WithInt64Callback(observe))
		}
		if err != nil {
			return fmt.Errorf("making metric %s: %w", r.name, err)
		}
	}
	return nil
}

package registry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

// counters are what the registry counts; observe describes them.
type counters struct {
	watchRestarts, conflicts, sweeps, hidden, expired, erased, overSanctions, markReads metric.Int64Counter
}

// observe makes the registry's metrics.
func (s *Service) observe(meter metric.Meter) error {
	for _, c := range []struct {
		counter          *metric.Int64Counter
		name, unit, help string
	}{
		{&s.metrics.watchRestarts, "parley.registry.watch.restarts", "{restart}", "Times that the watch of the bucket had to begin anew."},
		{&s.metrics.conflicts, "parley.registry.write.conflicts", "{write}", "Writes that found the record changed by somebody else."},
		{&s.metrics.sweeps, "parley.registry.sweeps", "{look}", "Looks at the rooms that something is due about because they are empty."},
		{&s.metrics.hidden, "parley.registry.rooms.hidden", "{room}", "Rooms that left the lists because they were empty."},
		{&s.metrics.expired, "parley.registry.rooms.expired", "{room}", "Rooms that ended because nobody came back."},
		{&s.metrics.overSanctions, "parley.registry.sanctions.ended", "{sanction}", "Bans and mutes that were taken out of the store because they were over."},
		{&s.metrics.erased, "parley.registry.logs.erased", "{erasure}", "Erasures of the log of a room that had ended; most rooms need two."},
		{&s.metrics.markReads, "parley.registry.marks.reads", "{read}", "Reads of the read marks of users who join; many at once are one."},
	} {
		counter, err := meter.Int64Counter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.help))
		if err != nil {
			return fmt.Errorf("making metric %s: %w", c.name, err)
		}
		*c.counter = counter
	}
	for _, g := range []struct {
		name, unit, help string
		read             func() int
	}{
		{"parley.registry.rooms", "{room}", "Rooms that there are, hidden ones and the lobby included.", func() int { return len(s.picture.byID) }},
		{"parley.registry.standings", "{standing}", "Standings of users in rooms.", func() int { return s.picture.standings }},
		{"parley.registry.endings", "{room}", "Rooms that have ended and left something to do.", func() int { return len(s.picture.endings) }},
		{"parley.registry.sanctions", "{sanction}", "Bans and mutes that end by themselves and have not been taken out of the store.", func() int { return s.picture.sanctions.ends.Len() }},
		{"parley.registry.trims", "{room}", "Logs that are to be trimmed, for their rooms keep less by now.", func() int { return len(s.trims) }},
		{"parley.registry.makers", "{user}", "Users whose new rooms are counted (rooms-per-hour).", s.making.len},
		{"parley.registry.again", "{change}", "Changes of rights that are to be told a second time.", func() int { return len(s.again) }},
	} {
		_, err := meter.Int64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.help),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				s.picture.mu.RLock()
				defer s.picture.mu.RUnlock()
				o.Observe(int64(g.read()))
				return nil
			}))
		if err != nil {
			return fmt.Errorf("making metric %s: %w", g.name, err)
		}
	}
	return nil
}

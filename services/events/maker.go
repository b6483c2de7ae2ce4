package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/run"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
)

// maker makes events from one load of the state until something fails. Each
// source is a goroutine that hands over one batch at a time and waits until it
// is stored; so what a source finds in the state is true, and what waits in
// memory is bounded.
type maker struct {
	s       *Service
	kv      *bus.KV
	state   *state
	batches chan *batch
}

// batch is what one source has made, in its order.
type batch struct {
	events []*eventsv1.Event
	source string
	upTo   place         // the source has been read so far
	done   chan struct{} // closed when all are stored
}

const (
	// batchEvents and batchBytes bound a batch; one more event fits always.
	batchEvents = 256
	batchBytes  = 512 << 10
)

// make makes events until something fails, never with nil. The lease is held
// from the beginning: there may be much to read back.
func (s *Service) make(ctx context.Context, kv *bus.KV, lease *lease) error {
	var state *state
	group := run.NewGroup(ctx)
	group.Go("lease", lease.hold)
	group.Go("load", func(ctx context.Context) (err error) {
		if state, err = load(ctx, s.bus, kv, s.log); err != nil {
			return err
		}
		m := &maker{s: s, kv: kv, state: state, batches: make(chan *batch)}
		group.Go("write", m.write)
		group.Go("save", m.save)
		for shard := range s.bus.Deployment().Shards {
			group.Go(logName(shard), func(ctx context.Context) error { return m.followLog(ctx, shard) })
		}
		group.Go(sourceRooms, m.followRooms)
		if s.opts.Presence != nil {
			group.Go(sourcePresence, m.followPresence)
		}
		return nil
	})
	err := group.Wait()
	if err == nil {
		err = errors.New("a part ended")
	}
	if ctx.Err() != nil && state != nil {
		// In order: the next one has nothing to read back.
		saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := state.save(saving, kv); err != nil {
			s.log.Info("how far events are made was not saved", "error", err)
		}
	}
	return err
}

// save writes down now and then how far events are made.
func (m *maker) save(ctx context.Context) error {
	for run.Sleep(ctx, m.s.opts.SaveEvery) {
		if err := m.state.save(ctx, m.kv); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// emit stores a source's events and notes how far it has been read; it returns
// when that is done. Errors: only that ctx has ended.
func (m *maker) emit(ctx context.Context, source string, upTo place, events []*eventsv1.Event) error {
	if len(events) == 0 {
		m.state.advance(source, upTo)
		return nil
	}
	b := &batch{events: events, source: source, upTo: upTo, done: make(chan struct{})}
	select {
	case m.batches <- b:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write stores what the sources hand over, several batches at once.
func (m *maker) write(ctx context.Context) error {
	for {
		var together []*batch
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b := <-m.batches:
			together = append(together, b)
		}
		for more := true; more; {
			select {
			case b := <-m.batches:
				together = append(together, b)
			default:
				more = false
			}
		}
		events := merge(together)
		for len(events) > 0 {
			some := events[:min(len(events), bus.MaxEvents)]
			events = events[len(some):]
			if err := m.store(ctx, some); err != nil {
				return fmt.Errorf("storing events: %w", err)
			}
			for i, e := range some {
				e.Position = m.state.event + 1
				m.state.apply(e)
				some[i] = nil
			}
			m.s.metrics.stored.Add(ctx, int64(len(some)))
		}
		for _, b := range together {
			if b.source != sourcePresence {
				m.state.advance(b.source, b.upTo)
			}
			close(b.done)
		}
	}
}

// store stores events together, however long that takes: the lease bounds it.
// Errors: bus.ErrConflict, and that ctx has ended.
func (m *maker) store(ctx context.Context, events []*eventsv1.Event) error {
	name := ids.New("e_")
	for pause := firstPause; ; pause = min(2*pause, time.Second) {
		err := m.s.bus.AppendEvents(ctx, m.state.event, name, events)
		if err == nil || errors.Is(err, bus.ErrConflict) || ctx.Err() != nil {
			return err
		}
		m.s.log.Info("storing events, trying again", "pause", pause, "error", err)
		if !run.Sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// merge puts batches into one order: by time, and within a batch as it is.
func merge(batches []*batch) []*eventsv1.Event {
	if len(batches) == 1 {
		return batches[0].events
	}
	total := 0
	rest := make([][]*eventsv1.Event, len(batches))
	for i, b := range batches {
		rest[i] = b.events
		total += len(b.events)
	}
	merged := make([]*eventsv1.Event, 0, total)
	for len(merged) < total {
		next := -1
		for i, events := range rest {
			if len(events) > 0 && (next < 0 || earlier(events[0].Time, rest[next][0].Time)) {
				next = i
			}
		}
		merged = append(merged, rest[next][0])
		rest[next] = rest[next][1:]
	}
	return merged
}

func earlier(a, b *timestamppb.Timestamp) bool {
	return a.GetSeconds() < b.GetSeconds() || a.GetSeconds() == b.GetSeconds() && a.GetNanos() < b.GetNanos()
}

// eventID names what an event tells of.
func (m *maker) eventID(source string, number uint64) string {
	return fmt.Sprintf("%s-%s-%d", source, m.s.bus.Deployment().Incarnation, number)
}

// gap makes the event that tells of what is missing of a source.
func (m *maker) gap(source string, from, to uint64, at place, now time.Time) *eventsv1.Event {
	m.s.metrics.gaps.Add(context.Background(), 1)
	m.s.log.Warn("events are missing: they were not kept until they could be read", "source", source, "from", from, "to", to)
	return &eventsv1.Event{
		Id: m.eventID(source+"-gap", to), Time: timestamppb.New(now),
		Source: &eventsv1.Source{Name: source, Seq: at.seq, Revision: at.revision},
		Event:  &eventsv1.Event_Gap{Gap: &eventsv1.Gap{Source: source, From: from, To: to}},
	}
}

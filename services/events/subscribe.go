package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
)

const (
	// maxFilters bounds the subjects of one subscription.
	maxFilters = 100
	// lookEvery is how long nothing comes for a subscriber before it is looked
	// whether events have gone that it has not seen.
	lookEvery = 5 * time.Second
)

// Subscribe implements eventsv1.EventsServer. The stream's header is sent once
// it is certain from where it begins.
func (s *Service) Subscribe(r *eventsv1.SubscribeRequest, stream grpc.ServerStreamingServer[eventsv1.Event]) error {
	if err := s.available(); err != nil {
		return err
	}
	subjects, err := checkFilter(r)
	if err != nil {
		return err
	}
	if s.subscribers.Add(1) > int64(s.opts.MaxSubscribers) {
		s.subscribers.Add(-1)
		return errs.Missing("events", fmt.Errorf("%d subscribe already", s.opts.MaxSubscribers))
	}
	defer s.subscribers.Add(-1)
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	stopped := make(chan struct{})
	defer close(stopped)
	go func() { // ends with this call
		select {
		case <-s.ended:
			cancel()
		case <-stopped:
		}
	}()
	err = s.subscribe(ctx, r, subjects, stream)
	if err != nil && ctx.Err() != nil && stream.Context().Err() == nil {
		return errs.Missing("events", errors.New("this process is stopping"))
	}
	return err
}

func (s *Service) subscribe(ctx context.Context, r *eventsv1.SubscribeRequest, subjects []string, stream grpc.ServerStreamingServer[eventsv1.Event]) error {
	_, _, last, err := s.bus.EventsState(ctx)
	if err != nil {
		return errs.Missing("events", err)
	}
	at := last
	if from, ok := r.From.(*eventsv1.SubscribeRequest_After); ok {
		if from.After > last {
			return errs.Invalid("after", "is %d, but the newest event is %d", from.After, last)
		}
		at = from.After
	}
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	w := &watching{s: s, stream: stream, at: at, from: at + 1, beginning: at == 0, subjects: subjects}
	if err := w.look(ctx, 0); err != nil {
		return err
	}
	reader := s.bus.ReadEvents(w.at, subjects)
	defer reader.Close()
	for {
		event, read, err := reader.Next(ctx, s.lookEvery)
		switch {
		case err == nil:
			err = w.take(ctx, event, read)
		case errors.Is(err, bus.ErrQuiet):
			err = w.quiet(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// watching is how far a subscriber has come, who must be told when events have
// fallen to the stream's limits before it got to them: NATS passes over them
// without a word.
type watching struct {
	s        *Service
	stream   grpc.ServerStreamingServer[eventsv1.Event]
	subjects []string

	at        uint64 // sent, or not wanted
	from      uint64 // all before is accounted for
	newest    uint64 // as of the last look
	looked    time.Time
	beginning bool // from the very beginning nothing is missing: that is wherever the stream begins
}

// take sends an event. Where positions before it did not come, they were erased,
// or not wanted, or have fallen; the last is found out before it is sent, but of
// a subscriber who wants only some not for each.
func (w *watching) take(ctx context.Context, event *eventsv1.Event, read bus.Place) error {
	if w.from < read.Seq && (len(w.subjects) == 0 || time.Since(w.looked) >= w.s.lookEvery/5) {
		if err := w.look(ctx, read.Seq); err != nil {
			return err
		}
		w.from = read.Seq
	}
	if w.from == read.Seq {
		w.from++
	}
	w.at = read.Seq
	if event.Event == nil {
		return nil // of a newer version, or not ours
	}
	return w.send(ctx, event)
}

// quiet is for when nothing has come for as long as there is between looks.
func (w *watching) quiet(ctx context.Context) error {
	seen := w.newest
	if err := w.look(ctx, 0); err != nil {
		return err
	}
	// So long after it was the newest, nothing that is wanted lies before it.
	w.at = max(w.at, seen)
	w.from = w.at + 1
	return nil
}

// look tells the subscriber of a gap where one is. next is the position of the
// event that it gets next, 0 where none is at hand.
func (w *watching) look(ctx context.Context, next uint64) error {
	first, _, last, err := w.s.bus.EventsState(ctx)
	if err != nil {
		return errs.Missing("events", err)
	}
	w.looked, w.newest = time.Now(), last
	fallen := uint64(0) // the last that is not there
	if first > 0 {
		fallen = first - 1
	}
	if next > 0 {
		fallen = min(fallen, next-1)
	}
	from := w.from
	w.at = max(w.at, fallen)
	w.from = w.at + 1
	if from > fallen || w.beginning {
		w.beginning = false
		return nil
	}
	return w.send(ctx, &eventsv1.Event{
		Id: fmt.Sprintf("events-%s-gap-%d", w.s.bus.Deployment().Incarnation, fallen), Position: w.at, Time: timestamppb.Now(),
		Source: &eventsv1.Source{Name: "events", Seq: fallen},
		Event:  &eventsv1.Event_Gap{Gap: &eventsv1.Gap{Source: "events", From: from, To: fallen}},
	})
}

func (w *watching) send(ctx context.Context, e *eventsv1.Event) error {
	w.s.metrics.sent.Add(ctx, 1)
	return w.stream.Send(e)
}

// checkFilter gives the subjects that a subscriber wants.
func checkFilter(r *eventsv1.SubscribeRequest) ([]string, error) {
	switch from := r.From.(type) {
	case nil:
		return nil, errs.Invalid("after", "or now is missing")
	case *eventsv1.SubscribeRequest_Now:
		if !from.Now {
			return nil, errs.Invalid("now", "is false")
		}
	}
	known := bus.EventKinds()
	for _, kind := range r.Kinds {
		if !slices.ContainsFunc(known, func(k string) bool { return k == kind || strings.HasPrefix(k, kind+".") }) {
			return nil, errs.Invalid("kinds", "%q is none of %s", kind, strings.Join(known, ", "))
		}
	}
	for _, room := range r.RoomIds {
		if err := ids.CheckRoom("roomIds", room); err != nil {
			return nil, err
		}
	}
	for _, user := range r.UserIds {
		if err := ids.CheckUser("userIds", user); err != nil {
			return nil, err
		}
	}
	if len(r.Kinds) == 0 && len(r.RoomIds) == 0 && len(r.UserIds) == 0 {
		return nil, nil
	}
	subjects := bus.EventSubjects(r.Kinds, r.RoomIds, r.UserIds)
	if len(subjects) > maxFilters {
		return nil, errs.Invalid("kinds", "and rooms and users make %d filters, more than %d", len(subjects), maxFilters)
	}
	return subjects, nil
}

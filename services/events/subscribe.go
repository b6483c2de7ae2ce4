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
	// lookEvery is how often a subscriber is looked after: has the service
	// ended, or have events gone that it has not seen?
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
	var reader *bus.EventReader
	defer func() {
		if reader != nil {
			reader.Close()
		}
	}()
	send := func(e *eventsv1.Event) error {
		s.metrics.sent.Add(ctx, 1)
		return stream.Send(e)
	}
	first := true
	var newest uint64 // when it was looked last
	for looked := (time.Time{}); ; {
		if time.Since(looked) >= lookEvery {
			looked = time.Now()
			gone, last, err := s.gone(ctx, at, first && at == 0)
			if err != nil {
				return errs.Missing("events", err)
			}
			first, newest = false, last
			if gone != nil {
				if at = gone.Position; reader != nil {
					reader.Close()
					reader = nil
				}
				if err := send(gone); err != nil {
					return err
				}
			}
		}
		if reader == nil {
			reader = s.bus.ReadEvents(at, subjects)
		}
		event, read, err := reader.Next(ctx, lookEvery)
		switch {
		case err != nil:
			return err
		case event == nil:
			// So long after it was the newest, nothing that is wanted lies before it.
			at = max(at, newest)
			continue
		}
		at = read.Seq
		if event.Event == nil {
			continue // of a newer version, or not ours
		}
		if err := send(event); err != nil {
			return err
		}
	}
}

// gone makes the gap that a subscriber is told when events behind its position
// have fallen to the stream's limits; nil where none have. From the very
// beginning nothing is missing: it is wherever the stream begins. last is the
// newest position.
func (s *Service) gone(ctx context.Context, at uint64, beginning bool) (gap *eventsv1.Event, last uint64, err error) {
	first, _, last, err := s.bus.EventsState(ctx)
	if err != nil || beginning || first <= at+1 {
		return nil, last, err
	}
	return &eventsv1.Event{
		Id: fmt.Sprintf("events-%s-gap-%d", s.bus.Deployment().Incarnation, first-1), Position: first - 1, Time: timestamppb.Now(),
		Source: &eventsv1.Source{Name: "events", Seq: first - 1},
		Event:  &eventsv1.Event_Gap{Gap: &eventsv1.Gap{Source: "events", From: at + 1, To: first - 1}},
	}, last, nil
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

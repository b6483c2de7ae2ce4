package events

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/bustest"
	"github.com/parley-im/parley/pkg/rpc"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

// A subscriber that reads more slowly than events are made and fall to the
// stream's limits is told of each that it does not get: none is passed over
// without a word, whether it wants all or some.
func TestSlowSubscriberIsToldOfGaps(t *testing.T) {
	for name, r := range map[string]*eventsv1.SubscribeRequest{
		"all":  {From: &eventsv1.SubscribeRequest_After{After: 1}},
		"some": {From: &eventsv1.SubscribeRequest_After{After: 1}, RoomIds: []string{"room"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := deploy(t, bustest.Single(t), bus.LogConfig{})
			keep := bus.EventsConfig{MaxBytes: 256 << 10}
			if err := b.EnsureEvents(t.Context(), keep); err != nil {
				t.Fatal(err)
			}
			client := subscribable(t, b)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var last uint64
			text := fmt.Sprintf("%01000d", 0)
			say := func() {
				var events []*eventsv1.Event
				for range 100 {
					events = append(events, &eventsv1.Event{
						Id: fmt.Sprint(last, len(events)), Time: timestamppb.Now(),
						Event: &eventsv1.Event_MessageStored{MessageStored: &eventsv1.MessageEvent{
							Message: &historyv1.Message{RoomId: "room", Content: proto.String(text)}}},
					})
				}
				if err := b.AppendEvents(ctx, last, fmt.Sprint("at ", last), events); err != nil {
					t.Fatal(err)
				}
				last += uint64(len(events))
			}
			say()
			stream, err := client.Subscribe(ctx, r)
			if err != nil {
				t.Fatal(err)
			}
			// Nothing before from is missing that was not told.
			from, gaps := uint64(2), 0
			got := make(map[uint64]bool)
			take := func() {
				t.Helper()
				e, err := stream.Recv()
				if err != nil {
					t.Fatalf("%v; %d of %d accounted for, %d gaps", err, from-1, last, gaps)
				}
				if gap := e.GetGap(); gap != nil {
					gaps++
					for seq := gap.From; seq <= gap.To; seq++ {
						got[seq] = true
					}
				} else if got[e.Position] {
					t.Errorf("%d twice", e.Position)
				}
				got[e.Position] = true
				for got[from] {
					from++
				}
			}
			for range 60 {
				say() // and it takes a tenth of it
				for range 10 {
					take()
				}
			}
			for from <= last {
				take()
			}
			if gaps == 0 {
				t.Error("nothing has fallen; the test is worth nothing")
			}
			t.Logf("%d events, %d gaps", last, gaps)
		})
	}
}

// subscribable serves a replica that makes no events.
func subscribable(t *testing.T, b *bus.Bus) eventsv1.EventsClient {
	t.Helper()
	s, err := New(Options{Bus: b})
	if err != nil {
		t.Fatal(err)
	}
	s.ready.Store(true)
	s.lookEvery = 100 * time.Millisecond
	pipe := rpc.Pipe()
	server := grpc.NewServer()
	s.Register(server)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(pipe) }()
	t.Cleanup(func() {
		server.Stop()
		<-ended
	})
	conn, err := rpc.Dial("events", "", rpc.ClientOptions{InProcess: pipe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return eventsv1.NewEventsClient(conn)
}

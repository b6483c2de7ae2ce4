package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/bustest"
	"github.com/parley-im/parley/pkg/rpc"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/events"
)

// Ended at any moment, also within a line, it goes on where it was: every
// message is in the file once, in order.
func TestEveryMessageIsWrittenOnce(t *testing.T) {
	d := bustest.Single(t)
	b := d.Connect(t, bus.Options{Shards: 1})
	if err := b.EnsureLog(t.Context(), bus.LogConfig{}); err != nil {
		t.Fatal(err)
	}
	say := func(text string) error {
		_, err := b.Publish(context.Background(), "general", text, &busv1.LogEntry{
			Kind: busv1.LogEntry_KIND_CHAT_MESSAGE, User: &wirev1.User{Id: "alice"},
			Content: proto.String(text), TimeMs: time.Now().UnixMilli(),
		})
		return err
	}
	if err := say("before there were events"); err != nil {
		t.Fatal(err)
	}
	client := serve(t, b)
	begun(t, client)
	path := filepath.Join(t.TempDir(), "events.jsonl")
	const messages = 400
	published := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < messages && err == nil; i++ {
			err = say(fmt.Sprint(i))
		}
		published <- err
	}()
	var written []string
	for deadline := time.Now().Add(time.Minute); len(written) < messages; {
		if time.Now().After(deadline) {
			t.Fatalf("%d messages were written", len(written))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond) // a short life
		if err := follow(ctx, client, path, []string{"message.stored"}); err != nil {
			t.Fatal(err)
		}
		cancel()
		written = contents(t, path)
		// As if it had been ended while it wrote.
		file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(`{"id":"half of`); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	for i, content := range written {
		if content != fmt.Sprint(i) {
			t.Fatalf("line %d is message %s", i, content)
		}
	}
}

// contents gives what the messages in a file say.
func contents(t *testing.T, path string) (list []string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		var event struct {
			MessageStored *struct{ Message struct{ Content string } }
		}
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if event.MessageStored != nil {
			list = append(list, event.MessageStored.Message.Content)
		}
	}
	return list
}

// begun waits until it is told where events begin.
func begun(t *testing.T, client eventsv1.EventsClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := client.Subscribe(ctx, &eventsv1.SubscribeRequest{From: &eventsv1.SubscribeRequest_After{}}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if event, err := stream.Recv(); err != nil || event.GetGap() == nil {
		t.Fatalf("events begin with %v, %v", event, err)
	}
}

// serve runs the events service in this process.
func serve(t *testing.T, b *bus.Bus) eventsv1.EventsClient {
	t.Helper()
	service, err := events.New(events.Options{Bus: b})
	if err != nil {
		t.Fatal(err)
	}
	pipe := rpc.Pipe()
	server := rpc.NewServer(rpc.ServerOptions{Name: "events"})
	service.Register(server.Registrar())
	server.Health(eventsv1.Events_ServiceDesc.ServiceName, service.Ready)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- service.Run(ctx) }()
	go func() { ended <- server.Run(ctx, pipe) }()
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	conn, err := rpc.Dial("events", "", rpc.ClientOptions{Service: eventsv1.Events_ServiceDesc.ServiceName, InProcess: pipe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return eventsv1.NewEventsClient(conn)
}

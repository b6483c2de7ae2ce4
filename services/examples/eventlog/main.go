// Command eventlog is an example of a back end that must not miss what happens
// in Parley: it writes each event as a line of JSON into a file.
//
// What makes it miss none and write none twice is that the position of an event
// is stored together with what was made of it, here by being in the line. A
// back end with a database keeps it in a table of its own, and writes it in the
// same transaction.
//
//	PARLEY_BACKEND_TOKEN=… eventlog 127.0.0.1:9105 events.jsonl message.stored
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/parley-im/parley/pkg/rpc"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: eventlog ADDRESS FILE [KIND…]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	conn, err := rpc.Dial("events", os.Args[1], rpc.ClientOptions{
		Service: eventsv1.Events_ServiceDesc.ServiceName,
		Token:   func(context.Context) (string, error) { return os.Getenv("PARLEY_BACKEND_TOKEN"), nil },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := follow(ctx, eventsv1.NewEventsClient(conn), os.Args[2], os.Args[3:]); err != nil {
		log.Fatal(err)
	}
}

// follow writes events into a file until ctx ends, from where the file ends on.
func follow(ctx context.Context, events eventsv1.EventsClient, path string, kinds []string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	for {
		err := continueAt(ctx, events, file, kinds)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errFile) {
			return err
		}
		log.Printf("trying again in a second: %v", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// errFile: what has failed is the file, and to try again would not help.
var errFile = errors.New("writing events")

// continueAt follows one stream to its end.
func continueAt(ctx context.Context, events eventsv1.EventsClient, file *os.File, kinds []string) error {
	position, err := lastPosition(file)
	if err != nil {
		return fmt.Errorf("%w: %w", errFile, err)
	}
	stream, err := events.Subscribe(ctx, &eventsv1.SubscribeRequest{
		From: &eventsv1.SubscribeRequest_After{After: position}, Kinds: kinds,
	})
	if err != nil {
		return err
	}
	for {
		event, err := stream.Recv()
		if err != nil {
			return err
		}
		if gap := event.GetGap(); gap != nil {
			// A real back end reads anew what it keeps a copy of.
			log.Printf("events of %s are missing: %d to %d", gap.Source, gap.From, gap.To)
		}
		line, err := protojson.Marshal(event)
		if err != nil {
			return err
		}
		if _, err := file.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("%w: %w", errFile, err)
		}
	}
}

// lastPosition reads where a file ends, cuts off a line that is not whole, and
// leaves the file open there.
func lastPosition(file *os.File) (position uint64, err error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	end := int64(0)
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
		var event struct {
			Position uint64 `json:"position,string"`
		}
		if err := json.Unmarshal(bytes.TrimSpace(line), &event); err != nil {
			return 0, fmt.Errorf("reading the line at byte %d: %w", end, err)
		}
		position, end = event.Position, end+int64(len(line))
	}
	if err := file.Truncate(end); err != nil {
		return 0, err
	}
	_, err = file.Seek(end, io.SeekStart)
	return position, err
}

// Command announce is an example of a back end that speaks in a room. Each line
// of its input is an id and a text, and becomes one message: run again with the
// same lines within the deduplication window (2 minutes by default) it says
// nothing twice.
//
//	echo "order-17 shipped" | PARLEY_BACKEND_TOKEN=… announce 127.0.0.1:9103 orders
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/rpc"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: announce ADDRESS ROOM")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	conn, err := rpc.Dial("history", os.Args[1], rpc.ClientOptions{
		Service: historyv1.History_ServiceDesc.ServiceName,
		Token:   func(context.Context) (string, error) { return os.Getenv("PARLEY_BACKEND_TOKEN"), nil },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := announce(ctx, historyv1.NewHistoryClient(conn), os.Args[2], os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// announce says each line of in, and writes to out what became of it.
func announce(ctx context.Context, history historyv1.HistoryClient, room string, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		id, text, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			return fmt.Errorf("%q: want an id and a text", lines.Text())
		}
		stored, err := publish(ctx, history, &historyv1.PublishRequest{
			RoomId: room, Id: id, User: &wirev1.User{Id: "shop", Username: "Shop"}, Content: &text,
		})
		if err != nil {
			return fmt.Errorf("publishing %s: %w", id, err)
		}
		was := "is stored"
		if stored.Duplicate {
			was = "was stored before"
		}
		fmt.Fprintf(out, "%s %s: seq %d\n", id, was, stored.Seq)
	}
	return lines.Err()
}

// publish tries until Parley has the message, or will never take it. That an
// answer was lost does no harm: under the same id the message is stored once.
func publish(ctx context.Context, history historyv1.HistoryClient, r *historyv1.PublishRequest) (*historyv1.PublishResponse, error) {
	for {
		stored, err := history.Publish(ctx, r)
		if errs.CodeOf(err) != errs.Unavailable {
			return stored, err
		}
		log.Printf("trying again in a second: %v", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

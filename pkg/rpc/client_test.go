package rpc_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/rpc"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

func TestDialRefusesWhatIsNoAddress(t *testing.T) {
	for target, want := range map[string]string{
		"":                      "address is missing",
		"localhost":             "missing port",
		"localhost:1,":          "missing port",
		":7000":                 "host or port is missing",
		"host:":                 "host or port is missing",
		"http://localhost:7000": "neither host:port nor dns:///",
	} {
		conn, err := rpc.Dial("history", target, rpc.ClientOptions{})
		if err == nil {
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "history") {
			t.Errorf("%q: got %v", target, err)
		}
	}
	if _, err := rpc.Dial("history", "a:1", rpc.ClientOptions{Idempotent: []string{"Get"}}); err == nil {
		t.Error("a method without a service was taken")
	}
}

// A service that is not there answers at once, not when the deadline passes.
func TestNobodyListens(t *testing.T) {
	l := listen(t)
	l.Close()
	var logs logBuffer
	conn := dial(t, l.Addr().String(), rpc.ClientOptions{
		Logger: logs.logger(slog.LevelInfo), Idempotent: []string{historyv1.History_ListMessages_FullMethodName},
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 3 {
		_, err := historyv1.NewHistoryClient(conn).ListMessages(ctx, &historyv1.ListMessagesRequest{})
		if errs.CodeOf(err) != errs.Unavailable || ctx.Err() != nil {
			t.Fatalf("got %v", err)
		}
		if status.Code(errors.Unwrap(errs.From(err))) != codes.Unavailable {
			t.Errorf("it was the deadline: %v", err)
		}
	}
	if got := strings.Count(logs.String(), "does not answer"); got != 1 {
		t.Errorf("logged %d times:\n%s", got, logs.String())
	}
}

func TestRoundRobinLeavesWhoIsGone(t *testing.T) {
	var calls [2]atomic.Int64
	var addresses []string
	var stops []func()
	for i := range calls {
		address, stop := serve(t, &history{list: func(context.Context, *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error) {
			calls[i].Add(1)
			return &historyv1.ListMessagesResponse{}, nil
		}}, rpc.ServerOptions{})
		addresses, stops = append(addresses, address), append(stops, stop)
	}
	client := historyv1.NewHistoryClient(dial(t, strings.Join(addresses, ", "), rpc.ClientOptions{}))
	call := func() error {
		_, err := client.ListMessages(t.Context(), &historyv1.ListMessagesRequest{})
		return err
	}
	eventually(t, "both are called", func() bool {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		return calls[0].Load() > 0 && calls[1].Load() > 0
	})
	before := [2]int64{calls[0].Load(), calls[1].Load()}
	for range 10 {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range calls {
		if got := calls[i].Load() - before[i]; got != 5 {
			t.Errorf("server %d got %d of 10 calls", i, got)
		}
	}
	stops[0]()
	for range 20 {
		if err := call(); err != nil {
			t.Fatalf("with one of two gone: %v", err)
		}
	}
	// And back on the same address.
	s := rpc.NewServer(rpc.ServerOptions{Credentials: open(t)})
	historyv1.RegisterHistoryServer(s.Registrar(), &history{list: func(context.Context, *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error) {
		calls[0].Add(1)
		return &historyv1.ListMessagesResponse{}, nil
	}})
	l, err := net.Listen("tcp", addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	run(t, s, l)
	gone := calls[0].Load()
	eventually(t, "the first is called again", func() bool {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		return calls[0].Load() > gone
	})
}

// When a connection breaks under a call, only what may be carried out twice
// is.
func TestRetries(t *testing.T) {
	second, _ := serve(t, &history{list: empty, erase: func(context.Context) (*historyv1.EraseResponse, error) {
		return &historyv1.EraseResponse{}, nil
	}}, rpc.ServerOptions{})
	for name, c := range map[string]struct {
		call func(historyv1.HistoryClient) error
		want errs.Code
	}{
		"idempotent": {func(h historyv1.HistoryClient) error {
			_, err := h.ListMessages(t.Context(), &historyv1.ListMessagesRequest{})
			return err
		}, ""},
		"once": {func(h historyv1.HistoryClient) error {
			_, err := h.Erase(t.Context(), &historyv1.EraseRequest{})
			return err
		}, errs.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			var cuts atomic.Int64
			cut := func(ctx context.Context) error {
				cuts.Add(1)
				l.cut()
				<-ctx.Done()
				return ctx.Err()
			}
			s := rpc.NewServer(rpc.ServerOptions{Credentials: open(t)})
			historyv1.RegisterHistoryServer(s.Registrar(), &history{
				list: func(ctx context.Context, _ *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error) {
					return nil, cut(ctx)
				},
				erase: func(ctx context.Context) (*historyv1.EraseResponse, error) { return nil, cut(ctx) },
			})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx, l) }()
			defer func() { cancel(); <-done }()
			client := historyv1.NewHistoryClient(dial(t, l.Addr().String()+","+second, rpc.ClientOptions{
				Idempotent: []string{historyv1.History_ListMessages_FullMethodName},
			}))
			var got error
			eventually(t, "a call is cut", func() bool {
				got = c.call(client)
				return cuts.Load() > 0
			})
			if errs.CodeOf(got) != c.want {
				t.Errorf("got %v, want %q", got, c.want)
			}
		})
	}
}

// What the service itself calls unavailable it has tried already.
func TestAnswersAreNotRetried(t *testing.T) {
	var calls atomic.Int64
	client := pair(t, &history{list: func(context.Context, *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error) {
		calls.Add(1)
		return nil, errs.Missing("the log", errors.New("no responders"))
	}}, rpc.ServerOptions{}, rpc.ClientOptions{Idempotent: []string{historyv1.History_ListMessages_FullMethodName}})
	_, err := client.ListMessages(t.Context(), &historyv1.ListMessagesRequest{})
	if got := errs.From(err); got == nil || got.Message != "the log is out of reach, try again" || calls.Load() != 1 {
		t.Errorf("got %v after %d calls", err, calls.Load())
	}
}

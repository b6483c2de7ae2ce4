package rpc_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/rpc"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

const historyName = "parley.history.v1.History"

// plainConn is a client that is not ours.
func plainConn(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func plainClient(t *testing.T, address string) historyv1.HistoryClient {
	return historyv1.NewHistoryClient(plainConn(t, address))
}

// empty answers every page with nothing.
func empty(context.Context, *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error) {
	return &historyv1.ListMessagesResponse{}, nil
}

func TestDeadlines(t *testing.T) {
	left := make(chan time.Duration, 1)
	h := &history{list: func(ctx context.Context, _ *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error) {
		deadline, ok := ctx.Deadline()
		if !ok {
			t.Error("no deadline")
		}
		left <- time.Until(deadline)
		return &historyv1.ListMessagesResponse{}, nil
	}}
	address, _ := serve(t, h, rpc.ServerOptions{})
	ours := historyv1.NewHistoryClient(dial(t, address, rpc.ClientOptions{}))
	minute, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, c := range []struct {
		name   string
		client historyv1.HistoryClient
		ctx    context.Context
		max    time.Duration
		min    time.Duration
	}{
		{"none, another's client", plainClient(t, address), t.Context(), 10 * time.Second, 5 * time.Second},
		{"none, our client", ours, t.Context(), 3 * time.Second, time.Second},
		{"its own, smaller by a hop", ours, minute, time.Minute - 50*time.Millisecond, 50 * time.Second},
	} {
		if _, err := c.client.ListMessages(c.ctx, &historyv1.ListMessagesRequest{}); err != nil {
			t.Fatal(err)
		}
		if got := <-left; got > c.max || got < c.min {
			t.Errorf("%s: %s left, want %s to %s", c.name, got, c.min, c.max)
		}
	}
}

func TestHealthFollowsReadiness(t *testing.T) {
	var ready atomic.Bool
	s := rpc.NewServer(rpc.ServerOptions{Credentials: open(t)})
	historyv1.RegisterHistoryServer(s.Registrar(), &history{list: empty})
	s.Health(historyName, func(context.Context) error {
		if !ready.Load() {
			return errors.New("not yet")
		}
		return nil
	})
	s.Health("steady", func(context.Context) error { return nil })
	l := listen(t)
	stop := run(t, s, l)
	health := healthv1.NewHealthClient(plainConn(t, l.Addr().String()))
	status := func(service string) healthv1.HealthCheckResponse_ServingStatus {
		r, err := health.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return r.Status
	}
	const yes, no = healthv1.HealthCheckResponse_SERVING, healthv1.HealthCheckResponse_NOT_SERVING
	is := func(service string, want healthv1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		eventually(t, service+" is "+want.String(), func() bool { return status(service) == want })
	}
	client := historyv1.NewHistoryClient(dial(t, l.Addr().String(), rpc.ClientOptions{Service: historyName}))
	call := func() errs.Code {
		_, err := client.ListMessages(t.Context(), &historyv1.ListMessagesRequest{})
		return errs.CodeOf(err)
	}
	is("steady", yes)
	is(historyName, no)
	is("", no)
	if got := call(); got != errs.Unavailable {
		t.Errorf("a service that is not ready answered %q", got)
	}
	ready.Store(true)
	is(historyName, yes)
	is("", yes)
	eventually(t, "the client calls it", func() bool { return call() == "" })
	ready.Store(false)
	is(historyName, no)
	is("", no)
	is("steady", yes)
	eventually(t, "the client leaves it", func() bool { return call() == errs.Unavailable })

	watch, err := health.Watch(t.Context(), &healthv1.HealthCheckRequest{Service: "steady"})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := watch.Recv(); err != nil || r.Status != yes {
		t.Fatal(r, err)
	}
	stop() // must not wait for the watch
	for err == nil {
		_, err = watch.Recv()
	}
}

func TestReflectionListsServices(t *testing.T) {
	address, _ := serve(t, &history{}, rpc.ServerOptions{})
	stream, err := reflectionv1.NewServerReflectionClient(plainConn(t, address)).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range answer.GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	for _, want := range []string{historyName, "grpc.health.v1.Health"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing in %v", want, names)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
}

// A stream that would go on for ever ends with the server, and says why.
func TestStreamsEndWithTheServer(t *testing.T) {
	h := &history{replay: func(_ *historyv1.ReplayRequest, s grpc.ServerStreamingServer[historyv1.Message]) error {
		if err := s.Send(&historyv1.Message{Seq: 1}); err != nil {
			return err
		}
		<-s.Context().Done()
		return s.Context().Err()
	}}
	address, stop := serve(t, h, rpc.ServerOptions{})
	stream, err := historyv1.NewHistoryClient(served(t, dial(t, address, rpc.ClientOptions{}))).Replay(t.Context(), &historyv1.ReplayRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := stream.Recv(); errs.CodeOf(err) != errs.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestRunEndsWhenAListenerFails(t *testing.T) {
	s := rpc.NewServer(rpc.ServerOptions{Credentials: open(t)})
	l, other := listen(t), listen(t)
	l.Close()
	if err := s.Run(t.Context(), l, other); err == nil {
		t.Error("no error")
	}
}

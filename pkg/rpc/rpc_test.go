package rpc_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/parley-im/parley/pkg/access"
	"github.com/parley-im/parley/pkg/rpc"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// history is the service that is called in these tests: what it answers is
// each test's.
type history struct {
	historyv1.UnimplementedHistoryServer
	list   func(context.Context, *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error)
	replay func(*historyv1.ReplayRequest, grpc.ServerStreamingServer[historyv1.Message]) error
	erase  func(context.Context) (*historyv1.EraseResponse, error)
}

func (h *history) ListMessages(ctx context.Context, r *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error) {
	return h.list(ctx, r)
}

func (h *history) Replay(r *historyv1.ReplayRequest, s grpc.ServerStreamingServer[historyv1.Message]) error {
	return h.replay(r, s)
}

func (h *history) Erase(ctx context.Context, _ *historyv1.EraseRequest) (*historyv1.EraseResponse, error) {
	return h.erase(ctx)
}

// run serves on the listeners until the returned function is called or the
// test ends.
func run(t *testing.T, s *rpc.Server, listeners ...net.Listener) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, listeners...) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// open are the credentials of a server that lets everybody in.
func open(t *testing.T) *access.Credentials {
	t.Helper()
	return known(t, access.Options{Development: true})
}

func known(t *testing.T, o access.Options) *access.Credentials {
	t.Helper()
	c, err := access.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve serves h over TCP and gives its address.
func serve(t *testing.T, h *history, opts rpc.ServerOptions) (address string, stop func()) {
	t.Helper()
	if opts.Credentials == nil {
		opts.Credentials = open(t)
	}
	s := rpc.NewServer(opts)
	historyv1.RegisterHistoryServer(s.Registrar(), h)
	l := listen(t)
	return l.Addr().String(), run(t, s, l)
}

func listen(t *testing.T) *cutListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &cutListener{Listener: l}
}

// cutListener can close all connections it has accepted, as a process that is
// killed does.
type cutListener struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *cutListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, c)
		l.mu.Unlock()
	}
	return c, err
}

func (l *cutListener) cut() {
	l.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
}

func dial(t *testing.T, target string, opts rpc.ClientOptions) *grpc.ClientConn {
	t.Helper()
	conn, err := rpc.Dial("history", target, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// pair is a client of h in this process.
func pair(t *testing.T, h *history, server rpc.ServerOptions, client rpc.ClientOptions) historyv1.HistoryClient {
	t.Helper()
	s := rpc.NewServer(server)
	historyv1.RegisterHistoryServer(s.Registrar(), h)
	pipe := rpc.Pipe()
	run(t, s, pipe)
	client.InProcess = pipe
	return historyv1.NewHistoryClient(served(t, dial(t, "", client)))
}

// served waits until the server serves: before it has been asked for its health
// it serves nobody, and streams do not wait for it.
func served(t *testing.T, conn *grpc.ClientConn) *grpc.ClientConn {
	t.Helper()
	conn.Connect()
	eventually(t, "the server serves", func() bool { return conn.GetState() == connectivity.Ready })
	return conn
}

// eventually polls until ok, for at most 10 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// logBuffer collects a logger's lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: level}))
}

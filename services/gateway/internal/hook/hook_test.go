package hook

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/rpc"
	hookv1 "github.com/parley-im/parley/proto/hook/v1"
)

// service is a hook as somebody may write it.
type service struct {
	hookv1.UnimplementedHookServer
	publish func(context.Context, *hookv1.PublishRequest) (*hookv1.PublishResponse, error)
}

func (s service) Publish(ctx context.Context, r *hookv1.PublishRequest) (*hookv1.PublishResponse, error) {
	return s.publish(ctx, r)
}

// start serves a hook and gives what asks it about publishing.
func start(t *testing.T, o Options, publish func(context.Context, *hookv1.PublishRequest) (*hookv1.PublishResponse, error), onFailure ...string) *Hook {
	t.Helper()
	pipe := rpc.Pipe()
	server := grpc.NewServer() // without a health service, as many have none
	hookv1.RegisterHookServer(server, service{publish: publish})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(pipe) }()
	t.Cleanup(func() {
		server.Stop()
		<-ended
	})
	conn, err := rpc.Dial("hook", "", rpc.ClientOptions{InProcess: pipe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	o.Client = hookv1.NewHookClient(conn)
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	if o.Policy, err = ParsePolicy([]string{"publish"}, onFailure); err != nil {
		t.Fatal(err)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		refusal *hookv1.Refusal
		code    errs.Code
		message string
		retry   time.Duration
	}{
		"a code":          {&hookv1.Refusal{Code: "rate-limited", Message: "later", RetryAfterMs: 1500}, errs.RateLimited, "later", 1500 * time.Millisecond},
		"none":            {&hookv1.Refusal{}, errs.Forbidden, "not allowed", 0},
		"one of our own":  {&hookv1.Refusal{Code: "resume-failed", Message: "no"}, errs.Forbidden, "no", 0},
		"too long":        {&hookv1.Refusal{Message: strings.Repeat("é", 300)}, errs.Forbidden, strings.Repeat("é", 256), 0},
		"longer than all": {&hookv1.Refusal{Message: "x", RetryAfterMs: 1 << 62}, errs.Forbidden, "x", maxRetry},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, Options{}, func(context.Context, *hookv1.PublishRequest) (*hookv1.PublishResponse, error) {
				return &hookv1.PublishResponse{Refusal: c.refusal}, nil
			})
			answer, err := h.Publish(t.Context(), &hookv1.PublishRequest{})
			e := errs.From(err)
			if answer != nil || e.Code != c.code || e.Message != c.message || e.RetryAfter != c.retry {
				t.Errorf("%v, %+v", answer, e)
			}
		})
	}
}

// Without an answer the policy decides; the hook is left alone after ten
// failures, and asked again later.
func TestFailures(t *testing.T) {
	for _, onFailure := range []string{"allow", "refuse"} {
		t.Run(onFailure, func(t *testing.T) {
			var asked atomic.Int64
			var well atomic.Bool
			h := start(t, Options{LeftAlone: 200 * time.Millisecond}, func(context.Context, *hookv1.PublishRequest) (*hookv1.PublishResponse, error) {
				asked.Add(1)
				if well.Load() {
					return &hookv1.PublishResponse{}, nil
				}
				return nil, status.Error(codes.Internal, "a defect")
			}, onFailure)
			fails := func() {
				t.Helper()
				answer, err := h.Publish(t.Context(), &hookv1.PublishRequest{})
				if (err == nil) != (onFailure == "allow") || err != nil && (errs.CodeOf(err) != errs.Unavailable || errs.From(err).RetryAfter == 0) || answer != nil {
					t.Fatalf("%v, %v", answer, err)
				}
			}
			for range failuresInRow {
				fails()
			}
			if n := asked.Load(); n != failuresInRow {
				t.Fatalf("asked %d times", n)
			}
			for range 20 {
				fails()
			}
			if n := asked.Load(); n > failuresInRow+1 { // one if this was slow
				t.Errorf("asked %d times, though it is to be left alone", n)
			}
			well.Store(true)
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				if answer, err := h.Publish(t.Context(), &hookv1.PublishRequest{}); err == nil && answer != nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("it is not asked again")
				}
			}
		})
	}
}

// A hook that hangs has its time and no more, and is asked only so many
// questions at once.
func TestBounds(t *testing.T) {
	var now, most atomic.Int64
	h := start(t, Options{AtOnce: 3}, func(ctx context.Context, _ *hookv1.PublishRequest) (*hookv1.PublishResponse, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		time.Sleep(2 * time.Millisecond) // how long it thinks
		return &hookv1.PublishResponse{}, nil
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := h.Publish(t.Context(), &hookv1.PublishRequest{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most.Load() > 3 {
		t.Errorf("%d questions at once", most.Load())
	}

	hanging := start(t, Options{Timeout: 30 * time.Millisecond}, func(ctx context.Context, _ *hookv1.PublishRequest) (*hookv1.PublishResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if _, err := hanging.Publish(t.Context(), &hookv1.PublishRequest{}); errs.CodeOf(err) != errs.Unavailable {
		t.Error(err)
	}
}

// Clients that go before there is an answer are no failures of the hook.
func TestClientsThatGo(t *testing.T) {
	h := start(t, Options{}, func(ctx context.Context, r *hookv1.PublishRequest) (*hookv1.PublishResponse, error) {
		if r.Id == "stays" {
			return &hookv1.PublishResponse{}, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	for range 2 * failuresInRow {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := h.Publish(ctx, &hookv1.PublishRequest{}); err == nil || !errors.Is(err, errGone) {
			t.Fatal(err)
		}
	}
	if answer, err := h.Publish(t.Context(), &hookv1.PublishRequest{Id: "stays"}); err != nil || answer == nil {
		t.Errorf("%v, %v", answer, err)
	}
}

func TestParsePolicy(t *testing.T) {
	p, err := ParsePolicy([]string{"join", "publish"}, []string{"allow", "join=refuse"})
	if err != nil || p.asks != [events]bool{false, true, true} || p.allows != [events]bool{true, false, true} {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = ParsePolicy([]string{"connect"}, nil); err != nil || p.allows != [events]bool{} {
		t.Errorf("%+v, %v", p, err)
	}
	for _, c := range [][2]string{{"leave", ""}, {"", "allow"}, {"join", "leave=allow"}, {"join", "join=maybe"}, {"join", "perhaps"}} {
		if _, err := ParsePolicy([]string{c[0]}, []string{c[1]}); err == nil || !strings.HasPrefix(err.Error(), "hook-") {
			t.Errorf("%v: %v", c, err)
		}
	}
	var none *Hook
	if none.Asks(Publish) {
		t.Error("no hook asks")
	}
}

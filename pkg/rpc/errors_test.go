package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/rpc"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

func TestCodedErrorsSurvive(t *testing.T) {
	given := map[string]*errs.Error{
		"field":       errs.Invalid("roomId", "is missing"),
		"too large":   {Code: errs.TooLarge, Field: "content", Message: "content: is longer than 16384 bytes"},
		"retry after": {Code: errs.RateLimited, Message: "slow down", RetryAfter: 1234 * time.Millisecond},
		"missing":     errs.Missing("the log", errors.New("secret address")),
		"newer code":  errs.New("from-the-future", "what is this"),
		"not UTF-8":   {Code: errs.InvalidArgument, Field: "a\xff", Message: "bad \xff"},
	}
	for _, code := range []errs.Code{errs.BadMessage, errs.UnknownType, errs.Unauthenticated, errs.Forbidden, errs.NotFound,
		errs.NotJoined, errs.AlreadyExists, errs.InvalidArgument, errs.TooLarge, errs.RateLimited, errs.Banned, errs.Muted,
		errs.ResumeFailed, errs.Unavailable} {
		given["code "+string(code)] = errs.New(code, "about %s", code)
	}
	for name, want := range given {
		t.Run(name, func(t *testing.T) {
			client := pair(t, answering(fmt.Errorf("looking: %w", want)), rpc.ServerOptions{}, rpc.ClientOptions{})
			check := func(err error) {
				t.Helper()
				var got *errs.Error
				if !errors.As(err, &got) {
					t.Fatalf("got %T %v, want a coded error", err, err)
				}
				if got.Code != want.Code || got.RetryAfter != want.RetryAfter ||
					got.Field != strings.ToValidUTF8(want.Field, "\uFFFD") || got.Message != strings.ToValidUTF8(want.Message, "\uFFFD") {
					t.Errorf("got %+v, want %+v", got, want)
				}
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("the cause leaked: %v", err)
				}
			}
			_, err := client.ListMessages(t.Context(), &historyv1.ListMessagesRequest{})
			check(err)
			stream, err := client.Replay(t.Context(), &historyv1.ReplayRequest{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			check(err)
		})
	}
}

// answering answers every call with err.
func answering(err error) *history {
	return &history{
		list: func(context.Context, *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error) {
			return nil, err
		},
		replay: func(*historyv1.ReplayRequest, grpc.ServerStreamingServer[historyv1.Message]) error { return err },
	}
}

func TestStatusCodesAreOnesOthersActRightlyOn(t *testing.T) {
	for code, want := range map[errs.Code]codes.Code{
		errs.TooLarge: codes.InvalidArgument, errs.RateLimited: codes.ResourceExhausted, errs.Banned: codes.PermissionDenied,
		errs.NotJoined: codes.FailedPrecondition, errs.Unavailable: codes.Unavailable, errs.NotFound: codes.NotFound,
	} {
		address, _ := serve(t, answering(errs.New(code, "x")), rpc.ServerOptions{})
		_, err := plainClient(t, address).ListMessages(t.Context(), &historyv1.ListMessagesRequest{})
		if got := status.Code(err); got != want {
			t.Errorf("%s: got %v, want %v", code, got, want)
		}
	}
}

func TestTransportErrorsAreUnavailable(t *testing.T) {
	for _, c := range []struct {
		code codes.Code
		want errs.Code
	}{
		{codes.Unavailable, errs.Unavailable},
		{codes.DeadlineExceeded, errs.Unavailable},
		{codes.ResourceExhausted, errs.Unavailable},
		{codes.Canceled, errs.Unavailable}, // by the server, not by us
		{codes.Unimplemented, errs.Internal},
		{codes.NotFound, errs.Internal}, // somebody else's
	} {
		t.Run(c.code.String(), func(t *testing.T) {
			client := pair(t, answering(status.Error(c.code, "plain")), rpc.ServerOptions{}, rpc.ClientOptions{})
			_, err := client.ListMessages(t.Context(), &historyv1.ListMessagesRequest{})
			got := errs.From(err)
			if got == nil || got.Code != c.want {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if c.want == errs.Unavailable && (got.RetryAfter <= 0 || got.Message != "the history service is out of reach, try again") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestInternalErrorsAreLoggedAndNotTold(t *testing.T) {
	boom := func() { panic("boom") }
	for name, h := range map[string]*history{
		"plain": answering(errors.New("boom")),
		"coded": answering(errs.New(errs.Internal, "boom")),
		"panic": {
			list: func(context.Context, *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error) {
				boom()
				return nil, nil
			},
			replay: func(*historyv1.ReplayRequest, grpc.ServerStreamingServer[historyv1.Message]) error {
				boom()
				return nil
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var logs logBuffer
			client := pair(t, h, rpc.ServerOptions{Logger: logs.logger(slog.LevelInfo)}, rpc.ClientOptions{})
			check := func(err error) {
				t.Helper()
				if errs.CodeOf(err) != errs.Internal || strings.Contains(err.Error(), "boom") {
					t.Errorf("got %v", err)
				}
			}
			_, err := client.ListMessages(t.Context(), &historyv1.ListMessagesRequest{})
			check(err)
			stream, err := client.Replay(t.Context(), &historyv1.ReplayRequest{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			check(err)
			if got := strings.Count(logs.String(), `"msg":"call failed"`); got != 2 || !strings.Contains(logs.String(), "boom") {
				t.Errorf("logged %d times:\n%s", got, logs.String())
			}
			if name == "panic" && !strings.Contains(logs.String(), "errors_test.go") {
				t.Errorf("no stack:\n%s", logs.String())
			}
		})
	}
}

func TestOwnCancelStaysCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client := pair(t, &history{list: func(ctx context.Context, _ *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}}, rpc.ServerOptions{}, rpc.ClientOptions{})
	_, err := client.ListMessages(ctx, &historyv1.ListMessagesRequest{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
